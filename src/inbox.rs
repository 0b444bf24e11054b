//! Where deliveries wait to be made durable together.
//!
//! A commit costs one sync however many rows it carries. What arrives while one batch commits forms the next; a lone
//! delivery goes at once. Few batches are in flight.
//!
//! Invariants:
//!
//! - A caller has its outcome only after its own delivery is durable: committed in Postgres, or synced to the spool.
//! - A delivery goes to the spool when Postgres does not take it in time, and as long as others of its environment wait
//!   there before it.
//! - The queues are bounded, in deliveries and in bytes: what does not fit is refused at once.
//! - A delivery that was taken in is seen through, also when its caller goes away.
//! - No delivery of a test account is in the way of a live one: each environment has a lane of its own, with its queue,
//!   its committers and its spool.

mod batches;
mod committer;
mod drainer;
mod queue;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{sync::Mutex, task::JoinSet};
use tokio_util::sync::CancellationToken;

pub use self::queue::QueueLevel;
use self::{
    committer::Committer,
    drainer::Drainer,
    queue::{Queue, queue},
};
use crate::{
    clock::ReceiptClock,
    delivery::{Delivery, Outcome},
    metrics::Metrics,
    spool::{Spool, Spools},
    store::{Allowance, Keeper, Writer},
    ticket_event::Environment,
};

/// Deliveries that may wait for a batch: so many full batches for each committer, that is, well below a second.
const QUEUE_BATCHES: usize = 4;

/// What an environment may have.
struct Share {
    /// Batches in flight.
    committers: usize,
    /// A batch has at most so many deliveries, of `inbox.max_batch` the part below the line.
    batch_part: usize,
    /// The bytes of what waits and is being written.
    queue_bytes: usize,
}

/// Two batches in flight: one is made ready while the other commits.
const LIVE: Share = Share { committers: 2, batch_part: 1, queue_bytes: 32 * 1024 * 1024 };

/// Small batches, one at a time: Postgres is soon done with one when a live batch comes.
const TEST: Share = Share { committers: 1, batch_part: 4, queue_bytes: 8 * 1024 * 1024 };

/// How deliveries are made durable.
pub struct Settings {
    /// The most deliveries in one commit.
    pub max_batch: usize,
    /// Past this a write counts as failed.
    pub write_timeout: Duration,
    /// Gives out the times of receipt.
    pub clock: Arc<ReceiptClock>,
}

/// The way in. Clones lead to the same queues; when the last is gone, what waits is still seen through.
#[derive(Clone)]
pub struct Inbox {
    live: Queue,
    test: Queue,
}

/// What committers and drainer share of an environment.
struct Lane {
    spool: Option<Spool>,
    /// Whoever has it may write to the spool. Taken in turns, so that draining gets on under load.
    turn: Mutex<()>,
}

/// What all committers and the drainer share.
struct Shared {
    settings: Settings,
    allowance: Arc<Allowance>,
    metrics: Arc<Metrics>,
    /// Whether the tables are there: before that, nothing is written to Postgres.
    is_prepared: Arc<AtomicBool>,
}

impl Inbox {
    /// Starts the tasks. They end when the last inbox is gone and its queues are empty; the drainer also needs `stop`.
    /// Nothing is written to Postgres before `is_prepared`.
    pub fn start(
        settings: Settings,
        writer: impl Fn(&Arc<Allowance>) -> Writer,
        spools: Option<Spools>,
        metrics: Arc<Metrics>,
        is_prepared: Arc<AtomicBool>,
        stop: CancellationToken,
        tasks: &mut JoinSet<anyhow::Result<()>>,
    ) -> Self {
        let allowance = Arc::default();
        let writer = || writer(&allowance);
        let shared = Arc::new(Shared { settings, allowance: Arc::clone(&allowance), metrics, is_prepared });
        let mut start = |share: Share, spool: Option<Spool>| {
            let max_batch = (shared.settings.max_batch / share.batch_part).max(1);
            let (queue, batches) = queue(
                max_batch.max(32) * QUEUE_BATCHES * share.committers,
                share.queue_bytes,
                Arc::clone(&shared.settings.clock),
            );
            let (batches, lane) = (Arc::new(batches), Arc::new(Lane { spool, turn: Mutex::new(()) }));
            for _ in 0..share.committers {
                let (batches, lane, shared) = (Arc::clone(&batches), Arc::clone(&lane), Arc::clone(&shared));
                let committer = Committer::new(batches, max_batch, lane, writer(), shared);
                tasks.spawn(async move {
                    committer.run().await;
                    Ok(())
                });
            }
            (queue, lane)
        };
        let (live_spool, test_spool) = spools.clone().map(|spools| (spools.live, spools.test)).unzip();
        let (live, live_lane) = start(LIVE, live_spool);
        let (test, test_lane) = start(TEST, test_spool);
        if let Some(spools) = spools {
            let drainer = Drainer::new(spools, [live_lane, test_lane], writer(), shared);
            tasks.spawn(async move {
                stop.run_until_cancelled(drainer.run()).await;
                Ok(())
            });
        }
        Self { live, test }
    }

    /// The queue of an environment, to be looked at.
    pub fn level(&self, environment: Environment) -> QueueLevel {
        self.queue(environment).level().clone()
    }

    /// Makes a delivery durable, whether somebody waits for the outcome or not. It has been waiting since this moment.
    ///
    /// [`Outcome::NotDurable`]: the queue is full, or neither Postgres nor the spool takes it. Postgres may have taken it
    /// all the same: handing in the same delivery again is safe.
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

impl Shared {
    fn is_prepared(&self) -> bool {
        self.is_prepared.load(Ordering::Acquire)
    }

    /// What becomes of a delivery that Postgres does not take, once the spool has taken what it must.
    fn outcome_of_spool(&self, delivery: &Delivery) -> Outcome {
        match delivery {
            Delivery::Unprocessed(unprocessed)
                if unprocessed.reason.is_error() && !self.allowance.admits(unprocessed, Keeper::Spool) =>
            {
                self.metrics.count_not_kept(delivery);
                Outcome::NotKept
            }
            _ => Outcome::Spooled,
        }
    }
}
