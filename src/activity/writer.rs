//! The task that adds to the database what was counted, and removes there what is old.

use std::{sync::Arc, time::Duration};

use tokio::{
    select,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{Activity, counters::Totals};
use crate::{store::Pool, telemetry::RateLimitedWarning};

/// Between two writes.
const INTERVAL: Duration = Duration::from_secs(5);

/// The same, when a request was refused: somebody may be looking for it.
const REFUSED_INTERVAL: Duration = Duration::from_secs(2);

/// Between two looks for what is old.
const PRUNE_INTERVAL: Duration = Duration::from_secs(60);

/// How long a write may take once the service stops: a busy database needs a moment, a frozen one is not waited for.
const LAST_WRITE_TIMEOUT: Duration = Duration::from_secs(3);

/// Writes the activity of this process.
pub struct ActivityWriter {
    pool: Pool,
    activity: Arc<Activity>,
    /// What the database has.
    written: Vec<Totals>,
    /// When it was last looked for what is old.
    pruned: Option<Instant>,
    warning: RateLimitedWarning,
}

impl ActivityWriter {
    pub fn new(pool: Pool, activity: Arc<Activity>) -> Self {
        let written = vec![Totals::default(); activity.totals().len()];
        Self { pool, activity, written, pruned: None, warning: RateLimitedWarning::default() }
    }

    /// Writes again and again until it is stopped, and then a last time if the database answers soon.
    pub async fn run(mut self, stop: CancellationToken) {
        let activity = Arc::clone(&self.activity);
        loop {
            let is_last = stop.is_cancelled();
            let stop_timeout = async {
                stop.cancelled().await;
                sleep(LAST_WRITE_TIMEOUT).await;
            };
            select! {
                result = self.step(is_last) => self.warn(result),
                // it may have been committed: to repeat it could count twice
                () = stop_timeout => return,
            }
            if is_last {
                return;
            }
            let refused = async {
                activity.refused.any().await;
                sleep(REFUSED_INTERVAL).await;
            };
            select! {
                () = sleep(INTERVAL) => {}
                () = refused => {}
                () = stop.cancelled() => {}
            }
        }
    }

    async fn step(&mut self, is_last: bool) -> sqlx::Result<()> {
        self.write().await?;
        if !is_last && self.pruned.is_none_or(|at| at.elapsed() >= PRUNE_INTERVAL) {
            self.pool.prune_activity().await?;
            self.pruned = Some(Instant::now());
        }
        Ok(())
    }

    /// Adds what has come since the last write. Nothing is written when nothing has.
    async fn write(&mut self) -> sqlx::Result<()> {
        let (totals, refused) = (self.activity.totals(), self.activity.refused.take());
        let (counts, rows) = (self.activity.added(&totals, &self.written), refused.rows());
        if counts.is_empty() && rows.is_empty() {
            return Ok(());
        }
        match self.pool.add_activity(&counts, &rows).await {
            Ok(()) => {
                self.written = totals;
                Ok(())
            }
            Err(error) => {
                self.activity.refused.put_back(refused);
                Err(error)
            }
        }
    }

    fn warn(&self, result: sqlx::Result<()>) {
        if let Err(error) = result
            && let Some(times) = self.warning.due()
        {
            tracing::warn!(task = "activity", times, %error, "a task in the background failed; it tries again");
        }
    }
}
