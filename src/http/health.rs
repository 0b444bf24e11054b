//! `GET /livez` and `GET /readyz`, for load balancers and orchestrators.

use std::{
    sync::Arc,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use axum::{Json, Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use serde_json::json;
use sqlx::PgPool;
use tokio::{sync::Mutex, time::timeout};

use crate::{spool::Spools, store::takes_writes};

/// What was found out about the database counts for so long, whoever asks how often.
const ASKED_FOR: Duration = Duration::from_millis(250);

/// Nobody waits longer for what is looked at: a load balancer gives up before long, and Prometheus after ten seconds.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(3);

/// Whether the service can take deliveries.
#[derive(Clone)]
pub struct Health {
    database: Arc<Database>,
    /// Take deliveries while the database does not.
    pub(super) spools: Option<Spools>,
    is_stopping: Arc<AtomicBool>,
}

/// The database, asked whether it takes writes.
struct Database {
    pool: PgPool,
    /// Whether the tables are there.
    is_prepared: Arc<AtomicBool>,
    /// How long it may take to answer.
    timeout: Duration,
    /// When it was asked, and why it does not take a delivery, if so. Who asks meanwhile waits for the same answer.
    answer: Mutex<Option<(Instant, Option<&'static str>)>>,
}

impl Health {
    /// Of a service with this database, of which `is_prepared` says whether the tables are there, and which may take so
    /// long to answer. `is_stopping` says whether the service is about to stop.
    pub fn new(
        pool: PgPool,
        is_prepared: Arc<AtomicBool>,
        timeout: Duration,
        spools: Option<Spools>,
        is_stopping: Arc<AtomicBool>,
    ) -> Self {
        let timeout = timeout.min(LONGEST_WAIT);
        let database = Arc::new(Database { pool, is_prepared, timeout, answer: Mutex::new(None) });
        Self { database, spools, is_stopping }
    }

    /// The connections for everything that is no delivery.
    pub(super) fn pool(&self) -> &PgPool {
        &self.database.pool
    }

    /// Why a live delivery cannot be made durable now, if so.
    async fn unready(&self) -> Option<&'static str> {
        if self.is_stopping.load(Ordering::Relaxed) {
            return Some("stopping");
        }
        match self.spools.as_ref().map(|spools| &spools.live) {
            Some(spool) if spool.has_room().await => None,
            // what is in it goes first
            Some(spool) if !spool.is_empty() => Some("the spool is full, or its disk fails"),
            _ => self.database.why_away().await,
        }
    }

    /// Whether the service is ready, and whether the database takes writes.
    pub(super) async fn look(&self) -> (bool, bool) {
        (self.unready().await.is_none(), self.database.why_away().await.is_none())
    }
}

impl Database {
    /// Why it does not take a delivery now, if so.
    async fn why_away(&self) -> Option<&'static str> {
        if !self.is_prepared.load(Ordering::Acquire) {
            return Some("the database has not answered yet, or its migrations are pending");
        }
        let mut answer = self.answer.lock().await;
        if let Some((asked, why)) = *answer
            && asked.elapsed() < ASKED_FOR
        {
            return why;
        }
        let why = match timeout(self.timeout, takes_writes(&self.pool)).await {
            Ok(Ok(true)) => None,
            Ok(Ok(false)) => Some("the database is read-only"),
            Ok(Err(_)) | Err(_) => Some("the database does not answer"),
        };
        *answer = Some((Instant::now(), why));
        why
    }
}

/// The two routes.
pub(super) fn routes(health: Health) -> Router {
    Router::new()
        .route("/livez", get(|| async { Json(json!({"status": "alive"})) }))
        .route("/readyz", get(ready))
        .with_state(health)
}

async fn ready(State(health): State<Health>) -> impl IntoResponse {
    match health.unready().await {
        None => (StatusCode::OK, Json(json!({"status": "ready"}))),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"status": "not ready", "reason": why}))),
    }
}
