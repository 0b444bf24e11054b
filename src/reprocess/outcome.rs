//! What became of a delivery that was reprocessed, for the API, the command, the metrics and the log.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{delivery::Reason, metrics::Metrics, store::UnprocessedRow, ticket_event::Environment};

/// A delivery and what became of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReprocessedDelivery {
    pub id: Uuid,
    pub provider: String,
    pub environment: Environment,
    #[serde(flatten)]
    pub outcome: ReprocessOutcome,
}

/// By `outcome`.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum ReprocessOutcome {
    /// It became a revision of its booking.
    Recorded {
        event_id: Uuid,
        booking_ref: String,
        revision: i32,
        /// Later deliveries were recorded before it.
        late: bool,
    },
    /// It repeats an event, and was counted there.
    Duplicate { event_id: Uuid, booking_ref: String, revision: i32 },
    /// It still cannot be processed.
    Unprocessed { reason: Reason, detail: String },
    /// It was reprocessed before.
    AlreadyReprocessed { event_id: Option<Uuid> },
}

impl ReprocessOutcome {
    pub(super) fn count(&self, metrics: &Metrics) {
        match self {
            Self::Recorded { .. } => metrics.reprocessed.recorded.inc(),
            Self::Duplicate { .. } => metrics.reprocessed.duplicate.inc(),
            Self::Unprocessed { .. } => metrics.reprocessed.unprocessed.inc(),
            Self::AlreadyReprocessed { .. } => 0,
        };
    }

    /// One line, without what was delivered.
    pub(super) fn log(&self, row: &UnprocessedRow) {
        let (id, provider, environment) = (row.id, &row.provider, row.environment.as_str());
        macro_rules! line {
            ($level:ident, $outcome:literal, $($field:tt)*) => {
                tracing::$level!(
                    provider, account = row.account, environment, delivery.id = %id, outcome = $outcome, $($field)*
                    "delivery reprocessed"
                )
            };
        }
        match self {
            Self::Recorded { event_id, booking_ref, revision, late } => {
                line!(info, "recorded", booking.reference = booking_ref, event.id = %event_id, event.revision = revision,
                    event.late = late,);
            }
            Self::Duplicate { event_id, booking_ref, revision } => {
                line!(info, "duplicate", booking.reference = booking_ref, event.id = %event_id, event.revision = revision,);
            }
            // tried again and again, an unchanged one is no news
            Self::Unprocessed { reason, detail } if (*reason, detail) == (row.reason, &row.detail) => {
                line!(debug, "unprocessed", reason = reason.as_str(), detail,);
            }
            Self::Unprocessed { reason, detail } => {
                line!(info, "unprocessed", reason = reason.as_str(), detail,);
            }
            Self::AlreadyReprocessed { .. } => {}
        }
    }
}
