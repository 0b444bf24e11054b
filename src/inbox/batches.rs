//! Decides what of a queue goes into the next batch.
//!
//! Invariants:
//!
//! - A batch has everything that waits, up to `max_batch` deliveries or [`MAX_BATCH_BYTES`].
//! - A booking is in one batch at a time, with at most [`MAX_CHANGES_PER_BOOKING`] changes; its further deliveries are
//!   deferred to a later batch.
//! - Behind a deferred delivery, all of its booking are deferred: the order within a booking holds.
//! - Deferred deliveries come before later ones, and hold up no other booking.
//!
//! How many are in flight is decided in `batch_limit`.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    select,
    sync::{Mutex as AsyncMutex, Notify, mpsc, watch},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    batch_limit::BatchLimit,
    queue::{QueueDepth, QueuedDelivery},
};
use crate::delivery::Delivery;

/// A batch is full at this size: writing it takes several times its memory.
pub(super) const MAX_BATCH_BYTES: usize = 2 * 1024 * 1024;

/// Repetitions of the same content are no changes.
const MAX_CHANGES_PER_BOOKING: usize = 32;

/// The receiving half of a queue, shared by its committers.
pub(super) struct Batches {
    pending: AsyncMutex<Pending>,
    in_flight: Mutex<InFlight>,
    batch_finished: Notify,
    /// Whether more batches than a few may be in flight.
    is_raised: watch::Sender<bool>,
    /// Cancelled once the queue is closed and empty.
    ended: CancellationToken,
    depth: QueueDepth,
    max_batch: usize,
}

struct Pending {
    incoming: mpsc::UnboundedReceiver<QueuedDelivery>,
    deferred: VecDeque<QueuedDelivery>,
}

/// The batches that are being written.
struct InFlight {
    limit: BatchLimit,
    bookings: HashSet<u64>,
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
    pub(super) fn new(
        incoming: mpsc::UnboundedReceiver<QueuedDelivery>,
        depth: QueueDepth,
        max_batch: usize,
        limit: BatchLimit,
    ) -> Self {
        Self {
            pending: AsyncMutex::new(Pending { incoming, deferred: VecDeque::new() }),
            in_flight: Mutex::new(InFlight { limit, bookings: HashSet::new() }),
            batch_finished: Notify::new(),
            is_raised: watch::Sender::new(false),
            ended: CancellationToken::new(),
            depth,
            max_batch,
        }
    }

    /// Waits for deliveries that can be written now. Their bookings are in flight until [`Self::release`]. `None`: the
    /// queue is closed and empty.
    pub(super) async fn next(&self) -> Option<Batch> {
        let batch = self.wait_for_next().await;
        if batch.is_none() {
            self.ended.cancel();
        }
        batch
    }

    /// As [`Self::next`], once more batches than a few may be in flight. The committers beyond these few stay away until then:
    /// if all took turns, each would find its connection gone from the caches of the processor.
    pub(super) async fn next_when_raised(&self) -> Option<Batch> {
        let mut is_raised = self.is_raised.subscribe();
        self.ended.run_until_cancelled(is_raised.wait_for(|is_raised| *is_raised)).await;
        self.next().await
    }

    async fn wait_for_next(&self) -> Option<Batch> {
        // held while waiting: `release` does not need it
        let mut pending = self.pending.lock().await;
        loop {
            self.wait_for_limit().await;
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

    async fn wait_for_limit(&self) {
        loop {
            let now = Instant::now();
            let next = self.in_flight().limit.next(now);
            match next {
                Some(next) if next <= now => return,
                Some(next) => select! {
                    () = sleep_until(next) => {}
                    () = self.batch_finished.notified() => {}
                },
                None => self.batch_finished.notified().await,
            }
        }
    }

    fn take(&self, pending: &mut Pending) -> Batch {
        let mut in_flight = self.in_flight();
        let bookings = BatchBookings(HashMap::with_capacity(self.depth.deliveries().0.min(self.max_batch)));
        let mut batch = Batch { deliveries: Vec::new(), bookings, bytes: 0 };
        let mut deferred = mem::take(&mut pending.deferred).into_iter();
        while !batch.is_full(self.max_batch) {
            let Some(next) = deferred.next().or_else(|| pending.incoming.try_recv().ok()) else { break };
            if batch.accepts(&next, &in_flight.bookings) {
                batch.bytes += next.memory_bytes();
                batch.deliveries.push(next);
            } else {
                pending.deferred.push_back(next);
            }
        }
        pending.deferred.extend(deferred);
        if !batch.deliveries.is_empty() {
            in_flight.bookings.extend(batch.bookings.0.keys());
            in_flight.limit.begin(Instant::now());
        }
        batch
    }

    /// Ends the flight of a batch with these bookings, whether it is durable or failed. `written_in`: if it is in Postgres.
    pub(super) fn release(&self, bookings: &BatchBookings, written_in: Option<Duration>) {
        let mut in_flight = self.in_flight();
        for booking in bookings.0.keys() {
            in_flight.bookings.remove(booking);
        }
        in_flight.limit.end(written_in, Instant::now());
        let is_raised = in_flight.limit.is_raised();
        drop(in_flight);
        self.is_raised.send_if_modified(|was_raised| mem::replace(was_raised, is_raised) != is_raised);
        self.batch_finished.notify_one();
    }

    fn in_flight(&self) -> MutexGuard<'_, InFlight> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
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
