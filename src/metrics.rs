//! What Prometheus scrapes: what is counted while deliveries are received, and [`Scrape`], which adds what is read when a
//! scrape comes.
//!
//! Invariants:
//!
//! - A label value is a word of this program or a name that an operator gave, never a provider's input.
//! - A series is there from the start, so that the first event is an increase. Only `last_delivery_age_seconds` begins
//!   when its provider has an account.
//! - Series are looked up once, here: counting is an atomic addition, an observation of a histogram 15 ns under a mutex
//!   of its own.

mod bookings;
mod feed;
mod forward;
mod process;
mod provider;
mod registry;
mod scrape;
mod spool;

use std::{sync::Arc, time::Instant};

use prometheus_client::metrics::{counter::Counter, histogram::Histogram};

pub use self::{
    bookings::BookingMetrics,
    forward::{ForwardFamilies, ForwardMetrics},
    provider::ProviderMetrics,
    registry::CONTENT_TYPE,
    scrape::{QueueSource, ReadUsage, Scrape, Sources},
};
use self::{
    provider::{ProviderFamilies, StoredCounters},
    registry::{Registry, UnsignedGauge},
};
use crate::{
    delivery::{Delivery, Outcome, Reason},
    providers::{PROVIDERS, Provider},
};

/// Bounds of the buckets, in seconds.
pub const DURATIONS: [f64; 17] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// Bounds of the buckets, in deliveries.
const BATCH_SIZES: [f64; 12] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0];

/// Everything that is counted.
pub struct Metrics {
    registry: Registry,
    providers: Vec<(&'static str, Arc<ProviderMetrics>)>,
    /// For records of a spool that name no provider of this program.
    unknown_provider: StoredCounters,
    pub phases: Phases,
    /// In deliveries.
    pub batch_size: Histogram,
    pub spooled: Counter,
    pub drained: Counter,
    pub reprocessed: ReprocessedMetrics,
    /// By reason.
    unprocessed_waiting: [UnsignedGauge; Reason::ALL.len()],
    pub admin_authentication_failures: Counter,
    pub unrouted: Counter,
    pub bookings: Arc<BookingMetrics>,
    pub forwards: ForwardFamilies,
    pub public_connections: ConnectionMetrics,
    pub admin_connections: ConnectionMetrics,
}

/// By what became of a delivery.
pub struct ReprocessedMetrics {
    pub recorded: Counter,
    pub duplicate: Counter,
    pub unprocessed: Counter,
}

/// Of one listener.
#[derive(Clone)]
pub struct ConnectionMetrics {
    pub evicted: Counter,
    pub refused: Counter,
}

/// How long each phase of a delivery takes, in seconds.
pub struct Phases {
    pub authenticate: Histogram,
    pub normalize: Histogram,
    pub queue: Histogram,
    pub write: Histogram,
    pub total: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        let started = Instant::now();
        let mut registry = Registry::default();
        let families = ProviderFamilies::new(&mut registry);
        let phases = registry.histograms(
            "ticket_webhooks_phase_duration_seconds",
            "Time in a phase, in seconds: authenticate (with decompressing and parsing), normalize, queue (until the batch \
             begins), write (of a batch, observed once; not of a drained one), total (from the head of the request to \
             the answer, receiving the body included; authenticated deliveries only).",
            || Histogram::new(DURATIONS),
        );
        let phase = |phase| phases.get_or_create_owned(&[("phase", phase)]);
        let evicted = registry.counters(
            "ticket_webhooks_connections_evicted_total",
            "Connections that were closed to make room for others, the slowest first, by listener.",
        );
        let refused = registry.counters(
            "ticket_webhooks_connections_refused_total",
            "Connections that were answered 503 because there were too many, by listener.",
        );
        let reprocessed = registry.counters(
            "ticket_webhooks_reprocessed_total",
            "Unprocessed deliveries that this process ran through its code again, by what became of them: recorded, \
             duplicate, unprocessed.",
        );
        let reprocessed = |outcome| reprocessed.get_or_create_owned(&[("outcome", outcome)]);
        let waiting = registry.unsigned_gauges(
            "ticket_webhooks_unprocessed_waiting",
            "Rows of unprocessed_deliveries that were not reprocessed, by reason, up to 100,000; counted every 15 seconds, \
             the same for all replicas.",
        );
        let connections = |listener| ConnectionMetrics {
            evicted: evicted.get_or_create_owned(&[("listener", listener)]),
            refused: refused.get_or_create_owned(&[("listener", listener)]),
        };
        Self {
            providers: PROVIDERS
                .iter()
                .map(|provider| (provider.name(), Arc::new(ProviderMetrics::new(&families, provider.name(), started))))
                .collect(),
            unknown_provider: StoredCounters::of_unknown_provider(&families),
            phases: Phases {
                authenticate: phase("authenticate"),
                normalize: phase("normalize"),
                queue: phase("queue"),
                write: phase("write"),
                total: phase("total"),
            },
            batch_size: registry.add(
                "ticket_webhooks_batch_size",
                "Deliveries that are stored or spooled as one batch; not those drained from the spool.",
                Histogram::new(BATCH_SIZES),
            ),
            spooled: registry.counter(
                "ticket_webhooks_spool_spooled_total",
                "Deliveries synced to the spool because Postgres did not take them.",
            ),
            drained: registry
                .counter("ticket_webhooks_spool_drained_total", "Deliveries moved from the spool to Postgres."),
            admin_authentication_failures: registry.counter(
                "ticket_webhooks_admin_authentication_failures_total",
                "Requests to the admin listener with a missing or wrong token; health and metrics need none.",
            ),
            unrouted: registry.counter(
                "ticket_webhooks_unrouted_requests_total",
                "POST requests to the public listener at a path that is no provider's: a provider may have a wrong URL.",
            ),
            bookings: Arc::new(BookingMetrics::new(&mut registry)),
            forwards: ForwardFamilies::new(&mut registry),
            reprocessed: ReprocessedMetrics {
                recorded: reprocessed("recorded"),
                duplicate: reprocessed("duplicate"),
                unprocessed: reprocessed("unprocessed"),
            },
            unprocessed_waiting: Reason::ALL
                .map(|reason| waiting.get_or_create_owned(&[("reason", reason.as_str())])),
            public_connections: connections("public"),
            admin_connections: connections("admin"),
            registry,
        }
    }
}

impl Metrics {
    pub fn provider(&self, provider: &dyn Provider) -> Arc<ProviderMetrics> {
        let found = self.providers.iter().find(|(name, _)| *name == provider.name());
        Arc::clone(&found.expect("every provider is in the list").1)
    }

    pub fn set_unprocessed_waiting(&self, reason: Reason, count: u64) {
        self.unprocessed_waiting[reason as usize].set(count);
    }

    /// Counts what was written to Postgres. The outcomes are in the order of the deliveries.
    pub fn count_stored(&self, deliveries: &[Delivery], outcomes: &[Outcome]) {
        for (delivery, outcome) in deliveries.iter().zip(outcomes) {
            self.stored_counters(delivery).count(delivery, outcome);
        }
    }

    /// Counts a delivery beyond its account's allowance: it went neither to Postgres nor to the spool.
    pub fn count_not_kept(&self, delivery: &Delivery) {
        self.stored_counters(delivery).count(delivery, &Outcome::NotKept);
    }

    fn stored_counters(&self, delivery: &Delivery) -> &StoredCounters {
        let found = self.providers.iter().find(|(provider, _)| *provider == delivery.provider());
        found.map_or(&self.unknown_provider, |(_, metrics)| &metrics.stored)
    }
}
