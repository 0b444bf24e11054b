//! What the service counts, as Prometheus reads it. README.md explains every metric with the texts in `names`.
//!
//! Invariants: every label value is a word of this program, never one of the input; every series is there from
//! the start, so that the first thing that happens is a change; each series is looked up once and then only counted up,
//! so that a delivery costs no lock and no allocation. What can be looked at is not counted: it comes with the
//! [`Snapshot`] that a scrape takes.

mod names;
mod provider;
mod snapshot;

use std::{sync::Arc, time::Instant};

use ::metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

pub use self::{
    provider::ProviderMetrics,
    snapshot::{EnvironmentSnapshot, Snapshot, SpoolSnapshot},
};
use self::{provider::Written, snapshot::Gauges};
use crate::{
    delivery::{Delivery, Outcome},
    providers::{PROVIDERS, Provider},
};

/// In seconds.
const DURATIONS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

const BATCH_SIZES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0];

/// Everything that is counted.
pub struct Metrics {
    registry: Registry,
    handle: PrometheusHandle,
    process: metrics_process::Collector,
    gauges: Gauges,
    started: Instant,
    providers: Vec<(&'static str, Arc<ProviderMetrics>)>,
    /// What a spool held that cannot be read.
    unreadable: Written,
    /// The phases of a delivery.
    pub phases: Phases,
    /// Deliveries in one commit.
    pub batch_size: Histogram,
    /// Deliveries that were synced to the spool.
    pub spooled: Counter,
    /// Deliveries that came out of the spool.
    pub drained: Counter,
    /// Requests with a missing or wrong admin token.
    pub admin_authentication_failures: Counter,
    /// `POST` requests that led nowhere.
    pub unrouted: Counter,
    /// Of the public listener.
    pub public_connections: ConnectionMetrics,
    /// Of the admin listener.
    pub admin_connections: ConnectionMetrics,
}

/// What happened to the connections of a listener when they ran short.
#[derive(Clone)]
pub struct ConnectionMetrics {
    /// Closed to make room.
    pub evicted: Counter,
    /// Refused.
    pub refused: Counter,
}

/// How long each part of the way of a delivery takes, in seconds.
pub struct Phases {
    /// The check of address and credentials, decompressing and parsing included.
    pub authenticate: Histogram,
    /// From the parsed body to the event.
    pub normalize: Histogram,
    /// In the queue, until the batch begins.
    pub wait: Histogram,
    /// A batch, until it is durable.
    pub commit: Histogram,
    /// All of it, the arrival of the body included.
    pub whole: Histogram,
}

impl Metrics {
    /// All series at their beginning.
    ///
    /// # Errors
    ///
    /// The buckets are none.
    pub fn new() -> anyhow::Result<Self> {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Full(names::PHASE_DURATION.to_owned()), DURATIONS)?
            .set_buckets_for_metric(Matcher::Full(names::BATCH_SIZE.to_owned()), BATCH_SIZES)?
            .build_recorder();
        let handle = recorder.handle();
        let registry = Registry(recorder);
        names::describe(&registry.0);
        let process = metrics_process::Collector::default();
        ::metrics::with_local_recorder(&registry.0, || process.describe());
        let started = Instant::now();
        let connections = |listener| ConnectionMetrics {
            evicted: registry.counter(names::CONNECTIONS_EVICTED, &[("listener", listener)]),
            refused: registry.counter(names::CONNECTIONS_REFUSED, &[("listener", listener)]),
        };
        let phase = |phase| registry.histogram(names::PHASE_DURATION, &[("phase", phase)]);
        Ok(Self {
            gauges: Gauges::new(&registry),
            started,
            providers: PROVIDERS
                .iter()
                .map(|provider| (provider.name(), Arc::new(ProviderMetrics::new(&registry, provider.name(), started))))
                .collect(),
            unreadable: Written::of_no_provider(&registry),
            phases: Phases {
                authenticate: phase("authenticate"),
                normalize: phase("normalize"),
                wait: phase("wait"),
                commit: phase("commit"),
                whole: phase("whole"),
            },
            batch_size: registry.histogram(names::BATCH_SIZE, &[]),
            spooled: registry.counter(names::SPOOL_SPOOLED, &[]),
            drained: registry.counter(names::SPOOL_DRAINED, &[]),
            admin_authentication_failures: registry.counter(names::ADMIN_AUTHENTICATION_FAILURES, &[]),
            unrouted: registry.counter(names::UNROUTED, &[]),
            public_connections: connections("public"),
            admin_connections: connections("admin"),
            process,
            registry,
            handle,
        })
    }

    /// What is counted of a provider.
    pub fn provider(&self, provider: &dyn Provider) -> Arc<ProviderMetrics> {
        let of_provider = self.providers.iter().find(|(name, _)| *name == provider.name());
        Arc::clone(&of_provider.expect("every provider is in the list").1)
    }

    /// Counts what was written to Postgres; the outcomes are in the order of the deliveries.
    pub fn written(&self, deliveries: &[Delivery], outcomes: &[Outcome]) {
        for (delivery, outcome) in deliveries.iter().zip(outcomes) {
            self.of_provider(delivery).count(delivery, outcome);
        }
    }

    /// Counts a delivery that neither Postgres nor the spool was given.
    pub fn not_kept(&self, delivery: &Delivery) {
        self.of_provider(delivery).count(delivery, &Outcome::NotKept);
    }

    fn of_provider(&self, delivery: &Delivery) -> &Written {
        let of_provider = self.providers.iter().find(|(provider, _)| *provider == delivery.provider());
        of_provider.map_or(&self.unreadable, |(_, metrics)| &metrics.written)
    }

    /// Sorts what has been measured into buckets. Until then every measurement is kept by itself, so this has to be done
    /// every now and then also when nobody looks.
    pub fn tidy(&self) {
        self.handle.run_upkeep();
    }

    /// The page that Prometheus reads.
    pub fn render(&self, snapshot: &Snapshot) -> String {
        self.gauges.set(snapshot);
        for (provider, metrics) in &self.providers {
            // one that is not routed cannot be silent
            let Some(age) = metrics.age(self.started.elapsed(), snapshot.routed.contains(provider)) else { continue };
            self.registry.gauge(names::LAST_DELIVERY_AGE, &[("provider", provider)]).set(age);
        }
        ::metrics::with_local_recorder(&self.registry.0, || self.process.collect());
        self.handle.render()
    }
}

/// Where series are made.
struct Registry(PrometheusRecorder);

impl Registry {
    const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);

    fn counter(&self, name: &'static str, labels: &[(&'static str, &'static str)]) -> Counter {
        self.0.register_counter(&key(name, labels), &Self::METADATA)
    }

    fn gauge(&self, name: &'static str, labels: &[(&'static str, &'static str)]) -> Gauge {
        self.0.register_gauge(&key(name, labels), &Self::METADATA)
    }

    fn histogram(&self, name: &'static str, labels: &[(&'static str, &'static str)]) -> Histogram {
        self.0.register_histogram(&key(name, labels), &Self::METADATA)
    }
}

/// Only words of this program can stand here: the types say so.
fn key(name: &'static str, labels: &[(&'static str, &'static str)]) -> Key {
    let labels: Vec<_> = labels.iter().map(|(name, value)| Label::from_static_parts(name, value)).collect();
    Key::from_parts(name, labels)
}
