//! What is counted of one forward by the replica that works on it, and what the database says of all.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram};

use super::{DURATIONS, registry::Registry};
use crate::{
    forward::{Attempted, Outcome, forward_name},
    store::{ForwardStatus, PauseReason},
};

type Label = [(&'static str, String); 1];
type AttemptLabels = [(&'static str, String); 2];

/// By the name in the configuration.
pub struct ForwardFamilies {
    attempts: Family<AttemptLabels, Counter>,
    durations: Family<Label, Histogram, fn() -> Histogram>,
}

/// Of one forward.
pub struct ForwardMetrics {
    /// In the order of [`Outcome::ALL`].
    attempts: [Counter; Outcome::ALL.len()],
    duration: Histogram,
}

impl ForwardFamilies {
    pub(super) fn new(registry: &mut Registry) -> Self {
        Self {
            attempts: registry.add(
                "ticket_webhooks_forward_attempts_total",
                "Requests to a receiver by outcome: delivered, redirected, throttled (429), gone (410), refused (any other 4xx), \
                 failed (any other status), timed_out, unreachable, broken.",
                Family::default(),
            ),
            durations: registry.add(
                "ticket_webhooks_forward_duration_seconds",
                "Time of a request to a receiver, until its answer, in seconds.",
                Family::new_with_constructor(|| Histogram::new(DURATIONS)),
            ),
        }
    }

    pub fn of(&self, name: &str) -> ForwardMetrics {
        let attempts = |outcome: Outcome| {
            let labels = [("forward", name.to_owned()), ("outcome", outcome.as_str().to_owned())];
            self.attempts.get_or_create_owned(&labels)
        };
        ForwardMetrics {
            attempts: Outcome::ALL.map(attempts),
            duration: self.durations.get_or_create_owned(&[("forward", name.to_owned())]),
        }
    }
}

impl ForwardMetrics {
    pub fn count(&self, attempted: &Attempted) {
        self.attempts[attempted.answer.outcome as usize].inc();
        self.duration.observe(attempted.duration.as_secs_f64());
    }
}

/// Values that were just read from the database.
pub(super) fn add(registry: &mut Registry, forwards: &[ForwardStatus]) {
    let mut gauges = |name: &str, help: &str, value: fn(&ForwardStatus) -> f64| {
        let gauges = Family::<Label, Gauge<f64, AtomicU64>>::default();
        for forward in forwards {
            let name = forward_name(&forward.name);
            gauges.get_or_create(&[("forward", name.to_owned())]).set(value(forward));
        }
        registry.add(name, help, gauges);
    };
    gauges(
        "ticket_webhooks_forward_active",
        "Whether a replica works on the forward: 1 or 0; the same in every replica.",
        |forward| f64::from(u8::from(forward.is_active)),
    );
    gauges(
        "ticket_webhooks_forward_paused",
        "Whether the forward is paused: 1 by an operator, 2 because its receiver is gone (410), else 0; the same in every replica.",
        |forward| match forward.paused {
            None => 0.0,
            Some((PauseReason::Operator, _)) => 1.0,
            Some((PauseReason::Gone, _)) => 2.0,
        },
    );
    gauges(
        "ticket_webhooks_forward_oldest_undelivered_seconds",
        "Time since the oldest item was recorded that is not delivered, in seconds; 0 when there is none; the same in every replica.",
        |forward| forward.lag_seconds,
    );
    gauges(
        "ticket_webhooks_forward_lag_events",
        "Items from the oldest that is not delivered on, counted up to 10,000; the same in every replica.",
        |forward| forward.lag_events as f64,
    );
    gauges(
        "ticket_webhooks_forward_blocked_bookings",
        "Bookings of which an item was tried and not delivered; the same in every replica.",
        |forward| forward.blocked_bookings as f64,
    );
    gauges(
        "ticket_webhooks_forward_blocked_seconds",
        "Time since the first of these items was tried first, in seconds; 0 when there is none; the same in every replica.",
        |forward| forward.blocked_seconds,
    );
    gauges(
        "ticket_webhooks_forward_skipped_items",
        "Items that were ever skipped; the same in every replica.",
        |forward| forward.skipped as f64,
    );
}
