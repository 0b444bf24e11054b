//! Fills the search keys behind the recording: the consumer `search` of the feed.
//!
//! Every replica runs the task, and one of them at a time does the work. While it is behind, it works a fifth of the time, and
//! less while deliveries come faster, so that recording keeps its speed.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use crate::{
    commits::Commits,
    store::{FeedError, Pool},
    telemetry::RateLimitedWarning,
};

/// Items of a batch, which holds the feed back while its keys are inserted.
const MAX_ITEMS: i64 = 500;

const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// After a batch, in times that it took.
const PAUSE: u32 = 4;

const RETRY_DELAY: Duration = Duration::from_secs(5);

/// Runs until it is dropped. All replicas may run it.
pub async fn fill_search_keys(pool: Pool, commits: Arc<Commits>) {
    let indexer =
        Indexer { pool, commits, position: String::new(), max_items: MAX_ITEMS, failed: RateLimitedWarning::default() };
    indexer.run().await;
}

struct Indexer {
    pool: Pool,
    commits: Arc<Commits>,
    /// To where this replica has moved the position last.
    position: String,
    max_items: i64,
    failed: RateLimitedWarning,
}

impl Indexer {
    async fn run(mut self) -> ! {
        loop {
            let pause = self.step().await;
            sleep(pause).await;
        }
    }

    /// A batch, and how long to pause after it.
    async fn step(&mut self) -> Duration {
        let start = Instant::now();
        match self.pool.index(self.max_items, &self.position).await {
            Ok(Some(indexed)) => {
                self.position = indexed.position;
                let is_full = indexed.items == self.max_items;
                self.max_items = MAX_ITEMS.min(self.max_items * 2);
                let pause = self.commits.pause_after(start.elapsed(), PAUSE);
                if is_full { pause } else { pause.max(POLL_INTERVAL) }
            }
            Ok(None) => POLL_INTERVAL,
            Err(FeedError::HistoryChanged(cursor)) => {
                tracing::warn!("the history of the feed has changed: search keys are filled again from there");
                match self.pool.index_again(&cursor).await {
                    Ok(()) => self.position = cursor,
                    Err(error) => self.warn(&error),
                }
                RETRY_DELAY
            }
            Err(error) => {
                // a batch that took too long may have had very large events
                self.max_items = 1.max(self.max_items / 2);
                self.warn(&error);
                RETRY_DELAY
            }
        }
    }

    fn warn(&self, error: &FeedError) {
        if let Some(count) = self.failed.due() {
            tracing::warn!(%error, count, "search keys cannot be filled: questions take longer meanwhile");
        }
    }
}
