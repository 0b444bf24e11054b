//! Logs: one line per event to standard error, JSON unless somebody sits in front of it.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

/// Starts logging at `RUST_LOG`, or at `info`.
///
/// # Errors
///
/// `RUST_LOG` is no filter, or logging was started before.
pub fn start() -> anyhow::Result<()> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(filter) if !filter.is_empty() => EnvFilter::try_new(&filter)
            .map_err(|_| anyhow::anyhow!("RUST_LOG: expected a filter such as info or ticket_webhooks=debug"))?,
        _ => EnvFilter::new("info"),
    };
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = if io::stderr().is_terminal() {
        subscriber.compact().with_target(false).try_init()
    } else {
        subscriber.json().flatten_event(true).try_init()
    };
    started.map_err(|error| anyhow::anyhow!("logging cannot be started: {error}"))
}
