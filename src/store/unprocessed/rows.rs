//! Reads unprocessed deliveries: for the admin API, and to reprocess them.

use compact_str::CompactString;
use serde::Serialize;
use sqlx::{Row, postgres::PgRow};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    delivery::{Reason, UnprocessedDelivery},
    store::Pool,
    ticket_event::Environment,
};

/// More are not counted.
const MAX_COUNTED: i64 = 100_000;

/// A row of `unprocessed_deliveries` without the body.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UnprocessedRow {
    pub id: Uuid,
    pub provider: String,
    pub account: String,
    pub environment: Environment,
    pub reason: Reason,
    /// The reason in words that name the fields.
    pub detail: String,
    /// Where it is known; always for `unknown_booking`.
    pub booking_ref: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub received_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub last_received_at: OffsetDateTime,
    /// Deliveries with the same body.
    pub delivery_count: i32,
    #[serde(with = "time::serde::rfc3339::option")]
    pub reprocessed_at: Option<OffsetDateTime>,
    /// The event that it became or repeats.
    pub event_id: Option<Uuid>,
    /// When its body was erased: it cannot be reprocessed any more.
    #[serde(with = "time::serde::rfc3339::option")]
    pub erased_at: Option<OffsetDateTime>,
}

/// Which rows are wanted; `None` is any.
#[derive(Clone, Debug, Default)]
pub struct UnprocessedFilter {
    pub provider: Option<String>,
    pub environment: Option<Environment>,
    pub reason: Option<Reason>,
    pub is_reprocessed: Option<bool>,
    /// Received then or later.
    pub since: Option<OffsetDateTime>,
}

impl UnprocessedRow {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let (environment, reason): (&str, &str) = (row.try_get("environment")?, row.try_get("reason")?);
        let unknown = |text: &str| sqlx::Error::Decode(format!("{text} is not known to this version").into());
        Ok(Self {
            id: row.try_get("id")?,
            provider: row.try_get("provider")?,
            account: row.try_get("account")?,
            environment: if environment == "live" { Environment::Live } else { Environment::Test },
            reason: Reason::ALL.into_iter().find(|one| one.as_str() == reason).ok_or_else(|| unknown(reason))?,
            detail: row.try_get("detail")?,
            booking_ref: row.try_get("booking_ref")?,
            received_at: row.try_get("received_at")?,
            last_received_at: row.try_get("last_received_at")?,
            delivery_count: row.try_get("delivery_count")?,
            reprocessed_at: row.try_get("reprocessed_at")?,
            event_id: row.try_get("event_id")?,
            erased_at: row.try_get("erased_at")?,
        })
    }

    /// As it was handed in to be stored.
    pub fn delivery(&self, body: Vec<u8>) -> UnprocessedDelivery {
        UnprocessedDelivery {
            id: self.id,
            provider: self.provider.clone(),
            account: CompactString::from(&self.account),
            environment: self.environment,
            reason: self.reason,
            detail: self.detail.clone(),
            booking_ref: self.booking_ref.as_deref().map(CompactString::from),
            body,
            received_at: self.received_at,
        }
    }
}

impl Pool {
    /// Up to `limit` rows, the newest first; `after` is the last one that was given before.
    pub(crate) async fn unprocessed_rows(
        &self,
        filter: &UnprocessedFilter,
        after: Option<Uuid>,
        limit: i64,
    ) -> sqlx::Result<Vec<UnprocessedRow>> {
        let mut snapshot = self.read().await?;
        let query = self.query(include_str!("list.sql")).bind(after).bind(limit);
        let rows = bind_filter(query, filter).fetch_all(&mut *snapshot).await?;
        rows.iter().map(UnprocessedRow::from_row).collect()
    }

    /// The ids of up to `limit` rows that are not reprocessed, in the order of receipt; `after` is the last one before.
    pub(crate) async fn waiting_ids(
        &self,
        filter: &UnprocessedFilter,
        after: Option<Uuid>,
        limit: i64,
    ) -> sqlx::Result<Vec<Uuid>> {
        let mut snapshot = self.read().await?;
        let query = self.query(include_str!("waiting.sql")).bind(after).bind(limit);
        let rows = bind_filter(query, filter).fetch_all(&mut *snapshot).await?;
        rows.iter().map(|row| row.try_get(0)).collect()
    }

    /// The ids of up to `limit` rows whose booking was not known and is now, in the order of receipt.
    pub(crate) async fn announced_ids(&self, after: Option<Uuid>, limit: i64) -> sqlx::Result<Vec<Uuid>> {
        let mut snapshot = self.read().await?;
        let query = self.query(include_str!("announced.sql")).bind(after).bind(limit);
        query.fetch_all(&mut *snapshot).await?.iter().map(|row| row.try_get(0)).collect()
    }

    /// A row and its body.
    pub(crate) async fn unprocessed_row(&self, id: Uuid) -> sqlx::Result<Option<(UnprocessedRow, Vec<u8>)>> {
        let mut snapshot = self.read().await?;
        let query = "select id, provider, account, environment, reason, detail, booking_ref, body, received_at, \
                     last_received_at, delivery_count, reprocessed_at, event_id, erased_at from unprocessed_deliveries where id = $1";
        let row = self.query(query).bind(id).fetch_optional(&mut *snapshot).await?;
        row.map(|row| Ok((UnprocessedRow::from_row(&row)?, row.try_get("body")?))).transpose()
    }

    /// How many rows wait for each reason. Counts up to [`MAX_COUNTED`].
    pub(crate) async fn count_waiting(&self) -> sqlx::Result<[u64; Reason::ALL.len()]> {
        let mut snapshot = self.read().await?;
        let query = "select reason, count(*) from (select reason from unprocessed_deliveries where reprocessed_at is null \
                     and erased_at is null limit $1) as waiting group by reason";
        let rows = self.query(query).bind(MAX_COUNTED).fetch_all(&mut *snapshot).await?;
        let mut counts = [0; Reason::ALL.len()];
        for row in rows {
            let (reason, count): (&str, i64) = (row.try_get(0)?, row.try_get(1)?);
            if let Some(index) = Reason::ALL.iter().position(|one| one.as_str() == reason) {
                counts[index] = count.unsigned_abs();
            }
        }
        Ok(counts)
    }
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

fn bind_filter<'q>(query: Query<'q>, filter: &'q UnprocessedFilter) -> Query<'q> {
    query
        .bind(&filter.provider)
        .bind(filter.environment.map(Environment::as_str))
        .bind(filter.reason.map(Reason::as_str))
        .bind(filter.is_reprocessed)
        .bind(filter.since)
}
