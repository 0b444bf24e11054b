//! The queue of one environment, bounded in deliveries and in bytes.
//!
//! Invariants:
//!
//! - A delivery gets its time of receipt and its position under one lock, so that the queue is in the order of these times.
//! - A delivery counts in the memory until it is durable, not only while it waits.
//!
//! What goes into which batch is decided in `batcher`.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::{
    clock::ReceiptClock,
    delivery::{Delivery, Outcome},
};

/// The unit of a memory permit, in bytes.
const PERMIT_BYTES: usize = 1024;

pub(super) struct QueuedDelivery {
    pub(super) delivery: Delivery,
    /// A hash of its booking; `None` for an unprocessed delivery.
    pub(super) booking: Option<u64>,
    /// When it began to wait.
    pub(super) since: Instant,
    pub(super) outcome: oneshot::Sender<Outcome>,
    /// Held until it is durable.
    pub(super) memory: OwnedSemaphorePermit,
}

/// The sending half. Clones share the sender.
#[derive(Clone)]
pub(super) struct Queue {
    /// `None` when closed. Locked while a delivery gets its time of receipt and is sent.
    sender: Arc<Mutex<Option<mpsc::UnboundedSender<QueuedDelivery>>>>,
    clock: Arc<ReceiptClock>,
    hasher: RandomState,
    depth: QueueDepth,
}

/// How full a queue is. Weak handle: does not keep the queue open.
#[derive(Clone)]
pub struct QueueDepth {
    deliveries: Arc<AtomicUsize>,
    max_deliveries: usize,
    memory: Arc<Semaphore>,
    /// Permits of `memory` in all.
    max_permits: usize,
}

impl Queue {
    pub(super) fn new(depth: QueueDepth, clock: Arc<ReceiptClock>) -> (Self, mpsc::UnboundedReceiver<QueuedDelivery>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let sender = Arc::new(Mutex::new(Some(sender)));
        (Self { sender, clock, hasher: RandomState::new(), depth }, receiver)
    }

    /// Queues a delivery, which is received at this moment. Its outcome is sent when it is durable or could not be made so.
    /// `None`: the queue is full or closed.
    pub(super) fn put(&self, mut delivery: Delivery, since: Instant) -> Option<oneshot::Receiver<Outcome>> {
        let QueueDepth { deliveries, max_deliveries, memory, max_permits } = &self.depth;
        // a delivery larger than the whole memory takes all of it
        let permits = delivery.memory_bytes().div_ceil(PERMIT_BYTES).min(*max_permits);
        let memory = Arc::clone(memory).try_acquire_many_owned(u32::try_from(permits).ok()?).ok()?;
        if deliveries.fetch_add(1, Ordering::Relaxed) >= *max_deliveries {
            self.depth.subtract(1);
            return None;
        }
        let booking = match &delivery {
            Delivery::Event(event) => Some(self.hasher.hash_one((event.provider, &event.booking.booking_ref))),
            Delivery::Unprocessed(_) => None,
        };
        let (outcome, receiver) = oneshot::channel();
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        delivery.set_received_at(self.clock.now());
        let queued = QueuedDelivery { delivery, booking, since, outcome, memory };
        let is_sent = sender.as_ref().is_some_and(|sender| sender.send(queued).is_ok());
        drop(sender);
        if !is_sent {
            self.depth.subtract(1);
            return None;
        }
        Some(receiver)
    }

    pub(super) fn close(&self) {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    pub(super) fn depth(&self) -> &QueueDepth {
        &self.depth
    }
}

impl QueuedDelivery {
    pub(super) fn memory_bytes(&self) -> usize {
        self.memory.num_permits() * PERMIT_BYTES
    }
}

impl QueueDepth {
    pub(super) fn new(max_deliveries: usize, max_bytes: usize) -> Self {
        let max_permits = max_bytes.div_ceil(PERMIT_BYTES);
        let memory = Arc::new(Semaphore::new(max_permits));
        Self { deliveries: Arc::default(), max_deliveries, memory, max_permits }
    }

    /// How many deliveries wait, and how many may.
    pub fn deliveries(&self) -> (usize, usize) {
        (self.deliveries.load(Ordering::Relaxed), self.max_deliveries)
    }

    /// The bytes of deliveries that wait or are being written, and their limit.
    pub fn bytes(&self) -> (usize, usize) {
        let permits = self.max_permits - self.memory.available_permits();
        (permits * PERMIT_BYTES, self.max_permits * PERMIT_BYTES)
    }

    pub(super) fn subtract(&self, deliveries: usize) {
        self.deliveries.fetch_sub(deliveries, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock,
        delivery::{Reason, UnprocessedDelivery},
        ticket_event::Environment,
    };

    fn delivery() -> Delivery {
        Delivery::Unprocessed(UnprocessedDelivery {
            id: clock::new_id(),
            provider: "order_ticketed".to_owned(),
            account: "main".into(),
            environment: Environment::Live,
            reason: Reason::Malformed,
            detail: String::new(),
            booking_ref: None,
            body: Vec::new(),
            received_at: clock::now(),
        })
    }

    #[tokio::test]
    async fn a_closed_queue_takes_nothing_and_gives_out_what_it_has() {
        let depth = QueueDepth::new(8, 1 << 20);
        let (queue, mut receiver) = Queue::new(depth.clone(), Arc::new(ReceiptClock::after(None)));
        assert!(queue.put(delivery(), Instant::now()).is_some());
        let clone = queue.clone();
        queue.close();
        assert!(clone.put(delivery(), Instant::now()).is_none());
        assert_eq!(depth.deliveries(), (1, 8));
        assert!(receiver.recv().await.is_some());
        assert!(receiver.recv().await.is_none());
        assert_eq!(depth.bytes().0, 0);
    }

    #[tokio::test]
    async fn a_queue_ends_with_its_last_clone_whoever_reads_its_depth() {
        let depth = QueueDepth::new(8, 1 << 20);
        let (queue, mut receiver) = Queue::new(depth.clone(), Arc::new(ReceiptClock::after(None)));
        drop(queue.clone());
        assert!(queue.put(delivery(), Instant::now()).is_some());
        drop(queue);
        assert!(receiver.recv().await.is_some());
        assert!(receiver.recv().await.is_none());
        drop(depth);
    }
}
