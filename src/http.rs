//! The two listeners: what they serve, and how a connection is taken in and let go.

mod admin;
mod body;
mod client_address;
mod connection_limiter;
mod connection_state;
mod error;
mod header_timer;
mod health;
mod limits;
mod metrics;
mod public;
mod request_id;
mod server;
mod stream;
mod unrouted;

pub use self::{
    admin::admin_router,
    body::BodyReader,
    connection_limiter::ConnectionLimiter,
    limits::{Limits, TooFewFiles},
    public::public_router,
    server::Server,
};
