//! Group commit: deliveries wait in a queue and are made durable in batches.
//!
//! A commit costs one disk sync however many rows it has. What arrives during a commit forms the next batch; a lone
//! delivery is committed at once.
//!
//! Invariants:
//!
//! - A caller gets its outcome after its delivery is durable: committed in Postgres, or synced to the spool.
//! - A delivery goes to the spool when Postgres does not take it in time, and while the spool of its environment holds
//!   others, which come first.
//! - Deliveries of one booking are recorded in the order of their times of receipt: they are queued in that order, and
//!   are in one batch at a time.
//! - Queues are bounded, in deliveries and in bytes: what does not fit is refused at once.
//! - A queued delivery is made durable also when its caller is gone.
//! - Each environment has its own queue, committers and spool, so that no live delivery queues behind one of a test account.
//! - Nothing is written to Postgres before the schema is ready.

mod batch_limit;
mod batcher;
mod committer;
mod context;
mod drainer;
mod in_flight;
mod queue;
mod write_timer;

use std::{
    ops::RangeInclusive,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

pub use self::queue::QueueDepth;
use self::{
    batch_limit::BatchLimit,
    batcher::Batcher,
    committer::Committer,
    context::{Context, FairSpool},
    drainer::Drainer,
    in_flight::InFlight,
    queue::Queue,
};
use crate::{
    clock::ReceiptClock,
    commits::Commits,
    delivery::{Delivery, Outcome},
    lifecycle::{Stage, Tasks},
    metrics::Metrics,
    spool::Spools,
    store::Writer,
    ticket_event::Environment,
};

/// Full batches that may wait for each of the few that are in flight. Keeps the wait well below a second.
const QUEUED_BATCHES: usize = 4;

/// A queue has room for batches of this size also where `inbox.max_batch` is smaller.
const MIN_QUEUED_BATCH: usize = 32;

struct EnvironmentLimits {
    /// As a rule, and while Postgres is slow.
    batches_in_flight: RangeInclusive<usize>,
    /// A batch has at most `inbox.max_batch` divided by this many deliveries.
    batch_divisor: usize,
    /// Memory of deliveries that wait or are being written.
    queue_bytes: usize,
}

/// Two batches in flight as a rule: one is prepared while the other commits.
const LIVE: EnvironmentLimits =
    EnvironmentLimits { batches_in_flight: 2..=4, batch_divisor: 1, queue_bytes: 32 * 1024 * 1024 };

/// Small batches, one at a time: they keep Postgres busy only briefly when a live batch comes.
const TEST: EnvironmentLimits =
    EnvironmentLimits { batches_in_flight: 1..=1, batch_divisor: 4, queue_bytes: 8 * 1024 * 1024 };

/// Connections to Postgres at most: of the committers, and of the drainer.
pub const CONNECTIONS: u32 = (*LIVE.batches_in_flight.end() + *TEST.batches_in_flight.end() + 1) as u32;

#[derive(Clone, Copy)]
pub struct Settings {
    /// The most deliveries in a live batch.
    pub max_batch: usize,
    /// Of one batch to Postgres.
    pub write_timeout: Duration,
}

/// What an inbox works with.
pub struct Parts {
    pub clock: Arc<ReceiptClock>,
    /// Each committer and the drainer have another one like it.
    pub writer: Writer,
    pub spools: Option<Spools>,
    pub metrics: Arc<Metrics>,
    /// Nothing is written to Postgres while this is false.
    pub schema_ready: Arc<AtomicBool>,
    /// Set while the last write to Postgres failed.
    pub writes_fail: Arc<AtomicBool>,
    /// Told of each commit.
    pub commits: Arc<Commits>,
}

/// Clones share the queues, which are closed by [`Self::close`] or when the last clone is dropped;
/// what is queued then is still made durable.
#[derive(Clone)]
pub struct Inbox {
    live: Queue,
    test: Queue,
}

impl Inbox {
    /// Spawns the batchers, which end when their queue is closed and empty, the committers, which end after them, and the
    /// drainer, which ends when its stage is stopped.
    pub fn start(settings: Settings, parts: Parts, tasks: &mut Tasks) -> Self {
        let Settings { max_batch, write_timeout } = settings;
        let Parts { clock, writer, spools, metrics, schema_ready, writes_fail, commits } = parts;
        let quota = Arc::clone(writer.quota());
        let context =
            Arc::new(Context { max_batch, write_timeout, quota, metrics, schema_ready, writes_fail, commits });
        let spools = spools.map(|spools| [spools.live, spools.test].map(|spool| Arc::new(FairSpool::new(spool))));
        let (live_spool, test_spool) = spools.clone().map(|[live, test]| (live, test)).unzip();

        let mut start = |limits: &EnvironmentLimits, spool: Option<Arc<FairSpool>>| {
            let max_batch = (max_batch / limits.batch_divisor).max(1);
            let (few, many) = (*limits.batches_in_flight.start(), *limits.batches_in_flight.end());
            let max_queued = max_batch.max(MIN_QUEUED_BATCH) * QUEUED_BATCHES * few;
            let depth = QueueDepth::new(max_queued, limits.queue_bytes);
            let (queue, incoming) = Queue::new(depth.clone(), Arc::clone(&clock));
            let in_flight = Arc::new(InFlight::new(BatchLimit::new(few, many)));
            for _ in 0..many {
                let (in_flight, context) = (Arc::clone(&in_flight), Arc::clone(&context));
                let committer = Committer::new(in_flight, spool.clone(), writer.another(), context);
                tasks.spawn("committer", Stage::Commit, async move {
                    committer.run().await;
                    Ok(())
                });
            }
            let batcher = Batcher::new(incoming, in_flight, depth, max_batch);
            tasks.spawn("batcher", Stage::Commit, async move {
                batcher.run().await;
                Ok(())
            });
            queue
        };
        let inbox = Self { live: start(&LIVE, live_spool), test: start(&TEST, test_spool) };
        if let Some(spools) = spools {
            let drainer = Drainer::new(spools, writer, context);
            let stop = tasks.soft_token(Stage::Drain);
            tasks.spawn("drainer", Stage::Drain, async move {
                stop.run_until_cancelled(drainer.run()).await;
                Ok(())
            });
        }
        inbox
    }

    /// Refuses further deliveries; the committers end after what is queued.
    pub fn close(&self) {
        self.live.close();
        self.test.close();
    }

    pub fn depth(&self, environment: Environment) -> QueueDepth {
        self.queue(environment).depth().clone()
    }

    /// Queues a delivery at once; the future waits for its outcome and may be dropped. `since`: when the delivery began to
    /// wait, for the metrics.
    ///
    /// [`Outcome::NotDurable`]: the queue is full or closed, or neither Postgres nor the spool took the delivery. It may be
    /// stored all the same; to submit it again is safe.
    pub fn submit(&self, delivery: Delivery, since: Instant) -> impl Future<Output = Outcome> + use<> {
        let outcome = self.queue(delivery.environment()).put(delivery, since);
        async {
            match outcome {
                Some(outcome) => outcome.await.unwrap_or(Outcome::NotDurable),
                None => Outcome::NotDurable,
            }
        }
    }

    fn queue(&self, environment: Environment) -> &Queue {
        match environment {
            Environment::Live => &self.live,
            Environment::Test => &self.test,
        }
    }
}
