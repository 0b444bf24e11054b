//! What is to be sent, and when: the items of the feed that are not done, a lane for each booking. `settle` has what became of it.
//!
//! Invariants:
//!
//! - An item is here from when it is read until it is recorded as done.
//! - A lane has one attempt at a time, of its first item, and is busy until what became of it is recorded.
//! - The number of items is bounded, and so are the bytes of those that were read and never tried. Others have no content.

mod settle;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use time::OffsetDateTime;
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    answer::MAX_RETRY_AFTER,
    attempt::{Attempt, Serialized},
    receiver::Receiver,
};
use crate::{
    clock,
    store::{BookingKey, Cursor, ForwardItem, ForwardProgress, Position},
};

/// Items that may wait here; at about 500 bytes each. Beyond them no more are read.
const MAX_ITEMS: usize = 20_000;

/// Items with content from which on no more are read.
const ENOUGH_CONTENTS: usize = 256;

pub(super) struct Schedule {
    /// Requests that may be running or unrecorded.
    max_in_flight: usize,
    in_flight: usize,
    /// Of these, those that are no first attempts: half of all at most.
    retries_in_flight: usize,
    entries: BTreeMap<Position, Entry>,
    lanes: HashMap<BookingKey, Lane>,
    /// First items of lanes that were never tried.
    fresh: BTreeSet<Position>,
    /// Those that wait for another attempt.
    waiting: BTreeSet<(Instant, Position)>,
    /// Entries with a change that is not in the database.
    unrecorded: BTreeSet<Position>,
    contents: usize,
    receiver: Receiver,
    /// To where the feed was read.
    read_to: Cursor,
    /// The last item that was tried, with an answer or without one.
    last_tried: Position,
    /// Kept items that were skipped, to be recorded as done.
    skipped: Vec<Uuid>,
}

struct Entry {
    item: ForwardItem,
    content: Option<Arc<Serialized>>,
    /// It has a row in the database.
    is_kept: bool,
}

#[derive(Default)]
struct Lane {
    items: VecDeque<Position>,
    is_busy: bool,
    /// The attempt is no first one.
    is_retry: bool,
}

/// What is to be recorded, and the lanes that go on after it.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) progress: ForwardProgress,
    pub(super) lanes: Vec<BookingKey>,
}

impl Schedule {
    /// Goes on from where a forward was: behind a cursor, and with the items before it that are kept, in their order.
    pub(super) fn resume(
        max_in_flight: usize,
        scanned: Cursor,
        kept: Vec<ForwardItem>,
        not_before: Option<OffsetDateTime>,
    ) -> Self {
        let mut schedule = Self {
            max_in_flight,
            in_flight: 0,
            retries_in_flight: 0,
            entries: BTreeMap::new(),
            lanes: HashMap::new(),
            fresh: BTreeSet::new(),
            waiting: BTreeSet::new(),
            unrecorded: BTreeSet::new(),
            contents: 0,
            receiver: Receiver::resume(not_before.map(at)),
            read_to: scanned,
            last_tried: scanned.position,
            skipped: Vec::new(),
        };
        for item in kept {
            schedule.insert(item, None, true);
        }
        schedule
    }

    /// To where the feed was read.
    pub(super) fn read_to(&self) -> Cursor {
        self.read_to
    }

    pub(super) fn is_receiver_down(&self) -> bool {
        self.receiver.is_down()
    }

    pub(super) fn wants_items(&self) -> bool {
        self.contents < ENOUGH_CONTENTS && self.entries.len() < MAX_ITEMS
    }

    /// An item that was read, behind all that are here.
    pub(super) fn add(&mut self, item: ForwardItem, content: Serialized) {
        self.insert(item, Some(Arc::new(content)), false);
    }

    /// The feed was read to there.
    pub(super) fn set_read_to(&mut self, cursor: Cursor) {
        self.read_to = cursor;
    }

    fn insert(&mut self, item: ForwardItem, content: Option<Arc<Serialized>>, is_kept: bool) {
        let position = item.position;
        if self.entries.contains_key(&position) {
            // it is kept, and was read again
            return;
        }
        let lane = self.lanes.entry(item.booking.clone()).or_default();
        lane.items.push_back(position);
        let first = lane.items[0];
        let is_blocked = self.entries.get(&first).is_some_and(|entry| entry.item.attempts > 0);
        let content = content.filter(|_| !is_blocked);
        self.contents += usize::from(content.is_some());
        if !is_kept {
            self.unrecorded.insert(position);
        }
        let is_ready = first == position && !lane.is_busy;
        self.entries.insert(position, Entry { item, content, is_kept });
        if is_ready {
            self.queue(position);
        }
    }

