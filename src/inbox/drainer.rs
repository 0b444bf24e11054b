//! Moves what is in the spools to Postgres when that takes writes again.
//!
//! Invariants:
//!
//! - The live spool is emptied before the test spool, each oldest record first.
//! - A record is removed from the spool after it is committed in Postgres.
//! - Until a first batch is written, the drainer only probes, with growing delays and without the spool lock. Then it
//!   takes turns with the committers through the lock, with larger batches than theirs: the spool gets empty under full
//!   load.

use std::{sync::Arc, time::Duration};

use tokio::{select, time::sleep};

use super::{
    batcher::MAX_BATCH_BYTES,
    context::{CommitError, Context, FairSpool},
    write_timer::WriteTimer,
};
use crate::{spool::Spool, store::Writer};

/// The size of a batch compared with that of a committer.
const BATCH_FACTOR: usize = 4;

/// The timeout of a probe compared with that of another write: no caller waits for it.
const PROBE_TIMEOUT_FACTOR: u32 = 10;

const FIRST_RETRY_DELAY: Duration = Duration::from_millis(50);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(3);

pub(super) struct Drainer {
    /// Live, then test.
    spools: [Arc<FairSpool>; 2],
    writer: Writer,
    timer: WriteTimer,
    context: Arc<Context>,
}

impl Drainer {
    pub(super) fn new(spools: [Arc<FairSpool>; 2], writer: Writer, context: Arc<Context>) -> Self {
        Self { spools, writer, timer: WriteTimer::new(), context }
    }

    /// Runs until it is dropped.
    pub(super) async fn run(mut self) {
        loop {
            let [live, test] = &self.spools;
            select! {
                () = live.spool.appended() => {}
                () = test.spool.appended() => {}
            }
            if self.first_not_empty().is_some() {
                self.empty().await;
            }
        }
    }

    fn first_not_empty(&self) -> Option<Arc<FairSpool>> {
        self.spools.iter().find(|spool| !spool.spool.is_empty()).cloned()
    }

    fn records(&self) -> u64 {
        self.spools.iter().map(|spool| spool.spool.records()).sum()
    }

    async fn empty(&mut self) {
        tracing::warn!(spool.records = self.records(), "the spool is in use");
        let (mut delay, mut drained, mut is_probing) = (FIRST_RETRY_DELAY, 0, true);
        while let Some(FairSpool { spool, lock }) = self.first_not_empty().as_deref() {
            let moved = if is_probing {
                self.move_batch(spool, PROBE_TIMEOUT_FACTOR).await
            } else {
                let _fifo = lock.lock().await;
                self.move_batch(spool, 1).await
            };
            match moved {
                Ok(moved) => {
                    (delay, is_probing) = (FIRST_RETRY_DELAY, false);
                    drained += moved;
                }
                Err(error) => {
                    tracing::warn!(%error, spool.records = self.records(), "the spool cannot be drained yet");
                    sleep(delay).await;
                    (delay, is_probing) = (MAX_RETRY_DELAY.min(delay * 2), true);
                }
            }
        }
        tracing::info!(spool.drained = drained, "the spool is empty again");
    }

    /// How many deliveries were moved.
    async fn move_batch(&mut self, spool: &Spool, timeout_factor: u32) -> Result<usize, CommitError> {
        self.context.check_schema()?;
        let limit = self.context.max_batch * BATCH_FACTOR;
        let Some(batch) = spool.read(limit, BATCH_FACTOR * MAX_BATCH_BYTES).await? else {
            return Ok(0);
        };
        let write_timeout = self.context.write_timeout * timeout_factor;
        self.context.write(&mut self.writer, &mut self.timer, &batch.deliveries, true, write_timeout).await?;
        let moved = batch.deliveries.len();
        spool.remove(batch).await?;
        self.context.metrics.drained.inc_by(moved as u64);
        Ok(moved)
    }
}
