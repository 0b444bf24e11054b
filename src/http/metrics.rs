//! `GET /metrics`: looks at everything that is not counted, and renders the page.

use std::{sync::Arc, time::Duration};

use axum::{Router, extract::State, http::header, response::IntoResponse, routing::get};
use tokio::time::timeout;

use super::{BodyReader, ConnectionLimiter, Health, health::LONGEST_WAIT};
use crate::{
    clock,
    inbox::QueueDepth,
    metrics::{EnvironmentSnapshot, Metrics, Snapshot, SpoolSnapshot},
    secrets::CurrentSecrets,
    spool::Spool,
    store::Connections,
    ticket_event::Environment,
};

const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What there is to look at.
pub struct Observer {
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Whether the service is ready.
    pub health: Health,
    /// The queues.
    pub queues: [(Environment, QueueDepth); 2],
    /// The memory for bodies.
    pub bodies: BodyReader,
    /// The connections to the public listener.
    pub connections: Arc<ConnectionLimiter>,
    /// The connections to Postgres that only write, and how many there may be in all.
    pub writers: Connections,
    /// The most connections to Postgres.
    pub max_database_connections: u32,
    /// Tell which providers may deliver.
    pub secrets: Arc<CurrentSecrets>,
}

impl Observer {
    async fn look(&self) -> Snapshot {
        let pool = self.health.pool();
        // before this asks something itself
        let idle = pool.num_idle();
        let used = (pool.size() as usize).saturating_sub(idle);
        let (is_ready, is_database_up) = self.health.look().await;
        let mut environments = Vec::new();
        for (environment, queue) in &self.queues {
            let spool = self.health.spools.as_ref().map(|spools| spools.of(*environment));
            environments.push(EnvironmentSnapshot {
                environment: *environment,
                queue: queue.deliveries(),
                queue_memory: queue.bytes(),
                spool: match spool {
                    Some(spool) => Some(look_at(spool).await),
                    None => None,
                },
            });
        }
        Snapshot {
            routed: self.secrets.load().routed(),
            body_memory: self.bodies.memory(),
            connections: self.connections.usage(),
            environments,
            is_database_up,
            database_idle: idle + self.writers.idle(),
            database_used: used + self.writers.used(),
            database_limit: self.max_database_connections as usize,
            is_ready,
        }
    }
}

async fn look_at(spool: &Spool) -> SpoolSnapshot {
    let oldest = if spool.is_empty() {
        Some(Duration::ZERO)
    } else {
        let read = timeout(LONGEST_WAIT, spool.oldest()).await.ok().and_then(Result::ok);
        let age = |received_at| Duration::try_from(clock::now() - received_at).unwrap_or_default();
        read.map(|received_at| received_at.map_or(Duration::ZERO, age))
    };
    SpoolSnapshot {
        records: spool.records(),
        bytes: spool.bytes(),
        max_bytes: spool.max_bytes(),
        oldest,
        files_set_aside: spool.files_set_aside(),
        files_gone: spool.files_replaced(),
        records_damaged: spool.records_damaged(),
        files_aside: spool.files_aside(),
    }
}

/// The only route.
pub(super) fn routes(observer: Observer) -> Router {
    Router::new().route("/metrics", get(scrape)).with_state(Arc::new(observer))
}

async fn scrape(State(observer): State<Arc<Observer>>) -> impl IntoResponse {
    let snapshot = observer.look().await;
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], observer.metrics.render(&snapshot))
}
