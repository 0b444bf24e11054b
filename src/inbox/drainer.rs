//! Empties the spool into Postgres once that takes writes again, oldest first.
//!
//! While Postgres is away it probes with growing pauses and holds nobody up. Once it has written a batch, it takes turns
//! with those who add to the spool, and its batches are larger than theirs: so it gets to the end under full load, and
//! then deliveries go straight to Postgres again.

use std::{sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};

use super::Shared;
use crate::{spool::Spool, store::Writer};

/// The drainer's batches compared with those that are added.
const BATCHES_AT_ONCE: usize = 4;

/// A write for which nobody waits may take this many times as long as another.
const PATIENCE: u32 = 10;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

pub(super) struct Drainer {
    spool: Spool,
    writer: Writer,
    shared: Arc<Shared>,
}

impl Drainer {
    pub(super) fn new(spool: Spool, writer: Writer, shared: Arc<Shared>) -> Self {
        Self { spool, writer, shared }
    }

    /// Runs until it is dropped.
    pub(super) async fn run(mut self) {
        loop {
            self.spool.filled().await;
            if !self.spool.is_empty() {
                self.empty().await;
            }
        }
    }

    async fn empty(&mut self) {
        tracing::warn!(records = self.spool.records(), "the spool is in use");
        let (mut pause, mut drained) = (FIRST_PAUSE, 0);
        while !self.spool.is_empty() {
            match self.write_batch(PATIENCE).await {
                Ok(written) => {
                    drained += written;
                    pause = FIRST_PAUSE;
                    drained += self.write_in_turns().await;
                }
                Err(error) => {
                    tracing::warn!(error, records = self.spool.records(), "the spool cannot be drained yet");
                    sleep(pause).await;
                    pause = LONGEST_PAUSE.min(pause * 2);
                }
            }
        }
        tracing::info!(drained, "the spool is empty again");
    }

    /// Batch by batch until it is empty or something fails.
    async fn write_in_turns(&mut self) -> usize {
        let shared = Arc::clone(&self.shared);
        let mut drained = 0;
        while !self.spool.is_empty() {
            let _turn = shared.turn.lock().await;
            match self.write_batch(1).await {
                Ok(written) => drained += written,
                Err(error) => {
                    tracing::warn!(error, "draining the spool is interrupted");
                    break;
                }
            }
        }
        drained
    }

    async fn write_batch(&mut self, patience: u32) -> Result<usize, String> {
        if !self.shared.is_prepared() {
            return Err("the database is not prepared".to_owned());
        }
        let limit = self.shared.settings.max_batch * BATCHES_AT_ONCE;
        let Some(batch) = self.spool.read(limit).await.map_err(|error| error.to_string())? else { return Ok(0) };
        match timeout(self.shared.settings.write_timeout * patience, self.writer.write(&batch.deliveries, true)).await {
            Ok(Ok(receipts)) => self.shared.metrics.written(&batch.deliveries, &receipts),
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err("the write timed out".to_owned()),
        }
        let written = batch.deliveries.len();
        self.spool.remove(batch).await.map_err(|error| error.to_string())?;
        self.shared.metrics.drained.increment(written as u64);
        Ok(written)
    }
}
