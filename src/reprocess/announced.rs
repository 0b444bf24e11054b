//! Reprocesses by itself what was kept as `unknown_booking`, once the booking is in `bookings`, however it came there.
//!
//! Every replica does this. They may find the same delivery at the same time: one of them reprocesses it.

use super::Reprocessor;
use crate::{delivery::Reason, store::StoreError};

/// Deliveries of one query.
const BATCH: i64 = 100;

impl Reprocessor {
    /// Reprocesses those whose booking is known now, each once.
    ///
    /// # Errors
    ///
    /// The database does not answer, or does not take the write.
    pub async fn reprocess_announced(&self) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let ids = self.pool.announced_ids(after, BATCH).await?;
            for id in &ids {
                self.reprocess(*id, false).await?;
            }
            after = ids.last().copied();
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Shows in the metrics how many deliveries wait.
    ///
    /// # Errors
    ///
    /// The database does not answer.
    pub async fn count_waiting(&self) -> sqlx::Result<()> {
        for (reason, count) in Reason::ALL.iter().zip(self.pool.count_waiting().await?) {
            self.metrics.set_unprocessed_waiting(*reason, count);
        }
        Ok(())
    }
}
