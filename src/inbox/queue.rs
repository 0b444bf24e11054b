//! Where deliveries of one environment wait for a batch: so many, and so many bytes of them.

use std::{sync::Arc, time::Instant};

use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::delivery::{Delivery, Receipt};

/// A batch takes no more once it holds so many bytes: writing it takes several times its memory, and the others wait.
pub(super) const BATCH_BYTES: usize = 2 * 1024 * 1024;

/// The unit in which memory is counted, in bytes.
const UNIT: usize = 1024;

/// A delivery on its way, and who waits for its receipt.
pub(super) struct Waiting {
    pub(super) delivery: Delivery,
    pub(super) since: Instant,
    pub(super) receipt: oneshot::Sender<Receipt>,
    /// Its bytes of the queue's memory, until it is durable.
    pub(super) memory: OwnedSemaphorePermit,
}

/// The end of a queue at which deliveries come in. When the last clone is gone, what waits is still seen through.
#[derive(Clone)]
pub(super) struct Queue {
    sender: mpsc::Sender<Waiting>,
    memory: Arc<Semaphore>,
    units: usize,
}

/// The end at which committers take batches, one after the other.
pub(super) struct Batches(Mutex<mpsc::Receiver<Waiting>>);

/// How full a queue is. It is no end of one: the queue ends when only this is left.
#[derive(Clone)]
pub struct QueueLevel {
    sender: mpsc::WeakSender<Waiting>,
    memory: Arc<Semaphore>,
    units: usize,
}

/// A queue for so many deliveries of so many bytes in all, those that are being written included.
pub(super) fn queue(max_deliveries: usize, max_bytes: usize) -> (Queue, Batches) {
    let (sender, receiver) = mpsc::channel(max_deliveries);
    let units = max_bytes.div_ceil(UNIT);
    let queue = Queue { sender, memory: Arc::new(Semaphore::new(units)), units };
    (queue, Batches(Mutex::new(receiver)))
}

impl Queue {
    /// Puts a delivery in, unless it is full. `None` tells that it is; else the receipt comes once it is durable, and
    /// nothing comes when it could not be made so.
    pub(super) fn put(&self, delivery: Delivery, since: Instant) -> Option<oneshot::Receiver<Receipt>> {
        // one that is larger than all of the memory has it for itself
        let units = delivery.memory_bytes().div_ceil(UNIT).min(self.units);
        let memory = Arc::clone(&self.memory).try_acquire_many_owned(u32::try_from(units).ok()?).ok()?;
        let (receipt, receiver) = oneshot::channel();
        self.sender.try_send(Waiting { delivery, since, receipt, memory }).ok()?;
        Some(receiver)
    }

    pub(super) fn level(&self) -> QueueLevel {
        QueueLevel { sender: self.sender.downgrade(), memory: Arc::clone(&self.memory), units: self.units }
    }
}

impl Batches {
    /// Waits for a delivery and takes what else is there, up to this many. Nothing once the queue is at its end.
    pub(super) async fn next(&self, max_batch: usize) -> Vec<Waiting> {
        let mut receiver = self.0.lock().await;
        let mut next = receiver.recv().await;
        let mut batch = Vec::with_capacity(max_batch.min(receiver.len() + 1));
        let mut bytes = 0;
        while let Some(waiting) = next {
            bytes += waiting.memory.num_permits() * UNIT;
            batch.push(waiting);
            let is_full = batch.len() >= max_batch || bytes >= BATCH_BYTES;
            next = if is_full { None } else { receiver.try_recv().ok() };
        }
        batch
    }
}

impl QueueLevel {
    /// How many deliveries wait, and how many may.
    pub fn deliveries(&self) -> (usize, usize) {
        let sender = self.sender.upgrade();
        sender.map_or((0, 0), |sender| (sender.max_capacity() - sender.capacity(), sender.max_capacity()))
    }

    /// The bytes of those that wait or are being written, and how many may be.
    pub fn bytes(&self) -> (usize, usize) {
        ((self.units - self.memory.available_permits()) * UNIT, self.units * UNIT)
    }
}
