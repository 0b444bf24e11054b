//! How many bookings wait for somebody, as the last look at the database found.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::{family::Family, gauge::Gauge};

use super::registry::{Labels, Registry};
use crate::{
    providers,
    store::{BookingCount, BookingKind},
    ticket_event::Environment,
};

type Gauges = Family<Labels<2>, Gauge<u64, AtomicU64>>;

/// By provider and environment.
pub struct BookingMetrics {
    overdue: Gauges,
    stuck: Gauges,
}

impl BookingMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            overdue: registry.add(
                "ticket_webhooks_bookings_overdue",
                "Bookings without a final status whose expected_by has passed, up to 10,000; the same in every replica.",
                Gauges::default(),
            ),
            stuck: registry.add(
                "ticket_webhooks_bookings_stuck",
                "Bookings that are pending, confirmed or partially ticketed and silent for longer than \
                 bookings.stuck_after_minutes, up to 10,000; the same in every replica.",
                Gauges::default(),
            ),
        };
        metrics.set(&[]);
        metrics
    }

    /// What is not among the counts is 0. Other names of providers, which only SQL can have written, are left out.
    pub fn set(&self, counts: &[BookingCount]) {
        for provider in providers::names() {
            for environment in [Environment::Live, Environment::Test].map(Environment::as_str) {
                let labels = [("provider", provider), ("environment", environment)];
                for (kind, gauges) in [(BookingKind::Overdue, &self.overdue), (BookingKind::Stuck, &self.stuck)] {
                    let is_it = |count: &&BookingCount| {
                        count.kind == kind && count.provider == provider && count.environment == environment
                    };
                    let count = counts.iter().find(is_it).map_or(0, |count| count.count);
                    gauges.get_or_create(&labels).set(count.unsigned_abs());
                }
            }
        }
    }
}
