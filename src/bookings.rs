//! The bookings that the agency expects, the state of every booking, and those that wait for somebody: no provider repeats
//! a lost callback, and airlines cancel what is not ticketed in time.
//!
//! - *Expected*: announced, in the table `bookings`.
//! - *Overdue*: its `expected_by` has passed, and its state is no final status. An item of the feed, once for each value of
//!   `expected_by`.
//! - *Stuck*: its state is `pending`, `confirmed` or `partially_ticketed`, and nothing was received for
//!   `bookings.stuck_after_minutes`.
//!
//! Both are known from the database alone; nothing here is asked by a delivery or makes one wait. Looking for them would mean
//! to scan `ticket_events`, and an index that finds them there would cost every delivery. So the events are read once, from
//! the feed, by a consumer of the service's own (`bookings`), which keeps two small things up to date: `open_bookings`, the
//! bookings without a final status, and `bookings.is_settled`, which takes an expected booking out of the index of deadlines.
//! Both say where to look; what is answered or put into the feed is decided by the booking's own newest revision, found by
//! its key.
//!
//! Invariants:
//!
//! - The events are followed in the order of the feed, and each booking is looked at as it is now: whatever comes later is
//!   read again. So the two are right once the consumer has read everything.
//! - The item of an overdue booking is inserted by the statement that finds it due, which also notes that it is inserted.
//!   Every replica runs it; the second one finds the row changed.
//! - A booking that becomes final in the same moment has both in the feed, in either order. The item says which status it
//!   had; a consumer that acts on it looks at the state first.

mod changes;
mod cursor;

use std::sync::Arc;

pub use self::changes::{Change, Changes, Difference};
use self::{changes::compare, cursor::ranges_after};
use crate::{
    metrics::BookingMetrics,
    providers,
    store::{
        Announced, BookingCount, BookingFilter, BookingKey, BookingRange, BookingRevision, BookingState,
        DifferenceKind, ExpectedBy, MAX_BOOKING_REVISIONS, Period, Pool, ReconciliationRow,
    },
    ticket_event::Environment,
};

pub use self::cursor::InvalidListCursor;

/// Announces, lists and watches bookings. Clones share the connections.
#[derive(Clone)]
pub struct Bookings {
    pool: Pool,
    stuck_after_minutes: i32,
    metrics: Arc<BookingMetrics>,
}

/// What is listed.
#[derive(Clone, Copy, Debug)]
pub struct ListFilter {
    /// Only those that are overdue.
    pub overdue: bool,
    /// Only those that are stuck.
    pub stuck: bool,
    pub provider: Option<&'static str>,
    pub environment: Option<Environment>,
}

/// Bookings in the order of their keys.
#[derive(Debug)]
pub struct Page {
    pub bookings: Vec<BookingState>,
    /// Where to go on; `None` at the end.
    pub next: Option<String>,
}

/// A booking and what was said about it.
#[derive(Debug)]
pub struct History {
    pub state: BookingState,
    /// The newest, in their order, each with what it changed.
    pub revisions: Vec<(BookingRevision, Option<Changes>)>,
    /// Whether there are older ones.
    pub is_truncated: bool,
}

impl Bookings {
    pub fn new(pool: Pool, stuck_after_minutes: i32, metrics: Arc<BookingMetrics>) -> Self {
        Self { pool, stuck_after_minutes, metrics }
    }

    /// Announces bookings, each key once, or changes what is expected of them.
    pub async fn announce(&self, bookings: &[(BookingKey, ExpectedBy)]) -> sqlx::Result<Announced> {
        self.pool.announce(bookings).await
    }

    /// Whether it was expected.
    pub async fn withdraw(&self, key: &BookingKey) -> sqlx::Result<bool> {
        self.pool.withdraw(key).await
    }

    /// `None`: neither expected nor any event.
    pub async fn state(&self, key: &BookingKey) -> sqlx::Result<Option<BookingState>> {
        let mut snapshot = self.pool.read().await?;
        self.pool.booking_state(&mut snapshot, key, self.stuck_after_minutes).await
    }

