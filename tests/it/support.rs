//! What the tests stand on: one private Postgres per test process, a fresh database per test, the real binary.

mod database;
mod deliveries;
mod server;
mod service;
mod wire;

pub use self::{
    database::Database,
    deliveries::{Answer, PROVIDERS, Provider, provider},
    server::Server,
    service::{Command, Process, Service, credentials, settings},
    wire::Wire,
};
