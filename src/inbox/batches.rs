//! Decides what of a queue goes into the next batch.
//!
//! Invariants:
//!
//! - A batch has everything that waits, up to `max_batch` deliveries or [`MAX_BATCH_BYTES`].
//! - A booking is in one batch at a time, with at most [`MAX_CHANGES_PER_BOOKING`] changes; its further deliveries are
//!   deferred to a later batch.
//! - Behind a deferred delivery, all of its booking are deferred: the order within a booking holds.
//! - Deferred deliveries come before later ones, and hold up no other booking.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Mutex, PoisonError},
};

use tokio::{
    select,
    sync::{Mutex as AsyncMutex, Notify, mpsc},
};

use super::queue::{QueueDepth, QueuedDelivery};
use crate::delivery::Delivery;

/// A batch is full at this size: writing it takes several times its memory.
pub(super) const MAX_BATCH_BYTES: usize = 2 * 1024 * 1024;

/// Repetitions of the same content are no changes.
const MAX_CHANGES_PER_BOOKING: usize = 32;

/// The receiving half of a queue, shared by its committers.
pub(super) struct Batches {
    pending: AsyncMutex<Pending>,
    /// Bookings of the batches that are being written.
    bookings_in_flight: Mutex<HashSet<u64>>,
    batch_finished: Notify,
    depth: QueueDepth,
    max_batch: usize,
}

struct Pending {
    incoming: mpsc::UnboundedReceiver<QueuedDelivery>,
    deferred: VecDeque<QueuedDelivery>,
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

impl Batches {
    pub(super) fn new(incoming: mpsc::UnboundedReceiver<QueuedDelivery>, depth: QueueDepth, max_batch: usize) -> Self {
        let pending = AsyncMutex::new(Pending { incoming, deferred: VecDeque::new() });
        Self { pending, bookings_in_flight: Mutex::default(), batch_finished: Notify::new(), depth, max_batch }
    }

    /// Waits for deliveries that can be written now. Their bookings are in flight until [`Self::release`]. `None`: the
    /// queue is closed and empty.
    pub(super) async fn next(&self) -> Option<Batch> {
        // held while waiting: `release` does not need it
        let mut pending = self.pending.lock().await;
        loop {
            let batch = self.take(&mut pending);
            if !batch.deliveries.is_empty() {
                self.depth.subtract(batch.deliveries.len());
                return Some(batch);
            }
            let Pending { incoming, deferred } = &mut *pending;
            select! {
                received = incoming.recv() => match received {
                    Some(queued) => deferred.push_back(queued),
                    None if deferred.is_empty() => return None,
                    None => self.batch_finished.notified().await,
                },
                () = self.batch_finished.notified(), if !deferred.is_empty() => {}
            }
        }
    }

    fn take(&self, pending: &mut Pending) -> Batch {
        let mut in_flight = self.bookings_in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        let bookings = BatchBookings(HashMap::with_capacity(self.depth.deliveries().0.min(self.max_batch)));
        let mut batch = Batch { deliveries: Vec::new(), bookings, bytes: 0 };
        let mut deferred = std::mem::take(&mut pending.deferred).into_iter();
        while !batch.is_full(self.max_batch) {
            let Some(next) = deferred.next().or_else(|| pending.incoming.try_recv().ok()) else { break };
            if batch.accepts(&next, &in_flight) {
                batch.bytes += next.memory_bytes();
                batch.deliveries.push(next);
            } else {
                pending.deferred.push_back(next);
            }
        }
        pending.deferred.extend(deferred);
        in_flight.extend(batch.bookings.0.keys());
        batch
    }

    /// Ends the flight of a batch with these bookings, whether it is durable or failed.
    pub(super) fn release(&self, bookings: &BatchBookings) {
        let mut in_flight = self.bookings_in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        for booking in bookings.0.keys() {
            in_flight.remove(booking);
        }
        drop(in_flight);
        self.batch_finished.notify_one();
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
