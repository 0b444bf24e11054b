//! The record of erasures: the table `erasures`.

use serde::Serialize;
use sqlx::{Postgres, Row, postgres::PgArguments, query::Query};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::store::Pool;

/// Who asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestedBy {
    Command,
    Api,
    Retention,
}

impl RequestedBy {
    fn as_str(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Api => "api",
            Self::Retention => "retention",
        }
    }
}

/// What a row says from the start.
#[derive(Debug)]
pub struct Erasure {
    pub id: Uuid,
    /// `booking`, `name`, `document` or `age`.
    pub subject: &'static str,
    pub requested_by: RequestedBy,
    pub provider: Option<&'static str>,
    pub environment: Option<&'static str>,
    pub booking_ref: Option<String>,
    pub received_before: Option<OffsetDateTime>,
}

/// A row.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErasureRecord {
    pub id: Uuid,
    /// `booking`, `name`, `document` or `age`.
    pub subject: String,
    /// `command`, `api` or `retention`.
    pub requested_by: String,
    pub provider: Option<String>,
    pub environment: Option<String>,
    pub booking_ref: Option<String>,
    /// Of `age`: what was received before this time.
    #[serde(with = "time::serde::rfc3339::option")]
    pub received_before: Option<OffsetDateTime>,
    /// Events from which something was erased.
    pub events: i32,
    /// Unprocessed deliveries whose body was erased.
    pub unprocessed_deliveries: i32,
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
    /// Null: it was interrupted, and is to be asked for again.
    #[serde(with = "time::serde::rfc3339::option")]
    pub finished_at: Option<OffsetDateTime>,
}

impl Erasure {
    /// Binds the columns behind a statement's own parameters.
    pub(super) fn bind<'q>(&self, query: Query<'q, Postgres, PgArguments>) -> Query<'q, Postgres, PgArguments> {
        query
            .bind(self.id)
            .bind(self.subject)
            .bind(self.requested_by.as_str())
            .bind(self.provider)
            .bind(self.environment)
            .bind(self.booking_ref.clone())
            .bind(self.received_before)
    }
}

impl Pool {
    /// Records that nothing is left to erase.
    pub(crate) async fn finish_erasure(&self, erasure: &Erasure) -> sqlx::Result<()> {
        let mut transaction = self.write().await?;
        erasure.bind(self.query(include_str!("finish.sql"))).execute(&mut *transaction).await?;
        transaction.commit().await
    }

    /// Up to `limit` rows, the newest first, before the one with an id.
    pub(crate) async fn erasures(&self, before: Option<Uuid>, limit: i64) -> sqlx::Result<Vec<ErasureRecord>> {
        let query = "select * from erasures where $1::uuid is null or id < $1 order by id desc limit $2";
        let mut snapshot = self.read().await?;
        let rows = self.query(query).bind(before).bind(limit).fetch_all(&mut *snapshot).await?;
        rows.iter()
            .map(|row| {
                Ok(ErasureRecord {
                    id: row.try_get("id")?,
                    subject: row.try_get("subject")?,
                    requested_by: row.try_get("requested_by")?,
                    provider: row.try_get("provider")?,
                    environment: row.try_get("environment")?,
                    booking_ref: row.try_get("booking_ref")?,
                    received_before: row.try_get("received_before")?,
                    events: row.try_get("events")?,
                    unprocessed_deliveries: row.try_get("unprocessed_deliveries")?,
                    started_at: row.try_get("started_at")?,
                    finished_at: row.try_get("finished_at")?,
                })
            })
            .collect()
    }
}
