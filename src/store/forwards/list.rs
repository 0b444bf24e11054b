//! What the forwards are asked from outside: how far they are, pausing, resuming, skipping.

use serde::Serialize;
use sqlx::{Row, postgres::PgRow};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::store::{BookingKey, Pool, consumers::MAX_LAG_EVENTS};

/// Why a forward sends nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PauseReason {
    /// Somebody paused it.
    Operator,
    /// The receiver answered 410.
    Gone,
}

/// A forward as the database knows it.
#[derive(Debug)]
pub struct ForwardStatus {
    /// That of its consumer.
    pub name: String,
    /// A cursor.
    pub position: String,
    /// Whether a replica works on it.
    pub is_active: bool,
    pub paused: Option<(PauseReason, OffsetDateTime)>,
    /// Since the first item behind the position was recorded; 0 when there is none.
    pub lag_seconds: f64,
    /// Items behind the position, counted up to 10,000.
    pub lag_events: i64,
    /// Bookings of which an item was tried and not delivered.
    pub blocked_bookings: i64,
    /// Since the first of them was tried first; 0 when there is none.
    pub blocked_seconds: f64,
    /// Items that were given up, ever.
    pub skipped: i64,
}

/// An item that was tried and not delivered.
#[derive(Debug, Serialize, ToSchema)]
pub struct BlockedItem {
    /// Of the item.
    pub id: Uuid,
    pub provider: String,
    pub environment: String,
    pub booking_ref: String,
    #[serde(with = "time::serde::rfc3339")]
    pub recorded_at: OffsetDateTime,
    /// Those that failed.
    pub attempts: i32,
    #[serde(with = "time::serde::rfc3339::option")]
    pub first_attempt_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_attempt_at: Option<OffsetDateTime>,
    /// As in the log, with the HTTP status where there was one: `failed 500`.
    pub last_outcome: Option<String>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub next_attempt_at: Option<OffsetDateTime>,
}

/// An item that was given up.
#[derive(Debug, Serialize, ToSchema)]
pub struct SkippedItem {
    /// Of the item.
    pub id: Uuid,
    pub provider: String,
    pub environment: String,
    pub booking_ref: String,
    /// Those that had failed.
    pub attempts: i32,
    pub last_outcome: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub skipped_at: OffsetDateTime,
}

impl Pool {
    /// Those of these names that were begun.
    pub async fn forwards(&self, names: &[String]) -> sqlx::Result<Vec<ForwardStatus>> {
        let mut snapshot = self.read().await?;
        let query = self.query(include_str!("list.sql")).bind(names).bind(MAX_LAG_EVENTS);
        query.fetch_all(&mut *snapshot).await?.iter().map(ForwardStatus::from_row).collect()
    }

    /// Up to `limit` items that a forward tried and did not deliver, the oldest first.
    pub async fn blocked_items(&self, name: &str, limit: i64) -> sqlx::Result<Vec<BlockedItem>> {
        let mut snapshot = self.read().await?;
        let query = self.query(include_str!("blocked.sql")).bind(name).bind(limit);
        let item = |row: &PgRow| {
            let BookingKey { provider, environment, booking_ref } = BookingKey::from_row(row)?;
            Ok(BlockedItem {
                id: row.try_get("id")?,
                provider,
                environment,
                booking_ref,
                recorded_at: row.try_get("recorded_at")?,
                attempts: row.try_get("attempts")?,
                first_attempt_at: row.try_get("first_attempt_at")?,
                last_attempt_at: row.try_get("last_attempt_at")?,
                last_outcome: row.try_get("last_outcome")?,
                next_attempt_at: row.try_get("next_attempt_at")?,
            })
        };
        query.fetch_all(&mut *snapshot).await?.iter().map(item).collect()
    }

    /// The last `limit` items that were given up, the last first.
    pub async fn skipped_items(&self, name: &str, limit: i64) -> sqlx::Result<Vec<SkippedItem>> {
        let mut snapshot = self.read().await?;
        let query = self.query(include_str!("skips.sql")).bind(name).bind(limit);
        let item = |row: &PgRow| {
            let BookingKey { provider, environment, booking_ref } = BookingKey::from_row(row)?;
            Ok(SkippedItem {
                id: row.try_get("id")?,
                provider,
                environment,
                booking_ref,
                attempts: row.try_get("attempts")?,
                last_outcome: row.try_get("last_outcome")?,
                skipped_at: row.try_get("skipped_at")?,
            })
        };
        query.fetch_all(&mut *snapshot).await?.iter().map(item).collect()
    }

    /// Nothing, if it has not begun.
    pub async fn pause_forward(&self, name: &str) -> sqlx::Result<()> {
        self.control_forward(
            "update forwards set paused_at = coalesce(paused_at, now()), pause_reason = coalesce(pause_reason, 'operator') \
             where name = $1",
            name,
        )
        .await
    }

    /// Also lets what waits be tried at once. Nothing, if it has not begun.
    pub async fn resume_forward(&self, name: &str) -> sqlx::Result<()> {
        self.control_forward(
            "update forwards set paused_at = null, pause_reason = null, not_before = null, resumes = resumes + 1 where name = $1",
            name,
        )
        .await
    }

    async fn control_forward(&self, statement: &'static str, name: &str) -> sqlx::Result<()> {
        let mut transaction = self.write().await?;
        self.query(statement).bind(name).execute(&mut *transaction).await?;
        transaction.commit().await
    }

    /// Gives up an item. Whether it waits to be delivered, or was given up before.
    pub async fn skip_forward_item(&self, name: &str, id: Uuid) -> sqlx::Result<bool> {
        let mut transaction = self.write().await?;
        let skip = self.query(include_str!("skip.sql")).bind(name).bind(id);
        skip.execute(&mut *transaction).await?;
        let is_skipped = self.query("select from forward_skips where forward = $1 and id = $2").bind(name).bind(id);
        let is_skipped = is_skipped.fetch_optional(&mut *transaction).await?.is_some();
        transaction.commit().await?;
        Ok(is_skipped)
    }
}

impl ForwardStatus {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let reason = row.try_get::<Option<&str>, _>("pause_reason")?.map(|reason| match reason {
            "gone" => PauseReason::Gone,
            _ => PauseReason::Operator,
        });
        Ok(Self {
            name: row.try_get("name")?,
            position: row.try_get("position")?,
            is_active: row.try_get("is_active")?,
            paused: reason.zip(row.try_get("paused_at")?),
            lag_seconds: row.try_get("lag_seconds")?,
            lag_events: row.try_get("lag_events")?,
            blocked_bookings: row.try_get("blocked_bookings")?,
            blocked_seconds: row.try_get("blocked_seconds")?,
            skipped: row.try_get("skipped")?,
        })
    }
}
