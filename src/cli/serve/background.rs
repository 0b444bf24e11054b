//! The tasks that work on the database in the background: every replica runs all of them.
//!
//! Invariants:
//!
//! - A task begins once the tables are up to date, and survives a database that is away: it tries again.
//! - It needs no admin token, and no delivery waits for it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep};

use crate::{
    activity::ActivityWriter,
    bookings::Bookings,
    commits::Commits,
    config::PrivacySettings,
    erase::keep_to_retention,
    forward::Forward,
    lifecycle::{Stage, Tasks},
    reprocess::Reprocessor,
    search::fill_search_keys,
    store::Pool,
    telemetry::RateLimitedWarning,
};

/// Between two looks at the deadlines and at what was recorded.
const BOOKINGS_INTERVAL: Duration = Duration::from_secs(3);

/// Between two looks at whether a booking was announced for which deliveries wait.
const ANNOUNCED_INTERVAL: Duration = Duration::from_secs(2);

/// Between two counts of the deliveries that wait.
const COUNT_INTERVAL: Duration = Duration::from_secs(15);

/// After a step behind which there is more to do, in times that it took.
const PAUSE: u32 = 1;

/// Between two looks at whether the tables are up to date.
const SCHEMA_INTERVAL: Duration = Duration::from_millis(100);

pub(super) struct Background<'a> {
    pub(super) tasks: &'a mut Tasks,
    pub(super) schema_ready: &'a Arc<AtomicBool>,
    pub(super) commits: &'a Arc<Commits>,
}

impl Background<'_> {
    pub(super) fn start(
        &mut self,
        pool: &Pool,
        bookings: &Bookings,
        reprocessor: &Arc<Reprocessor>,
        privacy: &PrivacySettings,
    ) {
        self.spawn("search keys", fill_search_keys(pool.clone(), Arc::clone(self.commits)));
        let bookings = bookings.clone();
        self.repeat("bookings", BOOKINGS_INTERVAL, move || {
            let bookings = bookings.clone();
            async move { bookings.watch().await }
        });
        let announced = Arc::clone(reprocessor);
        self.repeat("reprocessing", ANNOUNCED_INTERVAL, move || {
            let reprocessor = Arc::clone(&announced);
            async move { reprocessor.reprocess_announced().await.map(|()| false) }
        });
        let waiting = Arc::clone(reprocessor);
        self.repeat("count of unprocessed deliveries", COUNT_INTERVAL, move || {
            let reprocessor = Arc::clone(&waiting);
            async move { reprocessor.count_waiting().await.map(|()| false) }
        });
        if let Some(days) = privacy.retention_days {
            self.spawn("retention", keep_to_retention(pool.clone(), Arc::clone(self.commits), days));
        }
    }

    /// Forwards until the service stops, and then until what is being sent has ended.
    pub(super) fn forward(&mut self, forward: Forward) {
        let (stop, schema_ready) = (self.tasks.soft_token(Stage::Intake), Arc::clone(self.schema_ready));
        self.tasks.spawn_in_background("forward", Stage::Intake, async move {
            if stop.run_until_cancelled(wait_for_schema(&schema_ready)).await.is_some() {
                forward.run(stop).await;
            }
            Ok(())
        });
    }

    /// Writes what was received until nothing can come any more.
    pub(super) fn activity(&mut self, writer: ActivityWriter) {
        let (stop, schema_ready) = (self.tasks.soft_token(Stage::Drain), Arc::clone(self.schema_ready));
        self.tasks.spawn_in_background("activity", Stage::Drain, async move {
            stop.run_until_cancelled(wait_for_schema(&schema_ready)).await;
            // also when it was stopped between two looks: something may have come since
            if schema_ready.load(Ordering::Acquire) {
                writer.run(stop).await;
            }
            Ok(())
        });
    }

    /// Runs a step again and again: after a pause in proportion to it while it says that there is more to do, else after the
    /// interval.
    fn repeat<F, E>(&mut self, name: &'static str, interval: Duration, step: impl Fn() -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<bool, E>> + Send,
        E: std::fmt::Display,
    {
        let commits = Arc::clone(self.commits);
        self.spawn(name, async move {
            let warning = RateLimitedWarning::default();
            loop {
                let began = Instant::now();
                let pause = match step().await {
                    Ok(true) => commits.pause_after(began.elapsed(), PAUSE),
                    Ok(false) => interval,
                    Err(error) => {
                        if let Some(times) = warning.due() {
                            tracing::warn!(task = name, times, %error, "a task in the background failed; it tries again");
                        }
                        interval
                    }
                };
                sleep(pause).await;
            }
        });
    }

    /// Runs from when the tables are up to date until the service stops.
    fn spawn(&mut self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let (stop, schema_ready) = (self.tasks.soft_token(Stage::Intake), Arc::clone(self.schema_ready));
        self.tasks.spawn_in_background(name, Stage::Intake, async move {
            let work = async {
                wait_for_schema(&schema_ready).await;
                work.await;
            };
            stop.run_until_cancelled(work).await;
            Ok(())
        });
    }
}

async fn wait_for_schema(schema_ready: &AtomicBool) {
    while !schema_ready.load(Ordering::Acquire) {
        sleep(SCHEMA_INTERVAL).await;
    }
}
