//! The SQL of the activity of all replicas: adding to it, removing what is old, reading it.
//!
//! Invariants:
//!
//! - Counts are added to what other replicas have written, never set.
//! - Times are those of the database, less an age that the replica has measured: clocks of replicas make no difference.

use serde::Serialize;
use serde_json::Value;
use sqlx::FromRow;
use time::OffsetDateTime;

use super::Pool;

/// Rows of `refused_requests` that are kept.
const MAX_REFUSED_REQUESTS: i64 = 2000;

/// What is added to the counts of a provider and environment.
#[derive(Debug, Serialize)]
pub struct AddedCounts {
    pub provider: &'static str,
    /// `none` when the deliveries were rejected before they were queued.
    pub environment: &'static str,
    pub recorded: u64,
    pub duplicates: u64,
    pub unprocessed: u64,
    pub unauthenticated: u64,
    pub unreadable: u64,
    pub unavailable: u64,
    /// Since the newest of them was received, in seconds.
    pub age_seconds: f64,
    /// By the buckets of [`DURATIONS`](crate::metrics::DURATIONS), and one more for what took longer.
    pub durations: Vec<u64>,
}

/// A row that is added to `refused_requests`.
#[derive(Debug, Serialize)]
pub struct AddedRefusal {
    /// Since it was answered, in seconds.
    pub age_seconds: f64,
    pub provider: Option<&'static str>,
    pub reason: &'static str,
    pub detail: Option<String>,
    pub path: Option<String>,
    pub client: Option<String>,
    pub request_id: Option<String>,
    /// How many it stands for.
    pub requests: u64,
}

/// What became of the deliveries of a provider and environment in ten minutes, over all replicas.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct DeliveryCounts {
    /// The start of the ten minutes.
    pub since: OffsetDateTime,
    pub provider: String,
    /// `live`, `test`, or `none` when the deliveries were rejected before they were queued.
    pub environment: String,
    /// New revisions, and what was spooled.
    pub recorded: i64,
    pub duplicates: i64,
    /// Stored in `unprocessed_deliveries`.
    pub unprocessed: i64,
    /// Failed authentications.
    pub unauthenticated: i64,
    /// Too large, too slow, incomplete or in an unsupported encoding.
    pub unreadable: i64,
    /// Kept nowhere: not durable, or beyond the quota of the account.
    pub unavailable: i64,
    pub last_received_at: Option<OffsetDateTime>,
    /// By the buckets of [`DURATIONS`](crate::metrics::DURATIONS), and one more for what took longer. Each authenticated
    /// delivery is in one of them.
    pub durations: Vec<i64>,
}

/// A request that left nothing else behind, or several.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct RefusedRequest {
    /// In the order of writing.
    pub id: i64,
    pub at: OffsetDateTime,
    /// `None` when the path is no provider's, and of several.
    pub provider: Option<String>,
    /// A [`Refusal`](crate::activity::Refusal) as text, or `more`.
    pub reason: String,
    pub detail: Option<String>,
    /// Of a path that is no provider's.
    pub path: Option<String>,
    /// An address of IPv4 or a /64 of IPv6.
    pub client: Option<String>,
    pub request_id: Option<String>,
    /// How many it stands for: 1, unless the reason is `more`.
    pub requests: i64,
}

impl Pool {
    /// Adds to the counts of the current ten minutes and to the refused requests: all of it or nothing.
    pub(crate) async fn add_activity(&self, counts: &[AddedCounts], refused: &[AddedRefusal]) -> sqlx::Result<()> {
        let mut transaction = self.write().await?;
        if !counts.is_empty() {
            let add = self.query(include_str!("activity/add_counts.sql")).bind(json(counts)?);
            add.execute(&mut *transaction).await?;
        }
        if !refused.is_empty() {
            let add = self.query(include_str!("activity/add_refused.sql")).bind(json(refused)?);
            add.execute(&mut *transaction).await?;
            let too_many = "delete from refused_requests \
                            where id <= (select id from refused_requests order by id desc offset $1 limit 1)";
            self.query(too_many).bind(MAX_REFUSED_REQUESTS).execute(&mut *transaction).await?;
        }
        transaction.commit().await
    }

    /// Removes what is old.
    pub(crate) async fn prune_activity(&self) -> sqlx::Result<()> {
        let mut transaction = self.write().await?;
        for old in [
            "delete from delivery_counts where since < now() - interval '8 days'",
            "delete from refused_requests where at < now() - interval '15 minutes'",
        ] {
            self.query(old).execute(&mut *transaction).await?;
        }
        transaction.commit().await
    }

    /// The counts of all periods that began at a time or later, oldest first.
    ///
    /// # Errors
    ///
    /// The database does not answer.
    pub async fn delivery_counts(&self, since: OffsetDateTime) -> sqlx::Result<Vec<DeliveryCounts>> {
        let query = "select since, provider, environment, recorded, duplicates, unprocessed, unauthenticated, unreadable, \
                     unavailable, last_received_at, durations \
                     from delivery_counts where since >= $1 order by since, provider, environment";
        let mut snapshot = self.read().await?;
        let rows = self.query(query).bind(since).fetch_all(&mut *snapshot).await?;
        rows.iter().map(DeliveryCounts::from_row).collect()
    }

    /// The newest refused requests, newest first; with `after_id` only those that were written after this one. Replicas write
    /// at the same time: a row may appear after one with a larger id.
    ///
    /// # Errors
    ///
    /// The database does not answer.
    pub async fn refused_requests(&self, after_id: Option<i64>, limit: i64) -> sqlx::Result<Vec<RefusedRequest>> {
        let query = "select id, at, provider, reason, detail, path, client, request_id, requests \
                     from refused_requests where id > $1 order by id desc limit $2";
        let mut snapshot = self.read().await?;
        let rows = self.query(query).bind(after_id.unwrap_or(0)).bind(limit).fetch_all(&mut *snapshot).await?;
        rows.iter().map(RefusedRequest::from_row).collect()
    }
}

fn json<T: Serialize>(rows: &[T]) -> sqlx::Result<Value> {
    serde_json::to_value(rows).map_err(|error| sqlx::Error::Encode(error.into()))
}
