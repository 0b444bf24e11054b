//! What the tasks in the background do, in small steps: each is one transaction.

use sqlx::Row;

use crate::store::{Cursor, Pool, Position};

/// Deadlines that are looked at in one step.
const MAX_DUE: i64 = 500;

/// Events that are read in one step. Its transaction writes, so it holds the feed back as long as it is open.
const MAX_FOLLOWED: i64 = 1000;

/// Of each kind.
const MAX_COUNTED: i64 = 10_000;

/// Why a booking waits for somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BookingKind {
    Overdue,
    Stuck,
}

/// How many bookings of a provider in an environment are overdue or stuck.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BookingCount {
    pub kind: BookingKind,
    pub provider: String,
    pub environment: String,
    pub count: i64,
}

impl Pool {
    /// Puts the bookings whose `expected_by` has passed into the feed. How many, and whether there may be more.
    pub(crate) async fn note_overdue(&self) -> sqlx::Result<(i64, bool)> {
        let mut transaction = self.write_bookings().await?;
        let query = self.query(include_str!("note_overdue.sql")).bind(MAX_DUE);
        let row = query.fetch_one(&mut *transaction).await?;
        let (due, noted): (i64, i64) = (row.try_get("due")?, row.try_get("noted")?);
        transaction.commit().await?;
        Ok((noted, due == MAX_DUE))
    }

    /// Brings `open_bookings` and `is_settled` up to date with the next events of the feed. Whether there may be more.
    pub(crate) async fn follow_bookings(&self) -> sqlx::Result<bool> {
        let mut transaction = self.write_bookings().await?;
        let position = self.consumer_position(&mut transaction, "bookings").await?;
        // whatever else stands there, reading all again is right, too
        let after: Cursor = position.and_then(|position| position.parse().ok()).unwrap_or(Cursor::START);
        let Position { generation, transaction: recorded_xid, sequence } = after.position;
        let row = self
            .query(include_str!("follow.sql"))
            .bind(generation)
            .bind(recorded_xid.to_string())
            .bind(sequence)
            .bind(MAX_FOLLOWED)
            .fetch_one(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(row.try_get::<i64, _>("scanned")? == MAX_FOLLOWED)
    }

    /// Counts up to 10,000 of each kind; what is not given is 0.
    pub(crate) async fn count_bookings(&self, stuck_after_minutes: i32) -> sqlx::Result<Vec<BookingCount>> {
        let mut snapshot = self.read().await?;
        let query = self.query(include_str!("count.sql")).bind(stuck_after_minutes).bind(MAX_COUNTED);
        let rows = query.fetch_all(&mut *snapshot).await?;
        let counts = rows.iter().map(|row| {
            Ok(BookingCount {
                kind: if row.try_get::<&str, _>("kind")? == "overdue" {
                    BookingKind::Overdue
                } else {
                    BookingKind::Stuck
                },
                provider: row.try_get("provider")?,
                environment: row.try_get("environment")?,
                count: row.try_get("count")?,
            })
        });
        counts.collect()
    }
}
