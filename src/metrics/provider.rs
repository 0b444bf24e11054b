//! What is counted of one provider: the outcomes of its deliveries, and what was stored of them.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use prometheus_client::metrics::counter::Counter;
use uuid::Uuid;

use super::registry::{Counters, Registry};
use crate::{
    delivery::{Delivery, Outcome, Reason},
    ticket_event::Environment,
};

/// Of deliveries that were queued to be made durable.
const OUTCOMES_WHEN_QUEUED: &[Outcome] = &[
    Outcome::Recorded { revision: 0, changes_final_status: false },
    Outcome::Duplicate { event_id: Uuid::nil(), revision: 0 },
    Outcome::Spooled,
    Outcome::Unprocessed,
    Outcome::NotKept,
    Outcome::UnknownBooking { is_kept: false },
    Outcome::Refused,
    Outcome::NotDurable,
];

/// Of those that were rejected before.
const OUTCOMES_WHEN_REJECTED: &[Outcome] = &[
    Outcome::NotDurable,
    Outcome::Unauthenticated,
    Outcome::Malformed,
    Outcome::UnsupportedEncoding,
    Outcome::TooLarge,
    Outcome::TimedOut,
];

/// The metrics with a label for the provider.
pub(super) struct ProviderFamilies {
    deliveries: Counters<3>,
    authentication_failures: Counters<1>,
    revisions: Counters<1>,
    conflicts: Counters<1>,
    warnings: Counters<1>,
    unprocessed: Counters<2>,
    not_kept: Counters<1>,
}

impl ProviderFamilies {
    pub(super) fn new(registry: &mut Registry) -> Self {
        Self {
            deliveries: registry.counters(
                "ticket_webhooks_deliveries_total",
                "Deliveries by outcome. environment is that of the account, or none when the delivery was rejected before \
                 it was queued. Only POST requests are counted.",
            ),
            authentication_failures: registry.counters(
                "ticket_webhooks_authentication_failures_total",
                "Deliveries with a missing, malformed or wrong credential, or from a network that is not allowed.",
            ),
            revisions: registry.counters(
                "ticket_webhooks_revisions_total",
                "Revisions recorded in Postgres, directly or from the spool.",
            ),
            conflicts: registry.counters(
                "ticket_webhooks_conflicts_total",
                "Revisions that changed a final status, also to one that is not final; final are ticketed, failed, aborted \
                 and cancelled.",
            ),
            warnings: registry.counters(
                "ticket_webhooks_warnings_total",
                "Warnings on recorded revisions: fields that were missing or unusable.",
            ),
            unprocessed: registry.counters(
                "ticket_webhooks_unprocessed_total",
                "Authenticated deliveries stored in unprocessed_deliveries, directly or from the spool; provider is \
                 unknown for records of the spool that cannot be read.",
            ),
            not_kept: registry.counters(
                "ticket_webhooks_unprocessed_not_kept_total",
                "Authenticated deliveries that were answered with an error and not stored: their account had sent more \
                 than 1,000 different ones, or 16 MiB of them, within a minute.",
            ),
        }
    }
}

pub struct ProviderMetrics {
    /// By environment (the last is `none`) and outcome. Combinations that do not occur are not registered.
    deliveries: [[Counter; Outcome::WORDS.len()]; 3],
    authentication_failures: Counter,
    pub(super) stored: StoredCounters,
    started: Instant,
    /// When the last authenticated delivery came, in milliseconds since `started`.
    last_delivery: AtomicU64,
    /// Whether the provider had an account at any scrape.
    was_routed: AtomicBool,
}

impl ProviderMetrics {
    pub(super) fn new(families: &ProviderFamilies, provider: &'static str, started: Instant) -> Self {
        let deliveries = |environment, outcomes: &[Outcome]| {
            let mut counters: [Counter; Outcome::WORDS.len()] = Default::default();
            for outcome in outcomes {
                let labels = [("provider", provider), ("environment", environment), ("outcome", outcome.as_str())];
                counters[outcome.index()] = families.deliveries.get_or_create_owned(&labels);
            }
            counters
        };
        Self {
            deliveries: [
                deliveries(Environment::Test.as_str(), OUTCOMES_WHEN_QUEUED),
                deliveries(Environment::Live.as_str(), OUTCOMES_WHEN_QUEUED),
                deliveries("none", OUTCOMES_WHEN_REJECTED),
            ],
            authentication_failures: families.authentication_failures.get_or_create_owned(&[("provider", provider)]),
            stored: StoredCounters::new(families, provider),
            started,
            last_delivery: AtomicU64::new(0),
            was_routed: AtomicBool::new(false),
        }
    }

