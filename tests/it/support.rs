//! What the tests stand on: one private Postgres per test process, a fresh database per test, the real binary.

mod api_client;
mod browser;
mod chance;
pub mod connection;
mod database;
mod deliveries;
mod event_stream;
mod receiver;
mod scrape;
mod server;
mod service;
mod wire;

pub use self::{
    api_client::{ADMIN_TOKEN, ApiClient},
    browser::Browser,
    chance::Chance,
    database::Database,
    deliveries::{Answer, PROVIDERS, Provider, provider},
    event_stream::EventStream,
    receiver::{Reaction, Received, Receiver, SECRET},
    scrape::{Scrape, Series},
    server::Server,
    service::{Command, Process, Service, credentials, settings},
    wire::Wire,
};
