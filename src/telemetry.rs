//! Logs: one line per event to standard error, JSON unless somebody sits in front of it. And traces, where the feature
//! `opentelemetry` is on.
//!
//! Invariants: a log line never waits for whoever reads standard error while there is room for it in memory, and
//! none is lost at an orderly end or a panic. A line says what it is about in its own fields: there are no spans.

mod json;
mod trace;
mod trace_context;
#[cfg(feature = "opentelemetry")]
mod traces;
#[cfg(not(feature = "opentelemetry"))]
#[path = "telemetry/no_traces.rs"]
mod traces;
mod writer;

use std::{
    io::{self, IsTerminal},
    num::NonZeroU32,
    sync::atomic::{AtomicU64, Ordering},
};

use governor::{DefaultDirectRateLimiter, Quota};
use tracing_subscriber::EnvFilter;

use self::{json::Json, writer::Writer};
pub use self::{trace::Trace, trace_context::TraceContext, traces::Traces};
use crate::config::LogFormat;

/// Logging, for as long as there is something to log: what is still in memory is written when this is dropped.
pub struct Logging {
    writer: Option<Writer>,
}

/// Starts logging at `RUST_LOG`, or at `info`.
///
/// # Errors
///
/// `RUST_LOG` is no filter, or logging was started before.
pub fn start(format: LogFormat) -> anyhow::Result<Logging> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(filter) if !filter.is_empty() => EnvFilter::try_new(&filter)
            .map_err(|_| anyhow::anyhow!("RUST_LOG: expected a filter such as info or ticket_webhooks=debug"))?,
        _ => EnvFilter::new("info"),
    };
    let is_text = match format {
        LogFormat::Auto => io::stderr().is_terminal(),
        LogFormat::Json => false,
        LogFormat::Text => true,
    };
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter);
    let (started, writer) = if is_text {
        let subscriber = subscriber.with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
        (subscriber.compact().with_target(false).try_init(), None)
    } else {
        let writer = Writer::start()?;
        (subscriber.with_writer(writer.clone()).event_format(Json).try_init(), Some(writer))
    };
    started.map_err(|error| anyhow::anyhow!("logging cannot be started: {error}"))?;
    if let Some(writer) = writer.clone() {
        writer.flush_before_panics();
    }
    Ok(Logging { writer })
}

impl Drop for Logging {
    fn drop(&mut self) {
        if let Some(writer) = &self.writer {
            writer.flush();
        }
    }
}

/// A line for what strangers can make happen at any rate: once a minute at most, with the number of times.
pub struct RateLimitedWarning {
    limiter: DefaultDirectRateLimiter,
    times: AtomicU64,
}

impl Default for RateLimitedWarning {
    fn default() -> Self {
        Self { limiter: DefaultDirectRateLimiter::direct(Quota::per_minute(NonZeroU32::MIN)), times: AtomicU64::new(0) }
    }
}

impl RateLimitedWarning {
    /// Counts, and says how often it happened since the last line, if a line is due.
    pub fn due(&self) -> Option<u64> {
        let times = self.times.fetch_add(1, Ordering::Relaxed) + 1;
        self.limiter.check().ok()?;
        self.times.fetch_sub(times, Ordering::Relaxed);
        Some(times)
    }
}
