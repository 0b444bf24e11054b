//! Forms batches of what waits in a queue, and hands them to committers.
//!
//! Invariants:
//!
//! - A batch has everything that waits, up to `max_batch` deliveries or [`MAX_BATCH_BYTES`].
//! - A booking is in one batch at a time, with at most [`MAX_CHANGES_PER_BOOKING`] changes; its further deliveries are
//!   deferred to a later batch.
//! - Behind a deferred delivery, all of its booking are deferred: the order within a booking holds.
//! - Deferred deliveries come before later ones, and hold up no other booking.
//!
//! How many are in flight is decided in `batch_limit`, and which committer writes one in `in_flight`.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    mem,
    sync::Arc,
};

use tokio::{
    select,
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{
    in_flight::InFlight,
    queue::{QueueDepth, QueuedDelivery},
};
use crate::delivery::Delivery;

/// A batch is full at this size: writing it takes several times its memory.
pub(super) const MAX_BATCH_BYTES: usize = 2 * 1024 * 1024;

/// Repetitions of the same content are no changes.
const MAX_CHANGES_PER_BOOKING: usize = 32;

/// Owner of the receiving half of a queue.
pub(super) struct Batcher {
    incoming: mpsc::UnboundedReceiver<QueuedDelivery>,
    deferred: VecDeque<QueuedDelivery>,
    in_flight: Arc<InFlight>,
    depth: QueueDepth,
    max_batch: usize,
}

pub(super) struct Batch {
    pub(super) deliveries: Vec<QueuedDelivery>,
    pub(super) bookings: BatchBookings,
    bytes: usize,
}

pub(super) struct BatchBookings(HashMap<u64, BookingInBatch>);

#[derive(Default)]
struct BookingInBatch {
    changes: usize,
    last_content_hash: Option<[u8; 32]>,
    /// A delivery was deferred, so all behind it are.
    is_closed: bool,
}

impl Batcher {
    pub(super) fn new(
        incoming: mpsc::UnboundedReceiver<QueuedDelivery>,
        in_flight: Arc<InFlight>,
        depth: QueueDepth,
        max_batch: usize,
    ) -> Self {
        Self { incoming, deferred: VecDeque::new(), in_flight, depth, max_batch }
    }

    /// Hands batches to committers until the queue is closed and empty; the committers end after it.
    pub(super) async fn run(mut self) {
        while let Some(batch) = self.next().await {
            self.depth.subtract(batch.deliveries.len());
            self.in_flight.begin(batch);
        }
        self.in_flight.close();
    }

    /// Waits until another batch may be in flight and there are deliveries for it. `None`: the queue is closed and empty.
    async fn next(&mut self) -> Option<Batch> {
        loop {
            self.wait_for_limit().await;
            let batch = self.take();
            if !batch.deliveries.is_empty() {
                return Some(batch);
            }
            let Self { incoming, deferred, in_flight, .. } = self;
            select! {
                received = incoming.recv() => match received {
                    Some(queued) => deferred.push_back(queued),
                    None if deferred.is_empty() => return None,
                    None => in_flight.batch_ended().await,
                },
                () = in_flight.batch_ended(), if !deferred.is_empty() => {}
            }
        }
    }

    async fn wait_for_limit(&self) {
        loop {
            let now = Instant::now();
            match self.in_flight.next(now) {
                Some(next) if next <= now => return,
                Some(next) => select! {
                    () = sleep_until(next) => {}
                    () = self.in_flight.batch_ended() => {}
                },
                None => self.in_flight.batch_ended().await,
            }
        }
    }

    fn take(&mut self) -> Batch {
        let bookings = BatchBookings(HashMap::with_capacity(self.depth.deliveries().0.min(self.max_batch)));
        let mut batch = Batch { deliveries: Vec::new(), bookings, bytes: 0 };
        let mut deferred = mem::take(&mut self.deferred).into_iter();
        let in_flight = self.in_flight.state();
        while !batch.is_full(self.max_batch) {
            let Some(next) = deferred.next().or_else(|| self.incoming.try_recv().ok()) else { break };
            if batch.accepts(&next, &in_flight.bookings) {
                batch.bytes += next.memory_bytes();
                batch.deliveries.push(next);
            } else {
                self.deferred.push_back(next);
            }
        }
        self.deferred.extend(deferred);
        batch
    }
}

impl BatchBookings {
    pub(super) fn iter(&self) -> impl Iterator<Item = u64> {
        self.0.keys().copied()
    }
}

impl Batch {
    fn is_full(&self, max_batch: usize) -> bool {
        self.deliveries.len() >= max_batch || self.bytes >= MAX_BATCH_BYTES
    }

    /// Whether the delivery may go into this batch; counts it for its booking.
    fn accepts(&mut self, queued: &QueuedDelivery, in_flight: &HashSet<u64>) -> bool {
        let (Some(booking), Delivery::Event(event)) = (queued.booking, &queued.delivery) else { return true };
        if in_flight.contains(&booking) {
            return false;
        }
        let booking = self.bookings.0.entry(booking).or_default();
        let is_change = booking.last_content_hash != Some(event.content_hash);
        booking.is_closed |= is_change && booking.changes == MAX_CHANGES_PER_BOOKING;
        if !booking.is_closed {
            booking.changes += usize::from(is_change);
            booking.last_content_hash = Some(event.content_hash);
        }
        !booking.is_closed
    }
}
