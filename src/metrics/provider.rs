//! What is counted of one provider: what became of its deliveries, and what of them was written.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use ::metrics::Counter;

use super::{Registry, names};
use crate::{
    delivery::{Delivery, Reason, Receipt},
    providers::Outcome,
    ticket_event::Environment,
};

/// What became of a delivery, in one word: `outcome` in logs and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// A new revision.
    Recorded,
    /// It says what is known.
    Duplicate,
    /// In the spool.
    Spooled,
    /// Kept to be looked at.
    Unprocessed,
    /// Answered with an error, and only counted.
    NotKept,
    /// Its booking is not known, where that is required.
    UnknownBooking,
    /// The database refused the row.
    Refused,
    /// Nothing took it.
    NotDurable,
    /// It proved nothing.
    Unauthenticated,
    /// It is no JSON, or did not arrive whole, before it could be authenticated.
    Malformed,
    /// It has another `Content-Encoding` than gzip, and could not be authenticated.
    UnsupportedEncoding,
    /// It is larger than the limit.
    TooLarge,
    /// It did not arrive in time.
    TimedOut,
}

impl Fate {
    const COUNT: usize = 13;

    /// Of deliveries that were handed in to be made durable.
    const HANDED_IN: &[Self] = &[
        Self::Recorded,
        Self::Duplicate,
        Self::Spooled,
        Self::Unprocessed,
        Self::NotKept,
        Self::UnknownBooking,
        Self::Refused,
        Self::NotDurable,
    ];

    /// Of those that were not.
    const NOT_HANDED_IN: &[Self] = &[
        Self::NotDurable,
        Self::Unauthenticated,
        Self::Malformed,
        Self::UnsupportedEncoding,
        Self::TooLarge,
        Self::TimedOut,
    ];

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::Duplicate => "duplicate",
            Self::Spooled => "spooled",
            Self::Unprocessed => "unprocessed",
            Self::NotKept => "not_kept",
            Self::UnknownBooking => "unknown_booking",
            Self::Refused => "refused",
            Self::NotDurable => "not_durable",
            Self::Unauthenticated => "unauthenticated",
            Self::Malformed => "malformed",
            Self::UnsupportedEncoding => "unsupported_encoding",
            Self::TooLarge => "too_large",
            Self::TimedOut => "timed_out",
        }
    }
}

impl From<&Outcome> for Fate {
    /// Of a delivery that was not handed in to be made durable.
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Unauthenticated | Outcome::TooManyFailures(_) => Self::Unauthenticated,
            Outcome::UnsupportedEncoding => Self::UnsupportedEncoding,
            Outcome::TooLarge(_) => Self::TooLarge,
            Outcome::TimedOut => Self::TimedOut,
            Outcome::Unavailable => Self::NotDurable,
            _ => Self::Malformed,
        }
    }
}

impl From<&Receipt> for Fate {
    fn from(receipt: &Receipt) -> Self {
        match receipt {
            Receipt::Recorded { .. } => Self::Recorded,
            Receipt::Duplicate { .. } => Self::Duplicate,
            Receipt::UnknownBooking { .. } => Self::UnknownBooking,
            Receipt::Kept => Self::Unprocessed,
            Receipt::NotKept => Self::NotKept,
            Receipt::Refused => Self::Refused,
            Receipt::Spooled => Self::Spooled,
        }
    }
}

/// What is counted of the deliveries of a provider.
pub struct ProviderMetrics {
    /// By environment (the last is `none`) and outcome; what cannot be is not counted.
    deliveries: [[Counter; Fate::COUNT]; 3],
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
        let of = |environment, outcomes: &[Fate]| {
            let mut counters = [const { Counter::noop() }; Fate::COUNT];
            for outcome in outcomes {
                let labels = [("provider", provider), ("environment", environment), ("outcome", outcome.as_str())];
                counters[*outcome as usize] = registry.counter(names::DELIVERIES, &labels);
            }
            counters
        };
        Self {
            deliveries: [
                of(Environment::Test.as_str(), Fate::HANDED_IN),
                of(Environment::Live.as_str(), Fate::HANDED_IN),
                of("none", Fate::NOT_HANDED_IN),
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
    pub fn delivered(&self, environment: Option<Environment>, outcome: Fate) {
        let environment = match environment {
            Some(Environment::Test) => 0,
            Some(Environment::Live) => 1,
            None => 2,
        };
        self.deliveries[environment][outcome as usize].increment(1);
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

    pub(super) fn count(&self, delivery: &Delivery, receipt: &Receipt) {
        let kept = |reason: Reason| self.unprocessed[reason as usize].increment(1);
        match (receipt, delivery) {
            (Receipt::Recorded { is_conflict, .. }, Delivery::Event(event)) => {
                self.revisions.increment(1);
                self.conflicts.increment(u64::from(*is_conflict));
                self.warnings.increment(event.booking.warnings.len() as u64);
            }
            (Receipt::Kept, Delivery::Unprocessed(delivery)) => kept(delivery.reason),
            (Receipt::UnknownBooking { is_kept: true }, _) => kept(Reason::UnknownBooking),
            (Receipt::NotKept | Receipt::UnknownBooking { is_kept: false }, _) => self.not_kept.increment(1),
            (Receipt::Refused, _) => kept(Reason::Refused),
            _ => {}
        }
    }
}
