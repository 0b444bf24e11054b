//! What committers and drainer share: the write to Postgres, the spool with its lock, and their errors.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::Mutex;

use super::write_timer::WriteTimer;
use crate::{
    commits::Commits,
    delivery::{Delivery, Outcome},
    metrics::Metrics,
    spool::{Spool, SpoolError},
    store::{StoreError, UnprocessedQuota, Writer},
};

pub(super) struct Context {
    pub(super) max_batch: usize,
    pub(super) write_timeout: Duration,
    pub(super) quota: Arc<UnprocessedQuota>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) schema_ready: Arc<AtomicBool>,
    /// Whether the last write to Postgres failed.
    pub(super) writes_fail: Arc<AtomicBool>,
    pub(super) commits: Arc<Commits>,
}

/// The spool of one environment.
pub(super) struct FairSpool {
    pub(super) spool: Spool,
    /// FIFO lock: keeps committers from starving the drainer. It does not guard the file, which the spool does itself: a
    /// probing drainer and the readiness check go without it.
    pub(super) lock: Mutex<()>,
}

/// Why deliveries are not in Postgres.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    #[error("the database has not answered yet, or its migrations are pending")]
    SchemaNotReady,
    #[error("the write timed out (database.write_timeout_ms)")]
    TimedOut,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why deliveries are not durable, or not moved from the spool to Postgres.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommitError {
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

impl Context {
    pub(super) fn check_schema(&self) -> Result<(), WriteError> {
        if self.schema_ready.load(Ordering::Acquire) { Ok(()) } else { Err(WriteError::SchemaNotReady) }
    }

    /// Writes to Postgres and counts what was written.
    pub(super) async fn write(
        &self,
        writer: &mut Writer,
        timer: &mut WriteTimer,
        deliveries: &[Delivery],
        from_spool: bool,
        limit: Duration,
    ) -> Result<Vec<Outcome>, WriteError> {
        self.check_schema()?;
        let written = timer.limit(limit, writer.write(deliveries, from_spool)).await;
        self.writes_fail.store(!matches!(written, Some(Ok(_))), Ordering::Relaxed);
        let outcomes = written.ok_or(WriteError::TimedOut)??;
        self.commits.count(deliveries.len());
        self.metrics.count_stored(deliveries, &outcomes);
        Ok(outcomes)
    }
}

impl FairSpool {
    pub(super) fn new(spool: Spool) -> Self {
        Self { spool, lock: Mutex::new(()) }
    }
}