    /// Notes the time of a delivery that was authenticated.
    pub fn authenticated(&self, now: Instant) {
        let since = now.duration_since(self.started).as_millis();
        self.last_delivery.store(u64::try_from(since).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Counts a delivery; `environment` is `None` when it was rejected before it was queued.
    pub fn count_outcome(&self, environment: Option<Environment>, outcome: &Outcome) {
        let environment = match environment {
            Some(Environment::Test) => 0,
            Some(Environment::Live) => 1,
            None => 2,
        };
        self.deliveries[environment][outcome.index()].inc();
    }

    pub fn count_authentication_failure(&self) {
        self.authentication_failures.inc();
    }

    /// Seconds since the last authenticated delivery, or since the start when there was none. `None` when the provider
    /// never had an account; 0 once its accounts were removed: it cannot be silent then.
    pub(super) fn last_delivery_age(&self, is_routed: bool) -> Option<f64> {
        let was_routed = self.was_routed.fetch_or(is_routed, Ordering::Relaxed);
        let last = Duration::from_millis(self.last_delivery.load(Ordering::Relaxed));
        let age = if is_routed { self.started.elapsed().saturating_sub(last).as_secs_f64() } else { 0.0 };
        (is_routed || was_routed).then_some(age)
    }
}

/// What is counted of deliveries that went to Postgres, directly or from the spool.
pub(super) struct StoredCounters {
    revisions: Counter,
    conflicts: Counter,
    warnings: Counter,
    unprocessed: [Counter; Reason::ALL.len()],
    not_kept: Counter,
}

impl StoredCounters {
    fn new(families: &ProviderFamilies, provider: &'static str) -> Self {
        let labels = [("provider", provider)];
        Self {
            revisions: families.revisions.get_or_create_owned(&labels),
            conflicts: families.conflicts.get_or_create_owned(&labels),
            warnings: families.warnings.get_or_create_owned(&labels),
            unprocessed: unprocessed(families, provider),
            not_kept: families.not_kept.get_or_create_owned(&labels),
        }
    }

    /// Only its unprocessed deliveries are registered: a record that cannot be read is no event.
    pub(super) fn of_unknown_provider(families: &ProviderFamilies) -> Self {
        let [revisions, conflicts, warnings, not_kept] = Default::default();
        Self { revisions, conflicts, warnings, unprocessed: unprocessed(families, "unknown"), not_kept }
    }

    pub(super) fn count(&self, delivery: &Delivery, outcome: &Outcome) {
        let count_unprocessed = |reason: Reason| self.unprocessed[reason as usize].inc();
        match (outcome, delivery) {
            (Outcome::Recorded { changes_final_status, .. }, Delivery::Event(event)) => {
                self.revisions.inc();
                self.conflicts.inc_by(u64::from(*changes_final_status));
                self.warnings.inc_by(event.booking.warnings.len() as u64);
            }
            (Outcome::Unprocessed, Delivery::Unprocessed(delivery)) => {
                count_unprocessed(delivery.reason);
            }
            (Outcome::UnknownBooking { is_kept: true }, _) => {
                count_unprocessed(Reason::UnknownBooking);
            }
            (Outcome::Refused, _) => {
                count_unprocessed(Reason::Refused);
            }
            (Outcome::NotKept | Outcome::UnknownBooking { is_kept: false }, _) => {
                self.not_kept.inc();
            }
            _ => {}
        }
    }
}

fn unprocessed(families: &ProviderFamilies, provider: &'static str) -> [Counter; Reason::ALL.len()] {
    Reason::ALL
        .map(|reason| families.unprocessed.get_or_create_owned(&[("provider", provider), ("reason", reason.as_str())]))
}
