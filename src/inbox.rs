//! Where deliveries wait to be made durable together.
//!
//! A commit costs one sync however many rows it carries. What arrives while one batch commits forms the next; a lone
//! delivery goes at once. Two batches are in flight at most.
//!
//! What always holds:
//!
//! - A caller has its receipt only after its own delivery is durable: committed in Postgres, or synced to the spool.
//! - A delivery goes to the spool when Postgres does not take it in time, and as long as others wait there before it.
//! - The queue is bounded: what does not fit is refused at once.
//! - A delivery that was taken in is seen through, also when its caller goes away.

mod committer;
mod drainer;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::{Mutex, mpsc, oneshot},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use self::{committer::Committer, drainer::Drainer};
use crate::{
    delivery::{Delivery, Receipt},
    metrics::Metrics,
    spool::Spool,
    store::Writer,
};

/// Batches in flight.
const COMMITTERS: usize = 2;

/// Deliveries that may wait for a batch: four full batches for each committer, that is, well below a second.
const QUEUE_BATCHES: usize = 4 * COMMITTERS;

/// How deliveries are made durable.
pub struct Settings {
    /// The most deliveries in one commit.
    pub max_batch: usize,
    /// Past this a write counts as failed.
    pub write_timeout: Duration,
}

/// The way in. Clones lead to the same queue; when the last is gone, what waits is still seen through.
#[derive(Clone)]
pub struct Inbox {
    queue: mpsc::Sender<Waiting>,
}

/// It could not be made durable now.
#[derive(Debug, thiserror::Error)]
#[error("the delivery could not be made durable")]
pub struct NotDurable;

struct Waiting {
    delivery: Delivery,
    since: Instant,
    answer: oneshot::Sender<Receipt>,
}

/// What committers and drainer share.
struct Shared {
    settings: Settings,
    spool: Option<Spool>,
    metrics: Arc<Metrics>,
    /// Whether the tables are there: before that, nothing is written to Postgres.
    is_prepared: Arc<AtomicBool>,
    /// Whoever has it may write to the spool. Taken in turns, so that draining gets on under load.
    turn: Mutex<()>,
}

impl Inbox {
    /// Starts the tasks. They end when the last inbox is gone and its queue is empty; the drainer also needs `stop`.
    /// Nothing is written to Postgres before `is_prepared`.
    pub fn start(
        settings: Settings,
        writer: impl Fn() -> Writer,
        spool: Option<Spool>,
        metrics: Arc<Metrics>,
        is_prepared: Arc<AtomicBool>,
        stop: CancellationToken,
        tasks: &mut JoinSet<anyhow::Result<()>>,
    ) -> Self {
        let (sender, queue) = mpsc::channel(settings.max_batch.max(32) * QUEUE_BATCHES);
        let queue = Arc::new(Mutex::new(queue));
        let shared = Arc::new(Shared { settings, spool, metrics, is_prepared, turn: Mutex::new(()) });
        for _ in 0..COMMITTERS {
            let committer = Committer::new(Arc::clone(&queue), writer(), Arc::clone(&shared));
            tasks.spawn(async move {
                committer.run().await;
                Ok(())
            });
        }
        if let Some(spool) = shared.spool.clone() {
            let drainer = Drainer::new(spool, writer(), shared);
            tasks.spawn(async move {
                stop.run_until_cancelled(drainer.run()).await;
                Ok(())
            });
        }
        Self { queue: sender }
    }

    /// The queue, to be looked at.
    pub fn level(&self) -> Level {
        Level(self.queue.downgrade())
    }

    /// Makes a delivery durable, whether somebody waits for the receipt or not. It has been waiting since this moment.
    ///
    /// # Errors
    ///
    /// The queue is full, or neither Postgres nor the spool takes it. Postgres may have taken it all the same: handing
    /// in the same delivery again is safe.
    pub fn submit(
        &self,
        delivery: Delivery,
        since: Instant,
    ) -> impl Future<Output = Result<Receipt, NotDurable>> + use<> {
        let (answer, receipt) = oneshot::channel();
        // what does not fit is dropped, and with it the other end of the receipt
        let _ = self.queue.try_send(Waiting { delivery, since, answer });
        async { receipt.await.map_err(|_| NotDurable) }
    }
}

/// How full the queue is. It is no inbox: the inbox ends when only this is left.
#[derive(Clone)]
pub struct Level(mpsc::WeakSender<Waiting>);

impl Level {
    /// How many deliveries wait, and how many may.
    pub fn read(&self) -> (usize, usize) {
        let queue = self.0.upgrade();
        queue.map_or((0, 0), |queue| (queue.max_capacity() - queue.capacity(), queue.max_capacity()))
    }
}

impl Shared {
    fn is_prepared(&self) -> bool {
        self.is_prepared.load(Ordering::Acquire)
    }
}
