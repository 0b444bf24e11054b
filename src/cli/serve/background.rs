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

use tokio::time::sleep;

use crate::{
    bookings::Bookings,
    config::PrivacySettings,
    erase::keep_to_retention,
    lifecycle::{Stage, Tasks},
    reprocess::Reprocessor,
    search,
    store::Pool,
    telemetry::RateLimitedWarning,
};

/// Between two looks at the deadlines and at what was recorded.
const BOOKINGS_INTERVAL: Duration = Duration::from_secs(3);

/// Between two looks at whether a booking was announced for which deliveries wait.
const ANNOUNCED_INTERVAL: Duration = Duration::from_secs(2);

/// Between two counts of the deliveries that wait.
const COUNT_INTERVAL: Duration = Duration::from_secs(15);

/// Between two looks at whether the tables are up to date.
const SCHEMA_INTERVAL: Duration = Duration::from_millis(100);

pub(super) fn start(
    tasks: &mut Tasks,
    pool: &Pool,
    schema_ready: &Arc<AtomicBool>,
    bookings: &Bookings,
    reprocessor: &Arc<Reprocessor>,
    privacy: &PrivacySettings,
) {
    let bookings = bookings.clone();
    let watch = move || {
        let bookings = bookings.clone();
        async move { bookings.watch().await }
    };
    search::start(pool.clone(), Arc::clone(schema_ready), tasks);
    repeat(tasks, schema_ready, "bookings", BOOKINGS_INTERVAL, watch);
    let (announced, waiting) = (Arc::clone(reprocessor), Arc::clone(reprocessor));
    repeat(tasks, schema_ready, "reprocessing", ANNOUNCED_INTERVAL, move || {
        let reprocessor = Arc::clone(&announced);
        async move { reprocessor.reprocess_announced().await.map(|()| false) }
    });
    repeat(tasks, schema_ready, "count of unprocessed deliveries", COUNT_INTERVAL, move || {
        let reprocessor = Arc::clone(&waiting);
        async move { reprocessor.count_waiting().await.map(|()| false) }
    });
    if let Some(days) = privacy.retention_days {
        let (stop, pool, schema_ready) = (tasks.soft_token(Stage::Intake), pool.clone(), Arc::clone(schema_ready));
        tasks.spawn_in_background("retention", Stage::Intake, async move {
            stop.run_until_cancelled(keep_to_retention(pool, days, schema_ready)).await;
            Ok(())
        });
    }
}

/// Runs a step again and again until the service stops: at once while it says that there is more to do, else after the
/// interval.
fn repeat<F, E>(
    tasks: &mut Tasks,
    schema_ready: &Arc<AtomicBool>,
    name: &'static str,
    interval: Duration,
    step: impl Fn() -> F + Send + Sync + 'static,
) where
    F: Future<Output = Result<bool, E>> + Send,
    E: std::fmt::Display,
{
    let (stop, schema_ready) = (tasks.soft_token(Stage::Intake), Arc::clone(schema_ready));
    tasks.spawn_in_background(name, Stage::Intake, async move {
        let warning = RateLimitedWarning::default();
        let steps = async {
            while !schema_ready.load(Ordering::Acquire) {
                sleep(SCHEMA_INTERVAL).await;
            }
            loop {
                match step().await {
                    Ok(true) => continue,
                    Ok(false) => {}
                    Err(error) => {
                        if let Some(times) = warning.due() {
                            tracing::warn!(task = name, times, %error, "a task in the background failed; it tries again");
                        }
                    }
                }
                sleep(interval).await;
            }
        };
        stop.run_until_cancelled(steps).await;
        Ok(())
    });
}
