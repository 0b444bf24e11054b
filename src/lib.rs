//! `ticket-webhooks` receives the ticket webhooks of travel providers, turns each into one common TicketEvent, and has
//! it in Postgres before it says yes.
//!
//! The way of a delivery:
//!
//! ```text
//! provider ──POST──▶ http::public     request id, size and time limits
//!                      │
//!                      ▼
//!                    receive          authenticate → parse → normalize       (providers: pure, no I/O)
//!                      │
//!                      ▼
//!                    inbox            waits with the others for the next batch (group commit)
//!                      ├── Postgres takes it ──▶ store: one statement, one commit: recorded, or a duplicate
//!                      └── it does not ────────▶ spool: one sync; drained later, in order, into the store
//!                      │
//!                      ▼
//!                    answer           in the provider's own words
//! ```
//!
//! The modules in that order, and below them what they stand on:

/// The listeners and their routes.
pub mod http;
/// The way of a delivery as one function.
pub mod receive;

/// Deliveries become durable together.
pub mod inbox;
/// The buffer on disk for the time in which Postgres does not take writes.
pub mod spool;
/// All SQL.
pub mod store;

/// Addresses and networks as they are compared and counted.
pub mod addresses;
/// The time of day, the ids made of it, and the times of receipt.
pub mod clock;
/// Who may deliver, and the constant-time check of it.
pub mod credentials;
/// What is made durable, and what became of it.
pub mod delivery;
/// JSON, read leniently and without loss.
pub mod json;
/// What is kept of an authenticated delivery, and the reading of its fields.
pub mod payload;
/// What each provider sends, means and wants to hear.
pub mod providers;
/// Whether a live delivery can be made durable now.
pub mod readiness;
/// Taking credentials out of what is kept.
pub mod redaction;
/// Who may deliver and what is redacted at this moment.
pub mod secrets;
/// The common record.
pub mod ticket_event;

/// The command line; `cli::serve` puts the parts together.
pub mod cli;
/// The settings, their layers, their checks.
pub mod config;
/// The private Postgres of `dev` and the tests.
pub mod embedded_postgres;
/// The process: its signals, and what it may have of the system.
pub mod lifecycle;
/// What is counted, for Prometheus.
pub mod metrics;
/// Logs and traces.
pub mod telemetry;
