//! The SQL of the reconciliation: what was expected against what came.

use serde::Serialize;
use sqlx::{Row, postgres::PgRow};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use super::Pool;

/// Bookings, and events, that are looked at.
const MAX_SCANNED: i32 = 100_000;

/// What is compared.
#[derive(Clone, Debug)]
pub struct Period {
    pub from: OffsetDateTime,
    /// Not included.
    pub to: OffsetDateTime,
    /// `None`: any.
    pub provider: Option<&'static str>,
    pub environment: Option<&'static str>,
}

/// The kind of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DifferenceKind {
    /// It was announced, and its status is not ticketed.
    NotTicketed,
    /// It is ticketed, or partially, and was not announced.
    NotExpected,
    /// A revision changed a final status.
    Conflict,
    /// A ticket number was reported for several bookings of one environment: one row for each.
    SharedTicketNumber,
}

/// A difference between what was expected and what came.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReconciliationRow {
    pub kind: DifferenceKind,
    pub provider: String,
    pub environment: String,
    pub booking_ref: String,
    /// Of the booking; of a conflict: of the revision. Null when nothing came, and for a shared ticket number.
    pub status: Option<String>,
    /// Only of a conflict.
    pub previous_status: Option<String>,
    /// Only of a shared ticket number.
    pub ticket_number: Option<String>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub expected_by: Option<OffsetDateTime>,
    /// The revision with that status.
    pub event_id: Option<Uuid>,
    /// When the booking was announced, or the event was recorded.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
}

impl DifferenceKind {
    pub const ALL: [Self; 4] = [Self::NotTicketed, Self::NotExpected, Self::Conflict, Self::SharedTicketNumber];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotTicketed => "not_ticketed",
            Self::NotExpected => "not_expected",
            Self::Conflict => "conflict",
            Self::SharedTicketNumber => "shared_ticket_number",
        }
    }
}

impl ReconciliationRow {
    /// `None` for the row that stands for no difference.
    fn from_row(row: &PgRow) -> sqlx::Result<Option<Self>> {
        let kind: Option<&str> = row.try_get("kind")?;
        let Some(kind) = DifferenceKind::ALL.into_iter().find(|one| Some(one.as_str()) == kind) else {
            return Ok(None);
        };
        Ok(Some(Self {
            kind,
            provider: row.try_get("provider")?,
            environment: row.try_get("environment")?,
            booking_ref: row.try_get("booking_ref")?,
            status: row.try_get("status")?,
            previous_status: row.try_get("previous_status")?,
            ticket_number: row.try_get("ticket_number")?,
            expected_by: row.try_get("expected_by")?,
            event_id: row.try_get("event_id")?,
            at: row.try_get("at")?,
        }))
    }
}

impl Pool {
    /// Up to `limit` differences of each kind, and whether not everything was looked at.
    pub(crate) async fn reconcile(&self, period: &Period, limit: i64) -> sqlx::Result<(Vec<ReconciliationRow>, bool)> {
        let mut snapshot = self.read().await?;
        let rows = self
            .query(include_str!("reconciliation.sql"))
            .bind(period.from)
            .bind(period.to)
            .bind(period.provider)
            .bind(period.environment)
            .bind(limit)
            .bind(MAX_SCANNED)
            .fetch_all(&mut *snapshot)
            .await?;
        let is_cut: Option<bool> = rows.first().map(|row| row.try_get("is_cut")).transpose()?;
        let rows = rows.iter().map(ReconciliationRow::from_row).collect::<sqlx::Result<Vec<_>>>()?;
        Ok((rows.into_iter().flatten().collect(), is_cut.unwrap_or_default()))
    }
}
