//! `GET /livez` and `GET /readyz`, for load balancers and orchestrators.

use std::{
    sync::Arc,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use axum::{Json, Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use serde_json::json;
use sqlx::PgPool;
use tokio::time::timeout;

use crate::{spool::Spool, store::takes_writes};

/// Whether the service can take deliveries.
#[derive(Clone)]
pub struct Health {
    /// Asked whether it takes writes.
    pub pool: PgPool,
    /// Takes deliveries while the database does not.
    pub spool: Option<Spool>,
    /// Whether the tables are there.
    pub is_prepared: Arc<AtomicBool>,
    /// How long the database may take to answer.
    pub patience: Duration,
    /// Whether the service is about to stop.
    pub is_stopping: Arc<AtomicBool>,
}

impl Health {
    /// Why a delivery cannot be made durable now, if so.
    async fn unready(&self) -> Option<&'static str> {
        if self.is_stopping.load(Ordering::Relaxed) {
            return Some("stopping");
        }
        if self.has_spool_room().await { None } else { self.database_away().await }
    }

    async fn has_spool_room(&self) -> bool {
        match &self.spool {
            Some(spool) => spool.has_room().await,
            None => false,
        }
    }

    /// Whether the service is ready, and whether the database takes writes.
    pub(super) async fn look(&self) -> (bool, bool) {
        let is_database_up = self.database_away().await.is_none();
        let is_durable = is_database_up || self.has_spool_room().await;
        (is_durable && !self.is_stopping.load(Ordering::Relaxed), is_database_up)
    }

    /// Why the database does not take a delivery now, if so.
    async fn database_away(&self) -> Option<&'static str> {
        if !self.is_prepared.load(Ordering::Acquire) {
            return Some("the database has not answered yet, or its migrations are pending");
        }
        match timeout(self.patience, takes_writes(&self.pool)).await {
            Ok(Ok(true)) => None,
            Ok(Ok(false)) => Some("the database is read-only"),
            Ok(Err(_)) | Err(_) => Some("the database does not answer"),
        }
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
