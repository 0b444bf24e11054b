//! What is counted of one provider: what became of its deliveries, and what of them was written.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use ::metrics::Counter;
use uuid::Uuid;

use super::{Registry, names};
use crate::{
    delivery::{Delivery, Outcome, Reason},
    ticket_event::Environment,
};

/// Outcomes of deliveries that were handed in to be made durable.
const HANDED_IN: &[Outcome] = &[
    Outcome::Recorded { revision: 0, changes_final_status: false },
    Outcome::Duplicate { event_id: Uuid::nil(), revision: 0 },
    Outcome::Spooled,
    Outcome::Unprocessed,
    Outcome::NotKept,
    Outcome::UnknownBooking { is_kept: false },
    Outcome::Refused,
    Outcome::NotDurable,
];

/// Outcomes of those that were not.
const NOT_HANDED_IN: &[Outcome] = &[
    Outcome::NotDurable,
    Outcome::Unauthenticated,
    Outcome::Malformed,
    Outcome::UnsupportedEncoding,
    Outcome::TooLarge,
    Outcome::TimedOut,
];

/// What is counted of the deliveries of a provider.
pub struct ProviderMetrics {
    /// By environment (the last is `none`) and outcome; what cannot be is not counted.
    deliveries: [[Counter; Outcome::WORDS.len()]; 3],
    authentication_failures: Counter,
    /// Of what they became in Postgres.
    pub(super) written: Written,
    started: Instant,
    /// When the last authenticated delivery came, in milliseconds since the start.
    last_delivery: AtomicU64,
    /// Whether anybody ever could deliver.
    was_routed: AtomicBool,
}

impl ProviderMetrics {
    pub(super) fn new(registry: &Registry, provider: &'static str, started: Instant) -> Self {
        let of = |environment, outcomes: &[Outcome]| {
            let mut counters = [const { Counter::noop() }; Outcome::WORDS.len()];
            for outcome in outcomes {
                let labels = [("provider", provider), ("environment", environment), ("outcome", outcome.as_str())];
                counters[outcome.index()] = registry.counter(names::DELIVERIES, &labels);
            }
            counters
        };
        Self {
            deliveries: [
                of(Environment::Test.as_str(), HANDED_IN),
                of(Environment::Live.as_str(), HANDED_IN),
                of("none", NOT_HANDED_IN),
            ],
            authentication_failures: registry.counter(names::AUTHENTICATION_FAILURES, &[("provider", provider)]),
            written: Written::new(registry, provider),
            started,
            last_delivery: AtomicU64::new(0),
            was_routed: AtomicBool::new(false),
        }
    }

    /// A delivery has proved who sent it.
    pub fn authenticated(&self, now: Instant) {
        let since = now.duration_since(self.started).as_millis();
        self.last_delivery.store(u64::try_from(since).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// A delivery is through; of which environment, if it was handed in.
    pub fn delivered(&self, environment: Option<Environment>, outcome: &Outcome) {
        let environment = match environment {
            Some(Environment::Test) => 0,
            Some(Environment::Live) => 1,
            None => 2,
        };
        self.deliveries[environment][outcome.index()].increment(1);
    }

    /// A delivery has not proved who sent it.
    pub fn authentication_failed(&self) {
        self.authentication_failures.increment(1);
    }

    /// Seconds since the last authenticated delivery, so long after the start. `None` when it never was routed, and 0
    /// when it is no more.
    pub(super) fn age(&self, now: Duration, is_routed: bool) -> Option<f64> {
        let was_routed = self.was_routed.fetch_or(is_routed, Ordering::Relaxed);
        let last = Duration::from_millis(self.last_delivery.load(Ordering::Relaxed));
        let age = if is_routed { now.saturating_sub(last).as_secs_f64() } else { 0.0 };
        (is_routed || was_routed).then_some(age)
    }
}

/// What is counted of what a provider's deliveries became in Postgres.
pub(super) struct Written {
    revisions: Counter,
    conflicts: Counter,
    warnings: Counter,
    unprocessed: [Counter; Reason::ALL.len()],
    not_kept: Counter,
}

impl Written {
    fn new(registry: &Registry, provider: &'static str) -> Self {
        let counter = |name| registry.counter(name, &[("provider", provider)]);
        Self {
            revisions: counter(names::REVISIONS),
            conflicts: counter(names::CONFLICTS),
            warnings: counter(names::WARNINGS),
            not_kept: counter(names::NOT_KEPT),
            ..Self::unprocessed(registry, provider)
        }
    }

    pub(super) fn of_no_provider(registry: &Registry) -> Self {
        Self::unprocessed(registry, "unknown")
    }

    fn unprocessed(registry: &Registry, provider: &'static str) -> Self {
        let unprocessed = Reason::ALL
            .map(|reason| registry.counter(names::UNPROCESSED, &[("provider", provider), ("reason", reason.as_str())]));
        let [revisions, conflicts, warnings, not_kept] = [const { Counter::noop() }; 4];
        Self { revisions, conflicts, warnings, unprocessed, not_kept }
    }

    pub(super) fn count(&self, delivery: &Delivery, outcome: &Outcome) {
        let kept = |reason: Reason| self.unprocessed[reason as usize].increment(1);
        match (outcome, delivery) {
            (Outcome::Recorded { changes_final_status, .. }, Delivery::Event(event)) => {
                self.revisions.increment(1);
                self.conflicts.increment(u64::from(*changes_final_status));
                self.warnings.increment(event.booking.warnings.len() as u64);
            }
            (Outcome::Unprocessed, Delivery::Unprocessed(delivery)) => kept(delivery.reason),
            (Outcome::UnknownBooking { is_kept: true }, _) => kept(Reason::UnknownBooking),
            (Outcome::NotKept | Outcome::UnknownBooking { is_kept: false }, _) => self.not_kept.increment(1),
            (Outcome::Refused, _) => kept(Reason::Refused),
            _ => {}
        }
    }
}
