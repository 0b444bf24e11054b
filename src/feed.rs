//! The feed: every item once, in an order that never changes, for the agency's own systems.
//!
//! An item is a revision of a booking (a row of `ticket_events`) or a notice about one (`feed_notices`). Their order is
//! (`generation`, `recorded_xid`, `sequence`), and only items of transactions below the oldest that runs are given out
//! (`pg_snapshot_xmin`): no transaction can add an item before one that was given out.
//!
//! Invariants, and what nobody may do:
//!
//! - Within a booking the order is that of its revisions. A batch is one statement in a transaction of its own; its snapshot,
//!   in which it sees the revision before, is taken before it gets its transaction id. So nothing may insert an event or a
//!   notice after another write in its transaction, nor after a lock of rows (`for update`): both would give the
//!   transaction its id before the snapshot of the insert.
//! - Nothing may update `generation`, `recorded_xid` or `sequence`, or delete an item: a cursor names its row.
//! - `generation` is raised only under a lock of `ticket_events` and `feed_notices` that no writing transaction holds, or a
//!   transaction of the older generation could still commit behind items of the newer one.
//! - A cursor is checked in the snapshot in which the items behind it are read.
//! - Nothing that is done for readers happens in a transaction that records a delivery, or before its answer.

mod announcer;
mod question;
mod stream;
mod tail;

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use self::tail::Tail;
pub use self::{
    question::{InvalidQuestion, Question},
    stream::{Stream, StreamEvent},
};
use crate::{
    lifecycle::{Stage, Tasks},
    store::{Cursor, Direction, FeedError, Filter, Items, MAX_PAGE_BYTES, Pool},
};

/// Reads the feed. Clones share the tail.
#[derive(Clone)]
pub struct Feed {
    pool: Pool,
    tail: Arc<Tail>,
    /// Ends what waits and streams.
    stop: CancellationToken,
}

/// Where a reader begins.
#[derive(Clone, Copy, Debug)]
pub enum From {
    /// Behind the item of the cursor.
    After(Cursor),
    /// Behind what is there already.
    Now,
}

impl Feed {
    /// Starts the tail, and the task that tells readers of commits; `committed` tells it of those of this process.
    pub fn start(pool: Pool, committed: Arc<Notify>, tasks: &mut Tasks) -> Self {
        let (tail, stop) = (Arc::new(Tail::new(pool.clone())), tasks.soft_token(Stage::Intake));
        let announcer = {
            let (tail, pool, stop) = (Arc::clone(&tail), pool.clone(), tasks.soft_token(Stage::Commit));
            async move { stop.run_until_cancelled(announcer::run(committed, tail, pool)).await }
        };
        // until the last commit
        tasks.spawn("announcer of commits", Stage::Commit, async { Ok(announcer.await.map_or((), |never| never)) });
        let reading = {
            let (tail, stop) = (Arc::clone(&tail), stop.clone());
            async move { stop.run_until_cancelled(tail.run()).await }
        };
        tasks.spawn("tail of the feed", Stage::Intake, async { Ok(reading.await.map_or((), |never| never)) });
        Self { pool, tail, stop }
    }

    /// Up to `limit` items that match, and about 4 MiB. When there is none yet, waits up to `wait` for one, or until the
    /// service stops.
    ///
    /// # Errors
    ///
    /// See [`FeedError`].
    pub async fn page(
        &self,
        from: From,
        filter: &Filter,
        limit: i64,
        include_payload: bool,
        wait: Duration,
    ) -> Result<Items, FeedError> {
        let deadline = Instant::now() + wait;
        // before the first read: what is committed after it is told
        let mut batches = (!wait.is_zero()).then(|| self.tail.subscribe());
        let mut after = self.begin(from).await?;
        loop {
            let page = self.read(after, filter, limit, MAX_PAGE_BYTES, include_payload).await?;
            let Some(batches) = batches.as_mut().filter(|_| page.items.is_empty()) else { return Ok(page) };
            after = page.next;
            if page.more && Instant::now() < deadline {
                continue;
            }
            let news = timeout_at(deadline, batches.recv());
            match self.stop.run_until_cancelled(news).await {
                // also when the reader was too slow for some of the batches
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Ok(page),
            }
        }
    }

    /// The cursor at which a reader begins.
    async fn begin(&self, from: From) -> Result<Cursor, FeedError> {
        match from {
            From::After(cursor) => Ok(cursor),
            From::Now => self.pool.newest_cursor(&mut *self.pool.read().await?).await,
        }
    }

    /// The items after a cursor, which is checked.
    async fn read(
        &self,
        after: Cursor,
        filter: &Filter,
        limit: i64,
        max_bytes: usize,
        include_payload: bool,
    ) -> Result<Items, FeedError> {
        let mut snapshot = self.pool.read().await?;
        self.pool.check_cursor(&mut snapshot, after).await?;
        if filter.is_empty() {
            return self.pool.next_items(&mut snapshot, after, limit, max_bytes, include_payload).await;
        }
        let (from, direction) = (Some(after), Direction::OldestFirst);
        self.pool.find_items(&mut snapshot, filter, from, direction, limit, max_bytes, include_payload).await
    }
}
