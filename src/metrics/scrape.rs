//! The page that Prometheus scrapes: the counters, and values that are read from their sources when it is made.

use std::{sync::Arc, time::SystemTime};

use sqlx::PgPool;
use tokio::time::timeout;

use super::{
    Metrics,
    feed::{self, FeedValues},
    forward, process,
    registry::{FloatGauges, Labels, Registry},
    spool::SpoolMetrics,
};
use crate::{
    readiness::{MAX_CHECK_TIME, Readiness},
    secrets::CurrentSecrets,
    spool::Spools,
    store::{Pool, WriterConnections},
    ticket_event::Environment,
};

/// Reads how much of something is used, and its limit.
pub type ReadUsage = Box<dyn Fn() -> (usize, usize) + Send + Sync>;

/// Where the values of a page come from.
pub struct Sources {
    pub metrics: Arc<Metrics>,
    pub readiness: Readiness,
    pub secrets: Arc<CurrentSecrets>,
    pub spools: Option<Spools>,
    pub queues: [QueueSource; 2],
    /// In bytes.
    pub body_memory: ReadUsage,
    /// Of the public listener.
    pub connections: ReadUsage,
    pub pool: PgPool,
    /// For everything beside the deliveries.
    pub shared_pool: Pool,
    pub writers: WriterConnections,
    pub max_database_connections: u32,
    pub retention_days: Option<u32>,
    /// The consumers of the forwards in the configuration.
    pub forwards: Vec<String>,
}

/// The queue of an environment.
pub struct QueueSource {
    pub environment: Environment,
    pub deliveries: ReadUsage,
    /// In bytes.
    pub memory: ReadUsage,
}

/// Makes the page.
pub struct Scrape {
    sources: Sources,
    /// In seconds since 1970.
    started: f64,
    spools: SpoolMetrics,
}

