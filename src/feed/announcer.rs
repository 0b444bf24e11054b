//! Tells readers of commits: those of this process at once, those of other replicas by a notification of Postgres.
//!
//! Invariant: a notification is sent by a connection of its own, after the commits that it tells of, and gathers those of some
//! 20 ms: in the transaction that records a delivery it would take a lock of the whole cluster until the end of the commit.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use super::tail::Tail;
use crate::{commits::Commits, store::Pool};

/// The channel of the notifications.
pub(super) const CHANNEL: &str = "ticket_feed";

const GATHER_TIME: Duration = Duration::from_millis(20);

/// Of a notification that cannot be sent: readers poll meanwhile.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Announces each commit.
pub(super) async fn run(commits: Arc<Commits>, tail: Arc<Tail>, pool: Pool) {
    loop {
        commits.next().await;
        tail.wake();
        sleep(GATHER_TIME).await;
        if let Err(error) = pool.notify(CHANNEL).await {
            tracing::debug!(%error, "other replicas are not told of commits");
            sleep(RETRY_DELAY).await;
        }
    }
}
