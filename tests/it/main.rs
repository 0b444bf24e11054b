//! The service as its users meet it: over HTTP, in SQL, on the command line; nearly every test against a real Postgres.
//!
//! This list is the map. One part alone: `cargo test --all-features --test it contract::duplicates`.

// a test that unwraps a missing value fails, as it should
#![allow(clippy::unwrap_used, clippy::panic)]

/// What providers are promised, by the chapters of the contract.
mod contract {
    /// "The routes": where a delivery may go, who may send it, how it may be encoded and how large it may be.
    mod routes {
        /// Credentials: which are right, how they are compared, and when.
        mod authentication;
        /// The size limit, of plain, chunked and compressed bodies.
        mod body_limit;
        /// Which paths lead to a provider.
        mod paths;
    }
    /// "The answers": what each provider is told, and when a delivery is durable or kept unprocessed.
    mod answers;
    /// "Duplicates, order and corrections": which delivery becomes a revision, and which raises a count.
    mod duplicates;
    /// "The answers", last row but two: a panic of the service's own.
    mod panics;
    /// "What is taken out, and what is never touched": secrets in storage, logs and answers.
    mod redaction;
    /// "What is required, and what is not": required and expected fields, and what each is normalized to.
    mod required;
    /// Every sentence of the contract with the tests that hold it.
    mod sentences;
}

/// Bodies of every origin, against all of the contract at once.
mod inputs {
    /// The corpora of the fuzz targets.
    mod corpora;
    /// Sample payloads, each with a snapshot of its answer and of what is stored.
    mod fixtures;
    /// What no provider documents: odd JSON, encodings, headers and connections.
    mod odd_inputs;
    /// Generated deliveries: nothing panics, nothing accepted is lost, no secret survives.
    mod properties;
}

/// What is acknowledged is recorded, once and in order, whatever fails.
mod durability {
    /// How many batches are in flight.
    mod batches;
    /// A machine whose clock is wrong.
    mod clock;
    /// The connections over which deliveries are written.
    mod connections;
    /// Start, drain and stop.
    mod lifecycle;
    /// A reference of inbox, store and spool beside the real ones.
    mod model;
    /// Postgres away, in every way.
    mod outage;
    /// The spool: order, limits, damage, and its commands.
    mod spool;
    /// Commits that wait for a synchronous standby.
    mod synchronous;
    /// Random faults under load, and a ledger of what was acknowledged.
    mod torture;
}

/// What the agency's own systems ask.
mod consumers {
    /// What is expected, overdue and stuck, and the state of every booking.
    mod bookings;
    /// Erasing personal data: on request, by its age, and documents that are never written.
    mod erasure;
    /// Events on the command line.
    mod events_command;
    /// Events sent on to the agency's own systems.
    mod forwards;
    /// Restored databases, recovered ones, and transactions that hold the feed back.
    mod history;
    /// The order of the feed, its pages and their errors.
    mod pages;
    /// Named positions, and how far they are behind.
    mod positions;
    /// Readers of every kind while everything breaks.
    mod readers;
    /// The differences between what was expected and what came.
    mod reconciliation;
    /// Second chances of what could not be processed.
    mod reprocessing;
    /// Events by record locator, ticket number, name, time and the rest.
    mod search;
    /// The feed as server-sent events.
    mod stream;
}

/// What one sender can cost the others, or find out.
mod abuse {
    /// Guessing credentials, and flooding the log with failures.
    mod failed_authentication;
    /// An account that sends as fast as it can.
    mod greedy_accounts;
    /// Bodies and heads without end, and other protocols.
    mod greedy_clients;
    /// All connections taken.
    mod greedy_connections;
    /// Bodies that cost CPU time.
    mod hostile_bodies;
    /// The memory of full queues and idle connections.
    mod memory;
    /// Slow and idle clients.
    mod slow_clients;
    /// Guessing a secret by the time of an answer.
    mod timing;
}

/// What people look at.
mod console;

/// What the people who run the service rely on.
mod operation {
    /// What all replicas received, counted in the database.
    mod activity;
    /// The admin listener and its token.
    mod admin;
    /// Every alert, caused for real beside a Prometheus (`make alerts-test`).
    mod alerts;
    /// The command line.
    mod commands;
    /// The configuration: files, variables, errors, and no secret shown.
    mod configuration;
    /// Replicas, load balancer, pooler and failover in containers (`make container-test`).
    mod containers;
    /// What README and docs/ name exists, and what exists is documented.
    mod docs;
    /// The private Postgres of `dev` and of these tests.
    mod embedded_postgres;
    /// The log: one line for each delivery, and warnings that are limited.
    mod logs;
    /// The metrics: names, labels, and when each moves.
    mod metrics;
    /// The migrations over sample data.
    mod migrations;
    /// The least rights of the service's role.
    mod privileges;
    /// Reloading the configuration, and rotating secrets.
    mod reload;
    /// TLS to the database.
    mod tls;
    /// Traces over OTLP.
    #[cfg(feature = "opentelemetry")]
    mod traces;
}

/// The database, the binary, the providers and the raw connections that the tests use.
mod support;
