//! One client of the stream: catches up in SQL, then rides the batches of the tail.
//!
//! Invariant: an item is sent once, in the order of the feed: everything up to `cursor` was sent or does not match.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    select,
    sync::broadcast::Receiver,
    time::{Instant, sleep_until},
};

use super::{
    Feed, From,
    server_sent_events::{ServerSentEvents, position_event},
    tail::Batch,
};
use crate::store::{Cursor, FeedError, Filter, Items};

/// Between two events a client gets at least its position.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);

const MAX_PAGE_ITEMS: i64 = 500;
const MAX_PAGE_BYTES: usize = 512 * 1024;

/// The events of one client.
pub struct Stream {
    feed: Feed,
    filter: Filter,
    include_payload: bool,
    batches: Receiver<Arc<Batch>>,
    cursor: Cursor,
    /// There may be items in SQL that were not read.
    is_behind: bool,
    /// Events that follow one another.
    pending: VecDeque<Bytes>,
    last_events: Instant,
}

impl Stream {
    /// Reads the first items.
    ///
    /// # Errors
    ///
    /// See [`FeedError`]. Later errors end the stream; the client resumes it and is told.
    pub async fn open(feed: Feed, from: From, filter: Filter, include_payload: bool) -> Result<Self, FeedError> {
        let batches = feed.tail.subscribe();
        let cursor = feed.begin(from).await?;
        let (pending, last_events) = (VecDeque::new(), Instant::now());
        let mut stream = Self { feed, filter, include_payload, batches, cursor, is_behind: true, pending, last_events };
        stream.catch_up().await?;
        Ok(stream)
    }

    /// The next server-sent events, or the position alone after 15 seconds without one. `None` ends the stream: the service
    /// stops, the client was too slow, or the feed cannot be read.
    pub async fn next(&mut self) -> Option<Bytes> {
        let events = self.next_events().await?;
        self.last_events = Instant::now();
        Some(events)
    }

    async fn next_events(&mut self) -> Option<Bytes> {
        loop {
            if let Some(events) = self.pending.pop_front() {
                return Some(events);
            }
            let stop = self.feed.stop.clone();
            if self.is_behind {
                match stop.run_until_cancelled(self.catch_up()).await? {
                    Ok(()) => continue,
                    Err(error) => {
                        tracing::debug!(%error, "a stream of the feed ends");
                        return None;
                    }
                }
            }
            let heartbeat = self.last_events + HEARTBEAT_INTERVAL;
            select! {
                () = stop.cancelled() => return None,
                () = sleep_until(heartbeat) => return Some(position_event(self.cursor)),
                // an error: it was too slow
                batch = self.batches.recv() => self.take(&*batch.ok()?),
            }
        }
    }

    /// The next page in SQL.
    async fn catch_up(&mut self) -> Result<(), FeedError> {
        let Self { feed, filter, include_payload, cursor, .. } = self;
        let page = feed.read(*cursor, filter, MAX_PAGE_ITEMS, MAX_PAGE_BYTES, *include_payload).await?;
        let Items { items, next, more } = page;
        if !items.is_empty() {
            self.pending.push_back(ServerSentEvents::of(&items).range(0..items.len()));
        }
        // the tail goes on from its position, however much there is behind it
        (self.cursor, self.is_behind) = (next, more && next.position < self.feed.tail.position());
        Ok(())
    }

    fn take(&mut self, batch: &Batch) {
        let has_gap = batch.is_first || batch.after.position > self.cursor.position;
        // batches have no payloads
        self.is_behind = has_gap || (self.include_payload && batch.next.position > self.cursor.position);
        if self.is_behind {
            return;
        }
        let (cursor, filter) = (self.cursor.position, &self.filter);
        let is_wanted = |at: &usize| {
            let item = &batch.items[*at];
            item.cursor.position > cursor && filter.matches(item)
        };
        let mut begin = 0;
        while let Some(first) = (begin..batch.items.len()).find(is_wanted) {
            begin = (first..batch.items.len()).find(|at| !is_wanted(at)).unwrap_or(batch.items.len());
            self.pending.push_back(batch.events.range(first..begin));
        }
        if batch.next.position > self.cursor.position {
            self.cursor = batch.next;
        }
    }
}
