//! The public and the admin listener: their routes, the layers around them, and the life of a connection.

mod admin;
mod body;
mod client_address;
mod connection_limiter;
mod connection_state;
mod header_timer;
mod health;
mod layers;
mod limits;
mod metrics;
mod panics;
mod public;
mod refusal;
mod reply;
mod server;
mod service;
mod stream;
mod unrouted;

pub use self::{
    admin::admin_service,
    body::BodyReader,
    connection_limiter::ConnectionLimiter,
    limits::{Limits, TooFewFiles},
    public::public_service,
    server::Server,
    service::HttpService,
};
