//! The service as its users meet it: over HTTP, in SQL, on the command line; every test against a real Postgres.

// a test that unwraps what is not there fails, which is what it is for
#![allow(clippy::unwrap_used, clippy::panic)]

mod admin;
mod alerts;
mod answers;
mod authentication;
mod clock;
mod commands;
mod configuration;
mod containers;
mod corpora;
mod docs;
mod duplicates;
mod embedded_postgres;
mod failed_authentication;
mod fixtures;
mod greedy_accounts;
mod greedy_clients;
mod greedy_connections;
mod hostile_bodies;
mod lifecycle;
mod logs;
mod memory;
mod metrics;
mod migrations;
mod odd_inputs;
mod outage;
mod privileges;
mod properties;
mod reload;
mod requirements;
mod secrecy;
mod slow_clients;
mod spool;
mod support;
mod timing;
mod tls;
mod torture;
#[cfg(feature = "opentelemetry")]
mod traces;
mod unprocessed;
