//! Empties the spools into Postgres once that takes writes again: the live one first, and each oldest first.
//!
//! While Postgres is away it probes with growing pauses and holds nobody up. Once it has written a batch, it takes turns
//! with those who add to the spool, and its batches are larger than theirs: so it gets to the end under full load, and
//! then deliveries go straight to Postgres again.

use std::{sync::Arc, time::Duration};

use tokio::{
    select,
    time::{sleep, timeout},
};

use super::{Lane, Shared, batches::BATCH_BYTES};
use crate::{
    spool::{Spool, Spools},
    store::Writer,
};

/// The drainer's batches compared with those that are added.
const BATCHES_AT_ONCE: usize = 4;

/// While it probes, a write for which nobody waits may take this many times as long as another.
const PROBE_TIMES: u32 = 10;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

pub(super) struct Drainer {
    spools: Spools,
    /// The live one, then that for tests.
    lanes: [Arc<Lane>; 2],
    writer: Writer,
    shared: Arc<Shared>,
}

impl Drainer {
    pub(super) fn new(spools: Spools, lanes: [Arc<Lane>; 2], writer: Writer, shared: Arc<Shared>) -> Self {
        Self { spools, lanes, writer, shared }
    }

    /// Runs until it is dropped.
    pub(super) async fn run(mut self) {
        loop {
            select! {
                () = self.spools.live.filled() => {}
                () = self.spools.test.filled() => {}
            }
            if self.first_filled().is_some() {
                self.empty().await;
            }
        }
    }

    /// The first environment with something in its spool.
    fn first_filled(&self) -> Option<(Spool, Arc<Lane>)> {
        let spools = [&self.spools.live, &self.spools.test].into_iter().zip(&self.lanes);
        spools.into_iter().find(|(spool, _)| !spool.is_empty()).map(|(spool, lane)| (spool.clone(), Arc::clone(lane)))
    }

    async fn empty(&mut self) {
        tracing::warn!(records = self.spools.records(), "the spool is in use");
        let (mut pause, mut drained, mut is_probing) = (FIRST_PAUSE, 0, true);
        while let Some((spool, lane)) = self.first_filled() {
            let written = if is_probing {
                self.write_batch(&spool, PROBE_TIMES).await
            } else {
                let _turn = lane.turn.lock().await;
                self.write_batch(&spool, 1).await
            };
            match written {
                Ok(written) => {
                    (pause, is_probing) = (FIRST_PAUSE, false);
                    drained += written;
                }
                Err(error) => {
                    tracing::warn!(error, records = self.spools.records(), "the spool cannot be drained yet");
                    sleep(pause).await;
                    (pause, is_probing) = (LONGEST_PAUSE.min(pause * 2), true);
                }
            }
        }
        tracing::info!(drained, "the spool is empty again");
    }

    async fn write_batch(&mut self, spool: &Spool, times: u32) -> Result<usize, String> {
        if !self.shared.is_prepared() {
            return Err("the database is not prepared".to_owned());
        }
        let limit = self.shared.settings.max_batch * BATCHES_AT_ONCE;
        let Some(batch) = spool.read(limit, BATCHES_AT_ONCE * BATCH_BYTES).await.map_err(|error| error.to_string())?
        else {
            return Ok(0);
        };
        match timeout(self.shared.settings.write_timeout * times, self.writer.write(&batch.deliveries, true)).await {
            Ok(Ok(outcomes)) => self.shared.metrics.count_stored(&batch.deliveries, &outcomes),
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err("the write timed out".to_owned()),
        }
        let written = batch.deliveries.len();
        spool.remove(batch).await.map_err(|error| error.to_string())?;
        self.shared.metrics.drained.inc_by(written as u64);
        Ok(written)
    }
}
