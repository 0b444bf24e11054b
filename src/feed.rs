//! The feed: every item once, in an order that never changes, for the agency's own systems.
//!
//! An item is a revision of a booking (a row of `ticket_events`) or a notice about one (`feed_notices`). Their order is
//! (`generation`, `recorded_xid`, `sequence`), and only items of transactions below the oldest that runs are given out
//! (`pg_snapshot_xmin`): no transaction can add an item before one that was given out.
//!
//! Invariants, and what nobody may do:
//!
//! - Within a booking the order is that of its revisions. A batch is one statement in a transaction of its own; its snapshot,
//!   in which it sees the revision before, is taken before it gets its transaction id. So nothing may insert an event or a
//!   notice after another write in its transaction, nor after a lock of rows (`for update`): both would give the
//!   transaction its id before the snapshot of the insert.
//! - Nothing may update `generation`, `recorded_xid` or `sequence`, or delete an item: a cursor names its row.
//! - `generation` is raised only under a lock of `ticket_events` and `feed_notices` that no writing transaction holds, or a
//!   transaction of the older generation could still commit behind items of the newer one.
//! - A cursor is checked in the snapshot in which the items behind it are read.
//! - Nothing that is done for readers happens in a transaction that records a delivery, or before its answer.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::store::{Cursor, FeedError, Filter, Items, Pool};

/// Reads the feed. Clones share the tail.
#[derive(Clone)]
pub struct Feed {
    pool: Pool,
}

/// Where a reader begins.
#[derive(Clone, Copy, Debug)]
pub enum From {
    /// Behind the item of the cursor.
    After(Cursor),
    /// Behind what is there already.
    Now,
}

impl Feed {
    pub fn new(pool: Pool) -> Self {
        Self { pool }
    }

    /// Up to `limit` items that match, and about 4 MiB. When there is none yet, waits up to `wait` for one.
    ///
    /// # Errors
    ///
    /// See [`FeedError`].
    pub async fn page(
        &self,
        from: From,
        filter: &Filter,
        limit: i64,
        include_payload: bool,
        wait: Duration,
    ) -> Result<Items, FeedError> {
        let _ = (wait, Instant::now(), timeout_at::<std::future::Ready<()>>);
        let mut snapshot = self.pool.read().await?;
        let after = match from {
            From::After(cursor) => cursor,
            From::Now => self.pool.newest_cursor(&mut snapshot).await?,
        };
        self.pool.check_cursor(&mut snapshot, after).await?;
        self.pool.next_items(&mut snapshot, after, filter, limit, include_payload).await
    }
}
