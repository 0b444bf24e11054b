//! Reprocesses by itself what was kept as `unknown_booking`, once the booking is in `bookings`, however it came there.
//!
//! Every replica does this. They may find the same delivery at the same time: one of them reprocesses it.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::Reprocessor;
use crate::{delivery::Reason, store::StoreError, telemetry::RateLimitedWarning};

/// Between two looks at the bookings.
const INTERVAL: Duration = Duration::from_secs(2);

/// Between two counts of what waits.
const COUNT_INTERVAL: Duration = Duration::from_secs(15);

/// Deliveries of one query.
const BATCH: i64 = 100;

impl Reprocessor {
    /// Runs until it is dropped. Nothing is asked of Postgres while `schema_ready` is false.
    pub async fn run(&self, schema_ready: &AtomicBool) {
        let failed = RateLimitedWarning::default();
        let mut count_at = Instant::now();
        loop {
            if schema_ready.load(Ordering::Acquire) {
                let result = self.reprocess_announced().await;
                let result = match result {
                    Ok(()) if Instant::now() >= count_at => {
                        count_at = Instant::now() + COUNT_INTERVAL;
                        self.count_waiting().await
                    }
                    result => result,
                };
                if let Err(error) = result
                    && let Some(times) = failed.due()
                {
                    tracing::warn!(%error, times, "unprocessed deliveries of announced bookings cannot be reprocessed now");
                }
            }
            sleep(INTERVAL).await;
        }
    }

    async fn reprocess_announced(&self) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let ids = self.pool.announced_ids(after, BATCH).await?;
            for id in &ids {
                self.reprocess(*id, false).await?;
            }
            match ids.last() {
                Some(last) if ids.len() as i64 == BATCH => after = Some(*last),
                _ => return Ok(()),
            }
        }
    }

    async fn count_waiting(&self) -> Result<(), StoreError> {
        for (reason, count) in Reason::ALL.iter().zip(self.pool.count_waiting().await?) {
            self.metrics.set_unprocessed_waiting(*reason, count);
        }
        Ok(())
    }
}
