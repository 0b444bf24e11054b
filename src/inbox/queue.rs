//! Where deliveries of one environment wait for a batch: so many, and so many bytes of them.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::batches::Batches;
use crate::{
    clock::ReceiptClock,
    delivery::{Delivery, Outcome},
};

/// The unit in which memory is counted, in bytes.
const UNIT: usize = 1024;

/// A delivery on its way, and who waits for its outcome.
pub(super) struct Waiting {
    pub(super) delivery: Delivery,
    /// Tells its booking from others, as a rule; nothing for a delivery that is about none.
    pub(super) booking: Option<u64>,
    pub(super) since: Instant,
    pub(super) outcome: oneshot::Sender<Outcome>,
    /// Its part of the queue's memory, until it is durable.
    pub(super) memory: OwnedSemaphorePermit,
}

/// The end of a queue at which deliveries come in.
#[derive(Clone)]
pub(super) struct Queue {
    clock: Arc<ReceiptClock>,
    /// The only sender; `None` once the queue is closed. Locked to take a time of receipt and the place in the queue
    /// that goes with it.
    sender: Arc<Mutex<Option<mpsc::UnboundedSender<Waiting>>>>,
    hasher: RandomState,
    level: QueueLevel,
}

/// How full a queue is. It is no end of one: the queue ends when only this is left.
#[derive(Clone)]
pub struct QueueLevel {
    deliveries: Arc<AtomicUsize>,
    max_deliveries: usize,
    memory: Arc<Semaphore>,
    /// Of memory, in all.
    units: usize,
}

/// A queue for so many deliveries, and for so many bytes of those that wait or are being written.
pub(super) fn queue(max_deliveries: usize, max_bytes: usize, clock: Arc<ReceiptClock>) -> (Queue, Batches) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let units = max_bytes.div_ceil(UNIT);
    let level =
        QueueLevel { deliveries: Arc::default(), max_deliveries, memory: Arc::new(Semaphore::new(units)), units };
    let sender = Arc::new(Mutex::new(Some(sender)));
    (Queue { sender, clock, hasher: RandomState::new(), level: level.clone() }, Batches::new(receiver, level))
}

impl Queue {
    /// Puts a delivery in; its outcome comes once it is durable, and nothing comes when it could not be made so. `None`
    /// when the queue is full or closed. The delivery is received at this moment: the order of recording is that of these times.
    pub(super) fn put(&self, mut delivery: Delivery, since: Instant) -> Option<oneshot::Receiver<Outcome>> {
        let QueueLevel { deliveries, max_deliveries, memory, units } = &self.level;
        // one that is larger than all of the memory has it for itself
        let units = delivery.memory_bytes().div_ceil(UNIT).min(*units);
        let memory = Arc::clone(memory).try_acquire_many_owned(u32::try_from(units).ok()?).ok()?;
        if deliveries.fetch_add(1, Ordering::Relaxed) >= *max_deliveries {
            deliveries.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let (outcome, receiver) = oneshot::channel();
        let booking = match &delivery {
            Delivery::Event(event) => Some(self.hasher.hash_one((event.provider, &event.booking.booking_ref))),
            Delivery::Unprocessed(_) => None,
        };
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(sender) = &*sender else {
            deliveries.fetch_sub(1, Ordering::Relaxed);
            return None;
        };
        delivery.received(self.clock.now());
        sender.send(Waiting { delivery, booking, since, outcome, memory }).ok()?;
        Some(receiver)
    }

    /// Refuses further deliveries; those that wait are still handed out.
    pub(super) fn close(&self) {
        *self.sender.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(super) fn level(&self) -> &QueueLevel {
        &self.level
    }
}

impl Waiting {
    pub(super) fn memory_bytes(&self) -> usize {
        self.memory.num_permits() * UNIT
    }
}

impl QueueLevel {
    /// How many deliveries wait, and how many may.
    pub fn deliveries(&self) -> (usize, usize) {
        (self.deliveries.load(Ordering::Relaxed), self.max_deliveries)
    }

    /// The bytes of those that wait or are being written, and how many may be.
    pub fn bytes(&self) -> (usize, usize) {
        ((self.units - self.memory.available_permits()) * UNIT, self.units * UNIT)
    }

    /// So many do not wait any more.
    pub(super) fn taken(&self, deliveries: usize) {
        self.deliveries.fetch_sub(deliveries, Ordering::Relaxed);
    }
}
