//! The SQL of the bookings: what is expected, the state of each, and what the tasks in the background keep up to date.
//!
//! Invariants:
//!
//! - Everything here that writes several rows of `bookings` takes one lock first, so that two of them cannot deadlock. The
//!   lock is no row's: it gives the transaction no id (see `feed`).
//! - The statement that inserts notices is the first write of its transaction.

mod list;
mod state;
mod watch;

use serde::Serialize;
use sqlx::{Postgres, Row, Transaction, postgres::PgRow};
use time::OffsetDateTime;

pub use self::{
    list::{BookingFilter, BookingRange},
    state::{BookingRevision, BookingState, Compared, MAX_BOOKING_REVISIONS},
    watch::{BookingCount, BookingKind},
};
use super::Pool;

/// Names the lock of those who write `bookings`.
const WRITE_LOCK: i64 = i64::from_be_bytes(*b"bookings");

/// The key of a booking.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct BookingKey {
    pub provider: String,
    pub environment: String,
    pub booking_ref: String,
}

impl BookingKey {
    pub(super) fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            provider: row.try_get("provider")?,
            environment: row.try_get("environment")?,
            booking_ref: row.try_get("booking_ref")?,
        })
    }
}

/// What is to become of `expected_by`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpectedBy {
    /// As it is; none for a booking that is new.
    Keep,
    Set(Option<OffsetDateTime>),
}

/// How many bookings were announced, got another `expected_by`, and were known as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announced {
    pub announced: i64,
    pub changed: i64,
    pub unchanged: i64,
}

impl Pool {
    /// Announces bookings, each key once, or changes them.
    pub(crate) async fn announce(&self, bookings: &[(BookingKey, ExpectedBy)]) -> sqlx::Result<Announced> {
        let text = |part: fn(&BookingKey) -> &str| -> Vec<&str> { bookings.iter().map(|(key, _)| part(key)).collect() };
        let times = bookings.iter().map(|(_, expected_by)| match expected_by {
            ExpectedBy::Keep => None,
            ExpectedBy::Set(time) => *time,
        });
        let times: Vec<Option<OffsetDateTime>> = times.collect();
        let keeps: Vec<bool> = bookings.iter().map(|(_, expected_by)| *expected_by == ExpectedBy::Keep).collect();
        let mut transaction = self.write_bookings().await?;
        let row = self
            .query(include_str!("bookings/announce.sql"))
            .bind(text(|key| &key.provider))
            .bind(text(|key| &key.environment))
            .bind(text(|key| &key.booking_ref))
            .bind(times)
            .bind(keeps)
            .fetch_one(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(Announced {
            announced: row.try_get("announced")?,
            changed: row.try_get("changed")?,
            unchanged: row.try_get("unchanged")?,
        })
    }

    /// Whether the booking was expected.
    pub(crate) async fn withdraw(&self, key: &BookingKey) -> sqlx::Result<bool> {
        let mut transaction = self.write_bookings().await?;
        let deleted = self
            .query("delete from bookings where provider = $1 and environment = $2 and booking_ref = $3")
            .bind(&key.provider)
            .bind(&key.environment)
            .bind(&key.booking_ref)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(deleted.rows_affected() > 0)
    }

    /// A transaction that alone, of those begun here, writes `bookings`.
    async fn write_bookings(&self) -> sqlx::Result<Transaction<'static, Postgres>> {
        let mut transaction = self.write().await?;
        self.query("select pg_advisory_xact_lock($1)").bind(WRITE_LOCK).execute(&mut *transaction).await?;
        Ok(transaction)
    }
}
