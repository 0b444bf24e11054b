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
mod server_sent_events;
mod stream;
mod tail;

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use self::tail::Tail;
pub use self::{
    question::{InvalidQuestion, Question},
    stream::Stream,
};
use crate::{
    commits::{Commits, PAUSE_UNDER_LOAD},
    lifecycle::{Stage, Tasks},
    store::{Cursor, Direction, FeedError, Filter, Items, MAX_PAGE_BYTES, Pool},
};

/// Of a page under load.
const MAX_WAIT_FOR_TURN: Duration = Duration::from_secs(20);

/// Reads the feed. Clones share the tail.
#[derive(Clone)]
pub struct Feed {
    pool: Pool,
    tail: Arc<Tail>,
    commits: Arc<Commits>,
    /// Under load readers take turns.
    turns: Arc<Semaphore>,
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
    /// Starts the tail, and the task that tells readers of commits.
    pub fn start(pool: Pool, commits: Arc<Commits>, tasks: &mut Tasks) -> Self {
        let tail = Arc::new(Tail::new(pool.clone(), Arc::clone(&commits)));
        let stop = tasks.soft_token(Stage::Intake);
        let announcer = announcer::run(Arc::clone(&commits), Arc::clone(&tail), pool.clone());
        // until the last commit
        let stop_announcer = tasks.soft_token(Stage::Commit);
        tasks.spawn_in_background("announcer of commits", Stage::Commit, async move {
            stop_announcer.run_until_cancelled(announcer).await;
            Ok(())
        });
        let (reading, stop_tail) = (Arc::clone(&tail), stop.clone());
        tasks.spawn_in_background("tail of the feed", Stage::Intake, async move {
            stop_tail.run_until_cancelled(reading.run()).await;
            Ok(())
        });
        Self { pool, tail, commits, turns: Arc::new(Semaphore::new(1)), stop }
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
        let _turn = if filter.is_of_few() { None } else { self.turn().await };
        let mut snapshot = self.pool.read().await?;
        self.pool.check_cursor(&mut snapshot, after).await?;
        if filter.is_empty() {
            return self.pool.next_items(&mut snapshot, after, limit, max_bytes, include_payload).await;
        }
        let (from, direction) = (Some(after), Direction::OldestFirst);
        self.pool.find_items(&mut snapshot, filter, from, direction, limit, max_bytes, include_payload).await
    }

    /// Under load one page is read at a time, with a pause after it that ends with the load: what is recorded goes before what
    /// is read. A turn is not waited for longer than [`MAX_WAIT_FOR_TURN`].
    async fn turn(&self) -> Option<Turn> {
        if !self.commits.are_many() {
            return None;
        }
        let permit = timeout(MAX_WAIT_FOR_TURN, Arc::clone(&self.turns).acquire_owned()).await.ok()?.ok()?;
        Some(Turn { permit: Some(permit), began: Instant::now(), commits: Arc::clone(&self.commits) })
    }
}

/// The turn of a reader; the next begins some time after it ends, or once the load does.
struct Turn {
    permit: Option<OwnedSemaphorePermit>,
    began: Instant,
    commits: Arc<Commits>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let (permit, commits) = (self.permit.take(), Arc::clone(&self.commits));
        let pause = self.began.elapsed() * PAUSE_UNDER_LOAD;
        tokio::spawn(async move {
            commits.calm(pause).await;
            drop(permit);
        });
    }
}