impl Scrape {
    pub fn new(sources: Sources) -> Self {
        let started = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { sources, started: started.as_secs_f64(), spools: SpoolMetrics::default() }
    }

    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.sources.metrics
    }

    pub(crate) fn spools(&self) -> Option<Spools> {
        self.sources.spools.clone()
    }

    pub async fn page(&self) -> String {
        let mut registry = Registry::default();
        // before readiness uses one itself
        self.add_database_connections(&mut registry);
        let database_is_up = self.add_readiness(&mut registry).await;
        self.add_queues(&mut registry);
        self.add_limits(&mut registry);
        self.spools.add(&mut registry, self.sources.spools.as_ref()).await;
        self.add_last_delivery(&mut registry);
        registry.gauge(
            "ticket_webhooks_retention_seconds",
            "How long personal data is kept, in seconds (privacy.retention_days); 0 when it is kept for ever.",
            u64::from(self.sources.retention_days.unwrap_or_default()) * 86_400,
        );
        // a scrape is not to wait for a database that is away a second time
        if database_is_up {
            self.add_feed(&mut registry).await;
            self.add_forwards(&mut registry).await;
        }
        self.add_build(&mut registry);
        process::register(&mut registry);
        let mut page = String::new();
        self.sources.metrics.registry.encode(&mut page);
        registry.encode(&mut page);
        page
    }

    fn add_database_connections(&self, registry: &mut Registry) {
        let Sources { pool, shared_pool, writers, max_database_connections, .. } = &self.sources;
        let (shared_idle, shared_used) = shared_pool.usage();
        let pool_idle = pool.num_idle() + shared_idle;
        let pool_used = (pool.size() as usize).saturating_sub(pool.num_idle()) + shared_used;
        registry.gauges(
            "ticket_webhooks_database_connections",
            "Connections to Postgres by state: idle or used.",
            [("idle", pool_idle + writers.idle()), ("used", pool_used + writers.used())]
                .map(|(state, connections)| ([("state", state)], connections as u64)),
        );
        registry.gauge(
            "ticket_webhooks_database_connections_limit",
            "Connections to Postgres that may be open (database.max_connections).",
            *max_database_connections,
        );
    }

    /// Whether Postgres takes writes.
    async fn add_readiness(&self, registry: &mut Registry) -> bool {
        let readiness = &self.sources.readiness;
        registry.gauge(
            "ticket_webhooks_ready",
            "Whether a delivery can be made durable now, as /readyz says: 1 or 0.",
            u64::from(readiness.check().await.is_ok()),
        );
        let database_is_up = readiness.check_database().await.is_ok();
        registry.gauge(
            "ticket_webhooks_database_up",
            "Whether Postgres took writes at this scrape: 1 or 0.",
            u64::from(database_is_up),
        );
        database_is_up
    }

    /// Left out while the database does not answer.
    async fn add_feed(&self, registry: &mut Registry) {
        let pool = &self.sources.shared_pool;
        let values = async {
            let held_back = pool.held_back(&mut *pool.read().await?).await?;
            Ok::<_, sqlx::Error>(FeedValues { held_back, consumers: pool.consumers(None).await? })
        };
        if let Ok(Ok(values)) = timeout(MAX_CHECK_TIME, values).await {
            feed::add(registry, &values);
        }
    }

    /// As of the feed; nothing when none is configured.
    async fn add_forwards(&self, registry: &mut Registry) {
        let Sources { shared_pool, forwards, .. } = &self.sources;
        if forwards.is_empty() {
            return;
        }
        if let Ok(Ok(forwards)) = timeout(MAX_CHECK_TIME, shared_pool.forwards(forwards)).await {
            forward::add(registry, &forwards);
        }
    }

    fn add_queues(&self, registry: &mut Registry) {
        let queues = &self.sources.queues;
        let deliveries = queues.each_ref().map(|queue| (labels(queue.environment), (queue.deliveries)()));
        let memory = queues.each_ref().map(|queue| (labels(queue.environment), (queue.memory)()));
        registry.gauges(
            "ticket_webhooks_queue_deliveries",
            "Deliveries waiting for a batch.",
            deliveries.map(|(labels, (used, _))| (labels, used as u64)),
        );
        registry.gauges(
            "ticket_webhooks_queue_capacity",
            "Deliveries that may wait for a batch; those beyond it have the outcome not_durable.",
            deliveries.map(|(labels, (_, limit))| (labels, limit as u64)),
        );
        registry.gauges(
            "ticket_webhooks_queue_memory_bytes",
            "Memory of deliveries that wait for a batch or are being written, in bytes.",
            memory.map(|(labels, (used, _))| (labels, used as u64)),
        );
        registry.gauges(
            "ticket_webhooks_queue_memory_limit_bytes",
            "Memory that such deliveries may take, in bytes; those beyond it have the outcome not_durable.",
            memory.map(|(labels, (_, limit))| (labels, limit as u64)),
        );
    }

    fn add_limits(&self, registry: &mut Registry) {
        let (used, limit) = (self.sources.body_memory)();
        registry.gauge(
            "ticket_webhooks_body_memory_bytes",
            "Memory counted for request bodies, beyond the first 16 KiB of each, in bytes.",
            used as u64,
        );
        registry.gauge(
            "ticket_webhooks_body_memory_limit_bytes",
            "Memory that request bodies may take, in bytes (server.body_memory_bytes).",
            limit as u64,
        );
        let (used, limit) = (self.sources.connections)();
        registry.gauge("ticket_webhooks_connections", "Open connections to the public listener.", used as u64);
        registry.gauge(
            "ticket_webhooks_connections_limit",
            "Connections that the public listener accepts at once: server.max_connections, or what the limit for open \
             files allows.",
            limit as u64,
        );
    }

    fn add_last_delivery(&self, registry: &mut Registry) {
        let (ages, routed) = (FloatGauges::default(), self.sources.secrets.load().routed());
        for (provider, metrics) in &self.sources.metrics.providers {
            if let Some(age) = metrics.last_delivery_age(routed.contains(provider)) {
                ages.get_or_create(&[("provider", provider)]).set(age);
            }
        }
        registry.add(
            "ticket_webhooks_last_delivery_age_seconds",
            "Time since the last authenticated delivery, in seconds; since the start when there was none yet.",
            ages,
        );
    }

    fn add_build(&self, registry: &mut Registry) {
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        registry.gauges("ticket_webhooks_build_info", "1; the version is a label.", [(version, 1)]);
        registry.gauge(
            "ticket_webhooks_start_time_seconds",
            "When the service started, in seconds since 1970.",
            self.started,
        );
    }
}

pub(super) fn labels(environment: Environment) -> Labels<1> {
    [("environment", environment.as_str())]
}
