//! `ticket-webhooks` receives the ticket webhooks of travel providers, normalizes each into one common `TicketEvent`, and
//! stores it in Postgres before it acknowledges it.
//!
//! The way of a delivery:
//!
//! ```text
//! provider ──POST──▶ http::public     connection limits, request id, size and time limits
//!                      │
//!                      ▼
//!                    receive          authenticate → parse → normalize      (providers: pure, no I/O)
//!                      │ Delivery
//!                      ▼
//!                    inbox            queue → batcher → committer (group commit)
//!                      ├── Postgres up ────▶ store: few statements for a batch
//!                      └── Postgres down ──▶ spool: one fsync ── drainer, later, in order ──▶ store
//!                      │ Outcome
//!                      ▼
//!                    receive          the provider's Reply, encoded as its documentation asks
//! ```
//!
//! The agency's own systems read what is recorded (`http::admin` → `api` → `feed` → `store`), or it is sent to them
//! (`forward` → `feed` → `store`).
//!
//! The modules in that order, then what they use.

// No doc comments below: rustdoc would resolve the links of a module's own documentation in this file's scope.

// HTTP: the two listeners, their limits, their routes.
pub mod http;
// The admin API: what the agency's own systems ask.
pub mod api;
// The pages for people: what arrived, and what needs them.
pub mod console;
// The pipeline of one delivery: authenticate, parse, normalize, make durable, reply.
pub mod receive;

// Group commit: the queues, and the choice between Postgres and spool.
pub mod inbox;
// The durable buffer on disk for outages of Postgres.
pub mod spool;
// The SQL of the service: recording deliveries, the feed, the bookings, migrations.
pub mod store;
// What all replicas receive, counted in the database.
pub mod activity;
// What consumers read: order, pages, stream.
pub mod feed;
// Sends events on to the agency's own systems.
pub mod forward;
// Keeps the keys by which events are found up to date.
pub mod search;
// What the agency expects, and which bookings are overdue or stuck.
pub mod bookings;
// Second chances of what could not be processed.
pub mod reprocess;
// Erasing personal data, on request and by its age.
pub mod erase;

// What authenticates programs and people on the admin listener.
pub mod admin_token;
// Client addresses, their prefixes, and rate limits per prefix.
pub mod addresses;
// Wall-clock time, UUIDv7 ids, strictly increasing receipt times.
pub mod clock;
// Accounts and the constant-time check of credentials.
pub mod credentials;
// A delivery on its way into storage, and its outcome.
pub mod delivery;
// Lenient, lossless JSON.
pub mod json;
// The payload of an authenticated delivery, and access to its fields.
pub mod payload;
// One module per provider: credentials, normalization, replies.
pub mod providers;
// Whether a live delivery can be made durable now.
pub mod readiness;
// That there were commits, and whether they are many.
pub mod commits;
// Removal of credentials from what is stored.
pub mod redaction;
// The id of a request, from its head to its log line.
pub mod request_id;
// The secrets in effect, replaced as a whole by a reload.
pub mod secrets;
// The common model of all providers.
pub mod ticket_event;

// The command line, one file per command; `cli::serve` wires the service.
pub mod cli;
// Settings: types, layers, checks.
pub mod config;
// A private Postgres for `dev` and the tests.
#[cfg(feature = "embedded-postgres")]
pub mod embedded_postgres;
// Signals, background tasks, process limits.
pub mod lifecycle;
// Prometheus metrics.
pub mod metrics;
// Logs and traces.
pub mod telemetry;
