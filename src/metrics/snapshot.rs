//! What a scrape looks at when it comes: levels, limits, and whether things are up.

use std::time::{Duration, SystemTime};

use ::metrics::{Counter, Gauge};

use super::{Registry, names};

/// How things stand.
#[derive(Debug)]
pub struct Snapshot {
    /// The providers that may deliver.
    pub routed: Vec<&'static str>,
    /// Deliveries that wait for a batch, and how many may.
    pub queue: (usize, usize),
    /// Bytes that count for bodies, and how many may.
    pub body_memory: (usize, usize),
    /// Connections to the public listener, and how many may be.
    pub connections: (usize, usize),
    /// The spool, where there is one.
    pub spool: Option<SpoolSnapshot>,
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

/// How the spool stands.
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
    queue: [Gauge; 2],
    body_memory: [Gauge; 2],
    connections: [Gauge; 2],
    spool_enabled: Gauge,
    spool_records: Gauge,
    spool_bytes: Gauge,
    spool_limit: Gauge,
    spool_oldest_age: Gauge,
    spool_files_set_aside: Counter,
    spool_files_gone: Counter,
    spool_records_damaged: Counter,
    spool_files_aside: Gauge,
    database_up: Gauge,
    database_idle: Gauge,
    database_used: Gauge,
    database_limit: Gauge,
    ready: Gauge,
}

impl Gauges {
    pub(super) fn new(registry: &Registry) -> Self {
        let gauge = |name| registry.gauge(name, &[]);
        registry.gauge(names::BUILD_INFO, &[("version", env!("CARGO_PKG_VERSION"))]).set(1.0);
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        gauge(names::START_TIME).set(since_1970.as_secs_f64());
        Self {
            queue: [names::QUEUE_DELIVERIES, names::QUEUE_CAPACITY].map(gauge),
            body_memory: [names::BODY_MEMORY, names::BODY_MEMORY_LIMIT].map(gauge),
            connections: [names::CONNECTIONS, names::CONNECTIONS_LIMIT].map(gauge),
            spool_enabled: gauge(names::SPOOL_ENABLED),
            spool_records: gauge(names::SPOOL_RECORDS),
            spool_bytes: gauge(names::SPOOL_BYTES),
            spool_limit: gauge(names::SPOOL_LIMIT),
            spool_oldest_age: gauge(names::SPOOL_OLDEST_AGE),
            spool_files_set_aside: registry.counter(names::SPOOL_FILES_SET_ASIDE, &[]),
            spool_files_gone: registry.counter(names::SPOOL_FILES_GONE, &[]),
            spool_records_damaged: registry.counter(names::SPOOL_RECORDS_DAMAGED, &[]),
            spool_files_aside: gauge(names::SPOOL_FILES_ASIDE),
            database_up: gauge(names::DATABASE_UP),
            database_idle: registry.gauge(names::DATABASE_CONNECTIONS, &[("state", "idle")]),
            database_used: registry.gauge(names::DATABASE_CONNECTIONS, &[("state", "used")]),
            database_limit: gauge(names::DATABASE_CONNECTIONS_LIMIT),
            ready: gauge(names::READY),
        }
    }

    pub(super) fn set(&self, snapshot: &Snapshot) {
        for ([level, limit], values) in [
            (&self.queue, snapshot.queue),
            (&self.body_memory, snapshot.body_memory),
            (&self.connections, snapshot.connections),
        ] {
            level.set(values.0 as f64);
            limit.set(values.1 as f64);
        }
        let spool = snapshot.spool.as_ref();
        self.spool_enabled.set(f64::from(spool.is_some()));
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
        self.database_up.set(f64::from(snapshot.is_database_up));
        self.database_idle.set(snapshot.database_idle as f64);
        self.database_used.set(snapshot.database_used as f64);
        self.database_limit.set(snapshot.database_limit as f64);
        self.ready.set(f64::from(snapshot.is_ready));
    }
}
