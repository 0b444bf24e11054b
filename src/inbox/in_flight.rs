//! The batches of an environment that are being written, and the committers that wait for one.
//!
//! Invariants:
//!
//! - The committer that has finished last gets the next batch: its connection, and the process of Postgres at its other end,
//!   are still in the caches of the processors. What few deliveries there are all go over one connection.
//! - There are as many committers as batches may be in flight, so that one is there for each.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};

use super::{
    batch_limit::BatchLimit,
    batcher::{Batch, BatchBookings},
};

pub(super) struct InFlight {
    limit: Mutex<BatchLimit>,
    bookings: Mutex<HashSet<u64>>,
    /// Where the idle committers wait; the last one gets the next batch. `None`: there are no more batches.
    idle: Mutex<Option<Vec<oneshot::Sender<Batch>>>>,
    batch_ended: Notify,
}

impl InFlight {
    pub(super) fn new(limit: BatchLimit) -> Self {
        Self {
            limit: Mutex::new(limit),
            bookings: Mutex::default(),
            idle: Mutex::new(Some(Vec::new())),
            batch_ended: Notify::new(),
        }
    }

    /// Adds an idle committer, which gets its next batch there; closed when there are no more.
    pub(super) fn add_idle(&self) -> oneshot::Receiver<Batch> {
        let (sender, receiver) = oneshot::channel();
        if let Some(idle) = lock(&self.idle).as_mut() {
            idle.push(sender);
        }
        receiver
    }

    /// When the next batch may begin. `None`: once another has ended.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        lock(&self.limit).next(now)
    }

    /// The bookings of all batches.
    pub(super) fn bookings(&self) -> MutexGuard<'_, HashSet<u64>> {
        lock(&self.bookings)
    }

    /// Hands a batch to a committer. Its bookings are in flight until [`Self::end`].
    pub(super) fn begin(&self, batch: Batch) {
        self.bookings().extend(batch.bookings.iter());
        lock(&self.limit).begin(Instant::now());
        if let Some(committer) = lock(&self.idle).as_mut().and_then(Vec::pop) {
            // a committer is gone only when all tasks are aborted
            let _ = committer.send(batch);
        }
    }

    /// A batch with these bookings is durable, or has failed. `written_in`: how long the write took, if it is in Postgres.
    /// Its committer gets its next batch there.
    pub(super) fn end(&self, bookings: &BatchBookings, written_in: Option<Duration>) -> oneshot::Receiver<Batch> {
        {
            let mut in_flight = self.bookings();
            for booking in bookings.iter() {
                in_flight.remove(&booking);
            }
        }
        let next = self.add_idle();
        lock(&self.limit).end(written_in, Instant::now());
        self.batch_ended.notify_one();
        next
    }

    /// Waits for a batch to end.
    pub(super) async fn batch_ended(&self) {
        self.batch_ended.notified().await;
    }

    /// Lets the committers end.
    pub(super) fn close(&self) {
        lock(&self.idle).take();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
