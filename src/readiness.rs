//! Whether a live delivery can be made durable now: what `/readyz` answers and `/metrics` shows.
//!
//! Invariants:
//!
//! - Test accounts do not count: their spool may be full.
//! - While the live spool takes deliveries the service is ready, and Postgres is not asked.
//! - Postgres is asked at most every `CACHE_TIME`, however many ask for readiness.
//! - After a write that failed, Postgres takes deliveries only once it takes a write on trial: it may answer and yet refuse
//!   every row, or confirm no commit.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use thiserror::Error;
use tokio::{
    sync::Mutex,
    time::{Instant as Deadline, timeout_at},
};

use crate::{spool::Spool, store::Writer};

/// How long the result of asking Postgres is cached, for all that ask together.
const CACHE_TIME: Duration = Duration::from_millis(250);

/// The most that a check may take: a load balancer gives up after a few seconds, Prometheus after ten.
pub const MAX_CHECK_TIME: Duration = Duration::from_secs(3);

/// Of a write on trial, which opens a connection.
const MIN_TRIAL_TIME: Duration = Duration::from_secs(1);

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
    #[error("the database answers, but writes time out: is there a lock, or is its synchronous standby away?")]
    WritesTimeOut,
}

/// Clones share the cache.
#[derive(Clone)]
pub struct Readiness {
    database: Arc<Database>,
    live_spool: Option<Spool>,
    is_stopping: Arc<AtomicBool>,
}

struct Database {
    writer: Writer,
    is_schema_ready: Arc<AtomicBool>,
    /// Whether the last write to Postgres failed, on trial or not.
    writes_fail: Arc<AtomicBool>,
    timeout: Duration,
    /// When Postgres was asked last, and the result. Held while asking, so that others wait for the same answer.
    cache: Mutex<Option<(Instant, Result<(), NotReady>)>>,
}

impl Readiness {
    /// `writer`: for writes on trial, not a copy of one that writes deliveries. `database_timeout` applies up to
    /// [`MAX_CHECK_TIME`]; a write on trial has at least a second.
    pub fn new(
        writer: Writer,
        is_schema_ready: Arc<AtomicBool>,
        writes_fail: Arc<AtomicBool>,
        database_timeout: Duration,
        live_spool: Option<Spool>,
        is_stopping: Arc<AtomicBool>,
    ) -> Self {
        let timeout = database_timeout.min(MAX_CHECK_TIME);
        let database = Arc::new(Database { writer, is_schema_ready, writes_fail, timeout, cache: Mutex::new(None) });
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
        let Database { writer, is_schema_ready, writes_fail, timeout: limit, cache } = &*self.database;
        if !is_schema_ready.load(Ordering::Acquire) {
            return Err(NotReady::SchemaNotReady);
        }
        let mut cache = cache.lock().await;
        if let Some((asked, result)) = *cache
            && asked.elapsed() < CACHE_TIME
        {
            return result;
        }
        let start = Deadline::now();
        let result = match timeout_at(start + *limit, writer.takes_writes()).await {
            Ok(Ok(true)) if writes_fail.load(Ordering::Relaxed) => self.database.try_out(start).await,
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(NotReady::DatabaseReadOnly),
            Ok(Err(_)) | Err(_) => Err(NotReady::DatabaseUnreachable),
        };
        *cache = Some((Instant::now(), result));
        result
    }
}

impl Database {
    /// Writes on trial. Once that succeeds, the last write has not failed any more.
    async fn try_out(&self, start: Deadline) -> Result<(), NotReady> {
        match timeout_at(start + self.timeout.max(MIN_TRIAL_TIME), self.writer.try_out()).await {
            Ok(Ok(())) => {
                self.writes_fail.store(false, Ordering::Relaxed);
                Ok(())
            }
            Ok(Err(_)) => Err(NotReady::WritesFail),
            Err(_) => Err(NotReady::WritesTimeOut),
        }
    }
}
