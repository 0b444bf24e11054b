//! Whether a live delivery can be made durable now: what `/readyz` answers and `/metrics` shows.
//!
//! Invariants:
//!
//! - Test accounts do not count: their spool may be full.
//! - While the live spool takes deliveries the service is ready, and Postgres is not asked.
//! - Postgres is asked at most every `CACHE_TIME`, however many ask for readiness.
//! - After a write that failed, Postgres takes deliveries only once it takes a row on trial, which is rolled back: it may
//!   answer and yet refuse every row.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use sqlx::PgPool;
use thiserror::Error;
use tokio::{sync::Mutex, time::timeout};

use crate::{
    spool::Spool,
    store::{StoreError, takes_writes, try_insert},
};

/// How long the result of asking Postgres is cached, for all that ask together.
const CACHE_TIME: Duration = Duration::from_millis(250);

/// The most that a check may take: a load balancer gives up after a few seconds, Prometheus after ten.
pub const MAX_CHECK_TIME: Duration = Duration::from_secs(3);

/// Why no live delivery can be made durable.
#[derive(Clone, Copy, Debug, Error)]
pub enum NotReady {
    #[error("stopping")]
    Stopping,
    #[error("the spool is full, or its disk fails")]
    SpoolUnusable,
    #[error("the database has not answered yet, or its migrations are pending")]
    SchemaNotReady,
    #[error("the database is read-only")]
    DatabaseReadOnly,
    #[error("the database does not answer")]
    DatabaseUnreachable,
    #[error("the database answers, but takes no row")]
    WritesFail,
}

/// Clones share the cache.
#[derive(Clone)]
pub struct Readiness {
    database: Arc<Database>,
    live_spool: Option<Spool>,
    is_stopping: Arc<AtomicBool>,
}

struct Database {
    pool: PgPool,
    is_schema_ready: Arc<AtomicBool>,
    writes_fail: Arc<AtomicBool>,
    timeout: Duration,
    /// When Postgres was asked last, and the result. Held while asking, so that others wait for the same answer.
    cache: Mutex<Option<(Instant, Result<(), NotReady>)>>,
}

impl Readiness {
    /// `database_timeout` applies up to [`MAX_CHECK_TIME`].
    pub fn new(
        pool: PgPool,
        is_schema_ready: Arc<AtomicBool>,
        writes_fail: Arc<AtomicBool>,
        database_timeout: Duration,
        live_spool: Option<Spool>,
        is_stopping: Arc<AtomicBool>,
    ) -> Self {
        let timeout = database_timeout.min(MAX_CHECK_TIME);
        let database = Arc::new(Database { pool, is_schema_ready, writes_fail, timeout, cache: Mutex::new(None) });
        Self { database, live_spool, is_stopping }
    }

    pub async fn check(&self) -> Result<(), NotReady> {
        if self.is_stopping.load(Ordering::Relaxed) {
            return Err(NotReady::Stopping);
        }
        match &self.live_spool {
            Some(spool) if spool.has_room().await => Ok(()),
            // while it holds deliveries new ones go behind them, even when Postgres takes writes
            Some(spool) if !spool.is_empty() => Err(NotReady::SpoolUnusable),
            _ => self.check_database().await,
        }
    }

    /// Whether Postgres takes writes.
    pub async fn check_database(&self) -> Result<(), NotReady> {
        let Database { pool, is_schema_ready, writes_fail, timeout: limit, cache } = &*self.database;
        if !is_schema_ready.load(Ordering::Acquire) {
            return Err(NotReady::SchemaNotReady);
        }
        let mut cache = cache.lock().await;
        if let Some((asked, result)) = *cache
            && asked.elapsed() < CACHE_TIME
        {
            return result;
        }
        let writes_fail = writes_fail.load(Ordering::Relaxed);
        let check = async {
            let takes_writes = takes_writes(pool).await?;
            if takes_writes && writes_fail {
                try_insert(pool).await?;
            }
            Ok::<_, StoreError>(takes_writes)
        };
        let result = match timeout(*limit, check).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(NotReady::DatabaseReadOnly),
            Ok(Err(_)) if writes_fail => Err(NotReady::WritesFail),
            Ok(Err(_)) | Err(_) => Err(NotReady::DatabaseUnreachable),
        };
        *cache = Some((Instant::now(), result));
        result
    }
}