    /// The first item of a lane that is free.
    fn queue(&mut self, position: Position) {
        match self.entries[&position].item.next_attempt_at {
            None => self.fresh.insert(position),
            Some(time) => self.waiting.insert((at(time), position)),
        };
    }

    /// What is to be sent now, if anything.
    pub(super) fn next(&mut self, now: Instant) -> Option<Attempt> {
        if self.in_flight >= self.max_in_flight || self.receiver.not_before(now).is_some() {
            return None;
        }
        let retry = self.waiting.first().copied().filter(|(time, _)| *time <= now && self.may_retry());
        let position = match retry {
            Some(due) => {
                self.waiting.remove(&due);
                self.retries_in_flight += 1;
                due.1
            }
            None if self.receiver.first_attempt_not_before(now).is_some() => return None,
            None => {
                let first = self.fresh.pop_first()?;
                self.receiver.began_first_attempt(now);
                first
            }
        };
        self.in_flight += 1;
        let entry = self.entries.get_mut(&position).expect("what waits is here");
        let lane = self.lanes.get_mut(&entry.item.booking).expect("an item has a lane");
        (lane.is_busy, lane.is_retry) = (true, retry.is_some());
        let content = entry.content.take();
        self.contents -= usize::from(content.is_some());
        Some(Attempt { item: entry.item.clone(), content })
    }

    /// Half of the requests at most are repetitions.
    fn may_retry(&self) -> bool {
        self.retries_in_flight < self.max_in_flight / 2
    }

    /// When there may be something to send, as far as that is known.
    pub(super) fn next_at(&self, now: Instant) -> Option<Instant> {
        let retry = self.waiting.first().map(|(time, _)| *time).filter(|_| self.may_retry());
        let first = self.fresh.first().map(|_| self.receiver.first_attempt_not_before(now).unwrap_or(now));
        let next = retry.into_iter().chain(first).min();
        next.map(|time| time.max(self.receiver.not_before(now).unwrap_or(time)))
    }

    /// Lets lanes go on, once what became of their attempts is recorded.
    pub(super) fn release(&mut self, lanes: Vec<BookingKey>) {
        for booking in lanes {
            let Some(lane) = self.lanes.get_mut(&booking) else { continue };
            self.in_flight -= 1;
            self.retries_in_flight -= usize::from(lane.is_retry);
            lane.is_busy = false;
            self.go_on(&booking);
        }
    }

    /// Queues the first item of a free lane, if there is one.
    fn go_on(&mut self, booking: &BookingKey) {
        let Some(lane) = self.lanes.get_mut(booking) else { return };
        while lane.items.front().is_some_and(|position| !self.entries.contains_key(position)) {
            lane.items.pop_front();
        }
        match lane.items.front().copied() {
            Some(position) => self.queue(position),
            None => drop(self.lanes.remove(booking)),
        }
    }

    /// Gives up an item, unless it is being sent. Whether it was here.
    pub(super) fn skip(&mut self, id: Uuid) -> bool {
        let found = self.entries.iter().find(|(_, entry)| entry.item.id == id).map(|(position, _)| *position);
        let Some(position) = found else { return false };
        let booking = self.entries[&position].item.booking.clone();
        let lane = &self.lanes[&booking];
        let is_first = lane.items.front() == Some(&position);
        if lane.is_busy && is_first {
            return false;
        }
        let entry = self.entries.remove(&position).expect("it was found");
        self.contents -= usize::from(entry.content.is_some());
        self.unrecorded.remove(&position);
        self.fresh.remove(&position);
        self.waiting.retain(|(_, waiting)| *waiting != position);
        self.skipped.push(id);
        if is_first {
            self.go_on(&booking);
        }
        true
    }

    /// Lets everything be tried at once.
    pub(super) fn retry_now(&mut self, now: Instant) {
        self.receiver.reset();
        self.make_due(now);
    }

    fn make_due(&mut self, now: Instant) {
        let waiting = std::mem::take(&mut self.waiting);
        self.waiting = waiting.into_iter().map(|(time, position)| (time.min(now), position)).collect();
    }
}

/// A time of day as an instant.
fn at(time: OffsetDateTime) -> Instant {
    // however wrong a clock was when that was recorded
    Instant::now() + Duration::try_from(time - clock::now()).unwrap_or_default().min(MAX_RETRY_AFTER)
}
