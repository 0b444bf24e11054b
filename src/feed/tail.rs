//! The tail of the feed: one reader of the newest items for all clients of a replica that wait for them.
//!
//! It reads only while somebody is subscribed. Batches go through a bounded channel: who is too slow loses them and is told
//! so.
//!
//! Invariants:
//!
//! - A batch names the cursor that it follows. A subscriber that has not read up to there has missed something, and reads
//!   it in SQL.
//! - Each time that the tail begins to read, also after an error, it sends an empty batch: what was committed before, and
//!   whether history has changed, every subscriber reads in SQL.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sqlx::postgres::PgListener;
use tokio::{
    select,
    sync::{Notify, broadcast},
    time::{Instant, sleep},
};

use super::{announcer::CHANNEL, server_sent_events::ServerSentEvents};
use crate::{
    commits::Commits,
    store::{Cursor, FeedError, Item, Items, Pool, Position},
    telemetry::RateLimitedWarning,
};

/// Batches that a subscriber may be behind: with [`MAX_BATCH_BYTES`] at most 16 MiB for all.
const MAX_BATCHES: usize = 64;
const MAX_BATCH_ITEMS: i64 = 500;
const MAX_BATCH_BYTES: usize = 256 * 1024;

/// After a full batch, in times that it took: under a load that the tail cannot follow, Postgres works for deliveries first.
const PAUSE: u32 = 2;

/// Between two batches while deliveries wait for one another: each is work for every reader.
const INTERVAL_UNDER_LOAD: Duration = Duration::from_secs(4);

/// Between two reads, when nothing tells of a commit.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// While items are held back by an open transaction, whose end nothing tells of; and behind a pooler, where a connection
/// cannot listen.
const SHORT_POLL_INTERVAL: Duration = Duration::from_millis(100);

/// After an error.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Items that follow one another.
pub(super) struct Batch {
    /// The tail has begun to read.
    pub(super) is_first: bool,
    pub(super) after: Cursor,
    pub(super) items: Vec<Item>,
    pub(super) events: ServerSentEvents,
    pub(super) next: Cursor,
}

impl Batch {
    fn new(is_first: bool, after: Cursor, items: Vec<Item>, next: Cursor) -> Self {
        let events = ServerSentEvents::of(&items);
        Self { is_first, after, items, events, next }
    }
}

pub(super) struct Tail {
    pool: Pool,
    commits: Arc<Commits>,
    batches: broadcast::Sender<Arc<Batch>>,
    /// Behind the last batch; the default while there is none.
    position: Mutex<Position>,
    /// Notified when somebody has subscribed.
    subscribed: Notify,
    /// Notified when something was committed by this replica.
    committed: Notify,
}

impl Tail {
    pub(super) fn new(pool: Pool, commits: Arc<Commits>) -> Self {
        let (batches, _) = broadcast::channel(MAX_BATCHES);
        Self { pool, commits, batches, position: Mutex::default(), subscribed: Notify::new(), committed: Notify::new() }
    }

    /// The batches from now on.
    pub(super) fn subscribe(&self) -> broadcast::Receiver<Arc<Batch>> {
        let receiver = self.batches.subscribe();
        self.subscribed.notify_one();
        receiver
    }

    /// From where on the batches to come give everything.
    pub(super) fn position(&self) -> Position {
        *self.position.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something was committed by this replica.
    pub(super) fn wake(&self) {
        self.committed.notify_one();
    }

    /// Reads while somebody is subscribed.
    pub(super) async fn run(&self) {
        let warning = RateLimitedWarning::default();
        loop {
            while self.batches.receiver_count() == 0 {
                self.subscribed.notified().await;
            }
            if let Err(error) = self.read().await {
                if let Some(times) = warning.due() {
                    tracing::warn!(%error, times, "the tail of the feed cannot be read");
                }
                sleep(RETRY_DELAY).await;
            }
        }
    }

    /// Until nobody is subscribed.
    async fn read(&self) -> Result<(), FeedError> {
        let mut listener = self.listen().await?;
        let mut after = self.pool.newest_cursor(&mut *self.pool.read().await?).await?;
        self.send(Batch::new(true, after, Vec::new(), after));
        while self.batches.receiver_count() > 0 {
            let began = Instant::now();
            let (Items { items, next, more }, is_held_back) = self.next_items(after).await?;
            if !items.is_empty() {
                self.send(Batch::new(false, after, items, next));
                after = next;
            }
            if self.commits.are_many() {
                self.commits.calm(INTERVAL_UNDER_LOAD).await;
            } else if more {
                sleep(began.elapsed() * PAUSE).await;
            } else {
                self.wait(listener.as_mut(), is_held_back).await?;
            }
        }
        Ok(())
    }

    fn send(&self, batch: Batch) {
        *self.position.lock().unwrap_or_else(PoisonError::into_inner) = batch.next.position;
        // the last subscriber may just have left
        let _ = self.batches.send(Arc::new(batch));
    }

    /// Items after a cursor, and whether more are held back.
    async fn next_items(&self, after: Cursor) -> Result<(Items, bool), FeedError> {
        let mut snapshot = self.pool.read().await?;
        self.pool.check_cursor(&mut snapshot, after).await?;
        let items = self.pool.next_items(&mut snapshot, after, MAX_BATCH_ITEMS, MAX_BATCH_BYTES, false).await?;
        let is_held_back = !items.more && self.pool.held_back(&mut snapshot).await?.is_held_back;
        Ok((items, is_held_back))
    }

    /// Until something may have become visible.
    async fn wait(&self, listener: Option<&mut PgListener>, is_held_back: bool) -> Result<(), FeedError> {
        let interval = if is_held_back || listener.is_none() { SHORT_POLL_INTERVAL } else { POLL_INTERVAL };
        let notification = async {
            match listener {
                Some(listener) => listener.recv().await.map(|_| ()),
                None => std::future::pending().await,
            }
        };
        select! {
            () = self.committed.notified() => {}
            notified = notification => notified?,
            () = sleep(interval) => {}
        }
        Ok(())
    }

    /// For commits of other replicas; `None` behind a pooler.
    async fn listen(&self) -> Result<Option<PgListener>, FeedError> {
        let Some(mut listener) = self.pool.listener().await? else { return Ok(None) };
        listener.listen(CHANNEL).await?;
        Ok(Some(listener))
    }
}