    /// `None`: neither expected nor any event.
    pub async fn history(&self, key: &BookingKey) -> sqlx::Result<Option<History>> {
        let mut snapshot = self.pool.read().await?;
        let state = self.pool.booking_state(&mut snapshot, key, self.stuck_after_minutes).await?;
        let Some(state) = state else { return Ok(None) };
        let revisions = self.pool.booking_revisions(&mut snapshot, key).await?;
        let is_truncated = i64::from(state.revisions) > MAX_BOOKING_REVISIONS;
        let compared = revisions.into_iter().map(|revision| {
            let changes = revision.before.as_ref().map(|before| compare(before, &revision.content));
            (revision, changes)
        });
        Ok(Some(History { state, revisions: compared.collect(), is_truncated }))
    }

    /// Up to `limit` bookings behind a cursor. A page may have fewer than there are: candidates that are no longer
    /// overdue or stuck are left out.
    ///
    /// # Errors
    ///
    /// The cursor is none of a list of bookings.
    pub async fn list(
        &self,
        filter: ListFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<sqlx::Result<Page>, InvalidListCursor> {
        let ranges = ranges_after(all_ranges(filter), after)?;
        Ok(self.page(filter, &ranges, limit).await)
    }

    async fn page(&self, filter: ListFilter, ranges: &[BookingRange], limit: usize) -> sqlx::Result<Page> {
        let ListFilter { overdue, stuck, .. } = filter;
        // one more tells whether there are more
        let most = i64::try_from(limit).unwrap_or(i64::MAX - 1) + 1;
        let asked = BookingFilter { overdue, stuck };
        let mut bookings = self.pool.bookings(ranges, asked, most, self.stuck_after_minutes).await?;
        let has_more = bookings.len() > limit;
        bookings.truncate(limit);
        let next = bookings.last().filter(|_| has_more).map(cursor::behind);
        bookings.retain(|booking| (!overdue || booking.is_overdue) && (!stuck || booking.is_stuck));
        Ok(Page { bookings, next })
    }

    /// Up to `limit` differences of each kind, and whether there may be more.
    pub async fn reconcile(&self, period: &Period, limit: i64) -> sqlx::Result<(Vec<ReconciliationRow>, bool)> {
        let (mut rows, mut is_truncated) = self.pool.reconcile(period, limit + 1).await?;
        for kind in DifferenceKind::ALL {
            let mut of_kind = 0;
            rows.retain(|row| {
                of_kind += i64::from(row.kind == kind);
                row.kind != kind || of_kind <= limit
            });
            is_truncated |= of_kind > limit;
        }
        Ok((rows, is_truncated))
    }

    /// A step of the task in the background: puts what became overdue into the feed, follows the feed, counts. Whether
    /// there is more to do at once.
    pub async fn watch(&self) -> sqlx::Result<bool> {
        loop {
            let (noted, has_more) = self.pool.note_overdue().await?;
            if noted > 0 {
                tracing::warn!(count = noted, "bookings have become overdue");
            }
            if !has_more {
                break;
            }
        }
        if self.pool.follow_bookings().await? {
            return Ok(true);
        }
        self.metrics.set(&self.counts().await?);
        Ok(false)
    }

    /// How many are overdue or stuck, up to 10,000 of each kind; what is not given is 0.
    pub async fn counts(&self) -> sqlx::Result<Vec<BookingCount>> {
        self.pool.count_bookings(self.stuck_after_minutes).await
    }
}

/// In the order of the list.
fn all_ranges(filter: ListFilter) -> Vec<BookingRange> {
    let mut providers: Vec<_> = providers::names().collect();
    providers.sort_unstable();
    providers.retain(|provider| filter.provider.is_none_or(|wanted| wanted == *provider));
    let environments = [Environment::Live, Environment::Test];
    let environments = environments.into_iter().filter(|one| filter.environment.is_none_or(|wanted| wanted == *one));
    let environments: Vec<_> = environments.map(Environment::as_str).collect();
    let of_provider = |provider: &'static str| {
        environments.iter().map(move |environment| BookingRange { provider, environment, after: String::new() })
    };
    providers.into_iter().flat_map(of_provider).collect()
}
