//! One client of the stream: catches up in SQL, then rides the batches of the tail.
//!
//! Invariant: an item is sent once, in the order of the feed: everything up to `cursor` was sent or does not match.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::{
    select,
    sync::broadcast::Receiver,
    time::{Instant, sleep_until},
};

use super::{Feed, From, tail::Batch};
use crate::store::{Cursor, FeedError, Filter, Items};

/// Between two events a client gets at least its position.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);

const MAX_PAGE_ITEMS: i64 = 500;
const MAX_PAGE_BYTES: usize = 512 * 1024;

/// What a client gets next.
pub struct StreamEvent {
    /// To go on from, everything before it was sent or does not match.
    pub cursor: Cursor,
    /// The JSON of the item; `None` tells the position alone.
    pub item: Option<Arc<str>>,
}

/// The events of one client.
pub struct Stream {
    feed: Feed,
    filter: Filter,
    include_payload: bool,
    batches: Receiver<Arc<Batch>>,
    cursor: Cursor,
    /// There may be items in SQL that were not read.
    is_behind: bool,
    pending: VecDeque<StreamEvent>,
    last_event: Instant,
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
        let (pending, last_event) = (VecDeque::new(), Instant::now());
        let mut stream = Self { feed, filter, include_payload, batches, cursor, is_behind: true, pending, last_event };
        stream.catch_up().await?;
        Ok(stream)
    }

    /// The next event, or the position alone after 15 seconds without one. `None` ends the stream: the service stops, the
    /// client was too slow, or the feed cannot be read.
    pub async fn next(&mut self) -> Option<StreamEvent> {
        let event = self.next_event().await?;
        self.last_event = Instant::now();
        Some(event)
    }

    async fn next_event(&mut self) -> Option<StreamEvent> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Some(event);
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
            let heartbeat = self.last_event + HEARTBEAT_INTERVAL;
            select! {
                () = stop.cancelled() => return None,
                () = sleep_until(heartbeat) => return Some(StreamEvent { cursor: self.cursor, item: None }),
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
        self.pending.extend(items.iter().map(|item| StreamEvent { cursor: item.cursor, item: Some(item.to_json()) }));
        (self.cursor, self.is_behind) = (next, more);
        Ok(())
    }

    fn take(&mut self, batch: &Batch) {
        let has_gap = batch.is_first || batch.after.position > self.cursor.position;
        // batches have no payloads
        self.is_behind = has_gap || (self.include_payload && batch.next.position > self.cursor.position);
        if self.is_behind {
            return;
        }
        let new = batch.items.iter().filter(|(item, _)| item.cursor.position > self.cursor.position);
        let matching = new.filter(|(item, _)| self.filter.matches(item));
        let events = matching.map(|(item, json)| StreamEvent { cursor: item.cursor, item: Some(Arc::clone(json)) });
        self.pending.extend(events);
        if batch.next.position > self.cursor.position {
            self.cursor = batch.next;
        }
    }
}
