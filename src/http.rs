//! The two listeners: what they serve, and how a connection is taken in and let go.

mod admin;
mod body;
mod client_address;
mod error;
mod health;
mod public;
mod request_id;
mod server;

pub use self::{admin::admin_router, health::Health, public::public_router, server::Server};
