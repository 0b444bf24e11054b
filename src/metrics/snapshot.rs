//! What a scrape looks at when it comes: levels, limits, and whether things are up.

use std::time::{Duration, SystemTime};

use ::metrics::{Counter, Gauge};

use super::{Registry, names};
use crate::ticket_event::Environment;

/// How things stand.
#[derive(Debug)]
pub struct Snapshot {
    /// The providers that may deliver.
    pub routed: Vec<&'static str>,
    /// Bytes that count for bodies, and how many may.
    pub body_memory: (usize, usize),
    /// Connections to the public listener, and how many may be.
    pub connections: (usize, usize),
    /// What each environment has for itself.
    pub environments: Vec<EnvironmentSnapshot>,
    /// Whether Postgres takes writes.
    pub is_database_up: bool,
    /// Connections to Postgres that do nothing.
    pub database_idle: usize,
    /// Connections to Postgres that do something.
    pub database_used: usize,
    /// Connections to Postgres that there may be.
    pub database_limit: usize,
    /// Whether a delivery can be made durable.
    pub is_ready: bool,
}

/// How an environment's queue and spool stand.
#[derive(Debug)]
pub struct EnvironmentSnapshot {
    /// Which environment.
    pub environment: Environment,
    /// Deliveries that wait for a batch, and how many may.
    pub queue: (usize, usize),
    /// Bytes of those that wait or are being written, and how many may be.
    pub queue_memory: (usize, usize),
    /// The spool, where there is one.
    pub spool: Option<SpoolSnapshot>,
}

/// How a spool stands.
#[derive(Debug)]
pub struct SpoolSnapshot {
    /// Deliveries in it.
    pub records: u64,
    /// What it holds, in bytes.
    pub bytes: u64,
    /// What it may hold, in bytes.
    pub max_bytes: u64,
    /// How long ago the oldest was received, zero when it is empty; nothing when it cannot be read now.
    pub oldest: Option<Duration>,
    /// Files that were damaged and set aside since the start.
    pub files_set_aside: u64,
    /// How often the file was deleted or replaced since the start.
    pub files_gone: u64,
    /// Records that were not whole since the start.
    pub records_damaged: u64,
    /// Files set aside that are in the directory now.
    pub files_aside: u64,
}

/// The series for it.
pub(super) struct Gauges {
    live: EnvironmentGauges,
    test: EnvironmentGauges,
    body_memory: [Gauge; 2],
    connections: [Gauge; 2],
    spool_enabled: Gauge,
    database_up: Gauge,
    database_idle: Gauge,
    database_used: Gauge,
    database_limit: Gauge,
    ready: Gauge,
}

/// Those of an environment.
struct EnvironmentGauges {
    queue: [Gauge; 2],
    queue_memory: [Gauge; 2],
    spool_records: Gauge,
    spool_bytes: Gauge,
    spool_limit: Gauge,
    spool_oldest_age: Gauge,
    spool_files_set_aside: Counter,
    spool_files_gone: Counter,
    spool_records_damaged: Counter,
    spool_files_aside: Gauge,
}

impl Gauges {
    pub(super) fn new(registry: &Registry) -> Self {
        let gauge = |name| registry.gauge(name, &[]);
        registry.gauge(names::BUILD_INFO, &[("version", env!("CARGO_PKG_VERSION"))]).set(1.0);
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        gauge(names::START_TIME).set(since_1970.as_secs_f64());
        Self {
            live: EnvironmentGauges::new(registry, Environment::Live),
            test: EnvironmentGauges::new(registry, Environment::Test),
            body_memory: [names::BODY_MEMORY, names::BODY_MEMORY_LIMIT].map(gauge),
            connections: [names::CONNECTIONS, names::CONNECTIONS_LIMIT].map(gauge),
            spool_enabled: gauge(names::SPOOL_ENABLED),
            database_up: gauge(names::DATABASE_UP),
            database_idle: registry.gauge(names::DATABASE_CONNECTIONS, &[("state", "idle")]),
            database_used: registry.gauge(names::DATABASE_CONNECTIONS, &[("state", "used")]),
            database_limit: gauge(names::DATABASE_CONNECTIONS_LIMIT),
            ready: gauge(names::READY),
        }
    }

    pub(super) fn set(&self, snapshot: &Snapshot) {
        for ([level, limit], values) in
            [(&self.body_memory, snapshot.body_memory), (&self.connections, snapshot.connections)]
        {
            level.set(values.0 as f64);
            limit.set(values.1 as f64);
        }
        self.spool_enabled.set(f64::from(snapshot.environments.iter().any(|of| of.spool.is_some())));
        for of_environment in &snapshot.environments {
            match of_environment.environment {
                Environment::Live => self.live.set(of_environment),
                Environment::Test => self.test.set(of_environment),
            }
        }
        self.database_up.set(f64::from(snapshot.is_database_up));
        self.database_idle.set(snapshot.database_idle as f64);
        self.database_used.set(snapshot.database_used as f64);
        self.database_limit.set(snapshot.database_limit as f64);
        self.ready.set(f64::from(snapshot.is_ready));
    }
}

impl EnvironmentGauges {
    fn new(registry: &Registry, environment: Environment) -> Self {
        let labels = [("environment", environment.as_str())];
        let gauge = |name| registry.gauge(name, &labels);
        let counter = |name| registry.counter(name, &labels);
        Self {
            queue: [names::QUEUE_DELIVERIES, names::QUEUE_CAPACITY].map(gauge),
            queue_memory: [names::QUEUE_MEMORY, names::QUEUE_MEMORY_LIMIT].map(gauge),
            spool_records: gauge(names::SPOOL_RECORDS),
            spool_bytes: gauge(names::SPOOL_BYTES),
            spool_limit: gauge(names::SPOOL_LIMIT),
            spool_oldest_age: gauge(names::SPOOL_OLDEST_AGE),
            spool_files_set_aside: counter(names::SPOOL_FILES_SET_ASIDE),
            spool_files_gone: counter(names::SPOOL_FILES_GONE),
            spool_records_damaged: counter(names::SPOOL_RECORDS_DAMAGED),
            spool_files_aside: gauge(names::SPOOL_FILES_ASIDE),
        }
    }

    fn set(&self, snapshot: &EnvironmentSnapshot) {
        for ([level, limit], values) in [(&self.queue, snapshot.queue), (&self.queue_memory, snapshot.queue_memory)] {
            level.set(values.0 as f64);
            limit.set(values.1 as f64);
        }
        let spool = snapshot.spool.as_ref();
        self.spool_records.set(spool.map_or(0, |spool| spool.records) as f64);
        self.spool_bytes.set(spool.map_or(0, |spool| spool.bytes) as f64);
        self.spool_limit.set(spool.map_or(0, |spool| spool.max_bytes) as f64);
        // without a spool nothing of it is counted
        if let Some(spool) = spool {
            self.spool_files_set_aside.absolute(spool.files_set_aside);
            self.spool_files_gone.absolute(spool.files_gone);
            self.spool_records_damaged.absolute(spool.records_damaged);
        }
        self.spool_files_aside.set(spool.map_or(0, |spool| spool.files_aside) as f64);
        if let Some(oldest) = spool.map_or(Some(Duration::ZERO), |spool| spool.oldest) {
            self.spool_oldest_age.set(oldest.as_secs_f64());
        }
    }
}
