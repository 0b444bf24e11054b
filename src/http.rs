//! The two listeners: what they serve, and how a connection is taken in and let go.

mod admin;
mod body;
mod client_address;
mod error;
mod health;
mod metrics;
mod patience;
mod places;
mod public;
mod request_id;
mod server;
mod unrouted;

pub use self::{
    admin::admin_router,
    body::Bodies,
    health::Health,
    metrics::Observer,
    places::{Limits, Places},
    public::public_router,
    server::Server,
};
