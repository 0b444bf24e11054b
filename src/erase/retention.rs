//! `privacy.retention_days`: erases what was received longer ago, in the background.
//!
//! A sweep goes by the ids of events, which begin with their time of receipt, from where the last finished sweep ended. What
//! is recorded behind a sweep's time, because it waited in a spool for that long, is found by looking once at everything that
//! was recorded since the sweep before: the consumer `retention` is the position up to which that was done. So nothing is
//! skipped, and no sweep reads the table again.
//!
//! Invariant: the position is taken before the ids are read. What is recorded behind it is looked at by the next sweep, what
//! is before it is seen by this one.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use super::{
    EraseError, How, Report, Subject,
    run::{Bodies, Run},
};
use crate::{
    commits::Commits,
    store::{Person, Pool, RequestedBy, Source},
};

/// Between two sweeps; the first begins with the service.
const INTERVAL: Duration = Duration::from_secs(3600);

/// Until the next sweep after one that failed, or that another replica does.
const RETRY: Duration = Duration::from_secs(30);

/// Runs until it is dropped. All replicas may run it.
pub async fn keep_to_retention(pool: Pool, commits: Arc<Commits>, days: u32) {
    loop {
        let pause = match sweep(&pool, &commits, days).await {
            Ok(report) => {
                if report.events + report.unprocessed_deliveries > 0 {
                    let Report { events, unprocessed_deliveries, .. } = report;
                    tracing::info!(events, unprocessed_deliveries, "personal data was erased by its age");
                }
                if report.is_finished { INTERVAL } else { RETRY }
            }
            Err(error) => {
                tracing::warn!(%error, "personal data is not erased by its age");
                RETRY
            }
        };
        sleep(pause).await;
    }
}

async fn sweep(pool: &Pool, commits: &Commits, days: u32) -> Result<Report, EraseError> {
    let how = How { requested_by: RequestedBy::Retention, is_dry_run: false, deadline: None };
    let mut run = Run::new(pool, Subject::OlderThan(days).erasure(RequestedBy::Retention), how).beside(commits);
    let before = run.received_before();
    let (looked_at, newest, from) = pool.retention_progress().await?;
    let everybody = Person::default();
    run.events(Source::Received { from, before }, &everybody).await?;
    if let Some(from) = looked_at {
        let until = Some(newest.position);
        run.events(Source::Recorded { from, until, received_before: Some(before) }, &everybody).await?;
    }
    run.bodies(Bodies::ReceivedBefore(before)).await?;
    if !run.is_stopped() {
        pool.move_retention(newest).await?;
    }
    run.finish().await
}
