//! What of a queue goes into the next batch.
//!
//! As a rule everything that waits, up to a full batch. Of one booking a batch takes a few changes only, and none while
//! another batch writes that booking: what is beyond that waits for a later batch, in its order. So whoever sends one
//! booking's revisions on many connections waits for himself, and the others do not.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Mutex, PoisonError},
};

use tokio::{
    select,
    sync::{Mutex as AsyncMutex, Notify, mpsc},
};

use super::queue::{QueueLevel, Waiting};
use crate::delivery::Delivery;

/// A batch takes no more once it holds so many bytes: writing it takes several times its memory, and the others wait.
pub(super) const BATCH_BYTES: usize = 2 * 1024 * 1024;

/// Changes of one booking in a batch; repetitions of the same are none.
const CHANGES_OF_BOOKING: usize = 32;

/// The end of a queue at which committers take batches.
pub(super) struct Batches {
    waiting: AsyncMutex<All>,
    /// The bookings of the batches that are being written.
    being_written: Mutex<HashSet<u64>>,
    /// A batch was written.
    written: Notify,
    level: QueueLevel,
}

/// Everything that waits.
struct All {
    incoming: mpsc::UnboundedReceiver<Waiting>,
    /// What had to wait for another batch.
    deferred: VecDeque<Waiting>,
}

/// Deliveries that are written together.
pub(super) struct Batch {
    pub(super) deliveries: Vec<Waiting>,
    pub(super) bookings: Bookings,
    bytes: usize,
}

/// The bookings that a batch is about.
pub(super) struct Bookings(HashMap<u64, OfBooking>);

/// What a batch has of a booking.
#[derive(Default)]
struct OfBooking {
    changes: usize,
    last_content_hash: Option<[u8; 32]>,
    /// Whether one had to wait: then so have all behind it.
    is_closed: bool,
}

impl Batches {
    pub(super) fn new(incoming: mpsc::UnboundedReceiver<Waiting>, level: QueueLevel) -> Self {
        let waiting = AsyncMutex::new(All { incoming, deferred: VecDeque::new() });
        Self { waiting, being_written: Mutex::default(), written: Notify::new(), level }
    }

    /// Waits for deliveries that can be written now, and takes up to so many. `None` once the queue is at its end.
    pub(super) async fn next(&self, max_batch: usize) -> Option<Batch> {
        let mut waiting = self.waiting.lock().await;
        loop {
            let batch = self.take(&mut waiting, max_batch);
            if !batch.deliveries.is_empty() {
                self.level.taken(batch.deliveries.len());
                return Some(batch);
            }
            let All { incoming, deferred } = &mut *waiting;
            select! {
                received = incoming.recv() => match received {
                    Some(waiting) => deferred.push_back(waiting),
                    None if deferred.is_empty() => return None,
                    None => self.written.notified().await,
                },
                () = self.written.notified(), if !deferred.is_empty() => {}
            }
        }
    }

    fn take(&self, waiting: &mut All, max_batch: usize) -> Batch {
        let mut being_written = self.being_written.lock().unwrap_or_else(PoisonError::into_inner);
        let bookings = Bookings(HashMap::with_capacity(self.level.deliveries().0.min(max_batch)));
        let mut batch = Batch { deliveries: Vec::new(), bookings, bytes: 0 };
        let deferred = std::mem::take(&mut waiting.deferred);
        let mut candidates = deferred.into_iter();
        while !batch.is_full(max_batch) {
            let Some(next) = candidates.next().or_else(|| waiting.incoming.try_recv().ok()) else { break };
            if batch.admits(&next, &being_written) {
                batch.bytes += next.memory_bytes();
                batch.deliveries.push(next);
            } else {
                waiting.deferred.push_back(next);
            }
        }
        waiting.deferred.extend(candidates);
        being_written.extend(batch.bookings.0.keys());
        batch
    }

    /// A batch with these bookings is durable, or could not be made so.
    pub(super) fn written(&self, bookings: &Bookings) {
        let mut being_written = self.being_written.lock().unwrap_or_else(PoisonError::into_inner);
        for booking in bookings.0.keys() {
            being_written.remove(booking);
        }
        drop(being_written);
        self.written.notify_one();
    }
}

impl Batch {
    fn is_full(&self, max_batch: usize) -> bool {
        self.deliveries.len() >= max_batch || self.bytes >= BATCH_BYTES
    }

    /// Whether a delivery is written in this batch; else it has to wait for another one.
    fn admits(&mut self, waiting: &Waiting, being_written: &HashSet<u64>) -> bool {
        let (Some(booking), Delivery::Event(event)) = (waiting.booking, &waiting.delivery) else { return true };
        if being_written.contains(&booking) {
            return false;
        }
        let of_booking = self.bookings.0.entry(booking).or_default();
        let is_change = of_booking.last_content_hash != Some(event.content_hash);
        of_booking.is_closed |= is_change && of_booking.changes == CHANGES_OF_BOOKING;
        if !of_booking.is_closed {
            of_booking.changes += usize::from(is_change);
            of_booking.last_content_hash = Some(event.content_hash);
        }
        !of_booking.is_closed
    }
}
