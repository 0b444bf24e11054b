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
    state: Mutex<State>,
    batch_ended: Notify,
}

pub(super) struct State {
    limit: BatchLimit,
    /// Of all batches.
    pub(super) bookings: HashSet<u64>,
    /// Where the idle committers wait; the last one gets the next batch. `None`: there are no more batches.
    idle: Option<Vec<oneshot::Sender<Batch>>>,
}

impl InFlight {
    pub(super) fn new(limit: BatchLimit) -> Self {
        let state = State { limit, bookings: HashSet::new(), idle: Some(Vec::new()) };
        Self { state: Mutex::new(state), batch_ended: Notify::new() }
    }

    /// Adds an idle committer, which gets its next batch there; closed when there are no more.
    pub(super) fn add_idle(&self) -> oneshot::Receiver<Batch> {
        self.state().add_idle()
    }

    /// When the next batch may begin. `None`: once another has ended.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        self.state().limit.next(now)
    }

    /// Hands a batch to a committer. Its bookings are in flight until [`Self::end`].
    pub(super) fn begin(&self, batch: Batch) {
        let mut state = self.state();
        state.bookings.extend(batch.bookings.iter());
        state.limit.begin(Instant::now());
        if let Some(committer) = state.idle.as_mut().and_then(Vec::pop) {
            // a committer is gone only when all tasks are aborted
            let _ = committer.send(batch);
        }
    }

    /// A batch with these bookings is durable, or has failed. `written_in`: how long the write took, if it is in Postgres.
    /// Its committer gets its next batch there.
    pub(super) fn end(&self, bookings: &BatchBookings, written_in: Option<Duration>) -> oneshot::Receiver<Batch> {
        let mut state = self.state();
        for booking in bookings.iter() {
            state.bookings.remove(&booking);
        }
        state.limit.end(written_in, Instant::now());
        let next = state.add_idle();
        drop(state);
        self.batch_ended.notify_one();
        next
    }

    /// Waits for a batch to end.
    pub(super) async fn batch_ended(&self) {
        self.batch_ended.notified().await;
    }

    /// Lets the committers end.
    pub(super) fn close(&self) {
        self.state().idle = None;
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add_idle(&mut self) -> oneshot::Receiver<Batch> {
        let (sender, receiver) = oneshot::channel();
        if let Some(idle) = &mut self.idle {
            idle.push(sender);
        }
        receiver
    }
}
