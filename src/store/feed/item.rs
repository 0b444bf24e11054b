//! What the feed gives: a TicketEvent as it is in Postgres, or a notice about a booking.

use serde::Serialize;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use super::Cursor;
use crate::ticket_event::Passenger;

/// An item with its cursor.
#[derive(Debug, Serialize, ToSchema)]
pub struct Item {
    /// The cursor of this item: to go on behind it.
    #[serde(serialize_with = "as_text")]
    #[schema(value_type = String)]
    pub cursor: Cursor,
    #[serde(flatten)]
    pub content: Content,
}

impl Item {
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("all of it is texts, numbers and valid JSON")
    }
}

/// By `type`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Content {
    /// What a provider said about a booking changed.
    Revision(Box<Revision>),
    /// The personal data of an event was erased.
    Erased(Erased),
    /// A booking has no final status although it was expected by now.
    Overdue(Overdue),
}

/// A TicketEvent: a row of `ticket_events`.
#[derive(Debug, Serialize, ToSchema)]
pub struct Revision {
    pub id: Uuid,
    pub provider: String,
    pub account: String,
    pub environment: String,
    pub booking_ref: String,
    pub revision: i32,
    pub late: bool,
    pub status: String,
    pub previous_status: Option<String>,
    pub pnr: Option<String>,
    pub gds_pnr: Option<String>,
    pub airline_pnrs: Vec<String>,
    pub booking_number: Option<String>,
    pub trace_id: Option<String>,
    pub provider_status: Option<String>,
    pub remark: Option<String>,
    #[schema(value_type = Vec<Passenger>)]
    pub passengers: Box<RawValue>,
    pub ticket_numbers: Vec<String>,
    pub warnings: Vec<String>,
    /// The JSON as it was sent, without the credentials; left out unless asked for. Null once it was erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub payload: Option<Box<RawValue>>,
    /// SHA-256 in hexadecimal.
    pub content_hash: String,
    #[serde(with = "time::serde::rfc3339")]
    pub received_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub recorded_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub last_received_at: OffsetDateTime,
    pub delivery_count: i32,
    #[serde(flatten)]
    pub order: Order,
}

/// Where an item stands in the feed. 64-bit numbers are strings.
#[derive(Debug, Serialize, ToSchema)]
pub struct Order {
    pub generation: i32,
    pub recorded_xid: String,
    pub sequence: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Erased {
    /// Of this item.
    pub id: Uuid,
    /// The event that has lost its personal data.
    pub event_id: Uuid,
    pub provider: String,
    pub environment: String,
    pub booking_ref: String,
    #[serde(with = "time::serde::rfc3339")]
    pub recorded_at: OffsetDateTime,
    #[serde(flatten)]
    pub order: Order,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Overdue {
    /// Of this item.
    pub id: Uuid,
    pub provider: String,
    pub environment: String,
    pub booking_ref: String,
    #[serde(with = "time::serde::rfc3339")]
    pub expected_by: OffsetDateTime,
    /// The status of the booking then; null when nothing had come.
    pub status: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub recorded_at: OffsetDateTime,
    #[serde(flatten)]
    pub order: Order,
}

impl Content {
    pub fn provider(&self) -> &str {
        match self {
            Self::Revision(revision) => &revision.provider,
            Self::Erased(erased) => &erased.provider,
            Self::Overdue(overdue) => &overdue.provider,
        }
    }

    pub fn environment(&self) -> &str {
        match self {
            Self::Revision(revision) => &revision.environment,
            Self::Erased(erased) => &erased.environment,
            Self::Overdue(overdue) => &overdue.environment,
        }
    }

    pub fn booking_ref(&self) -> &str {
        match self {
            Self::Revision(revision) => &revision.booking_ref,
            Self::Erased(erased) => &erased.booking_ref,
            Self::Overdue(overdue) => &overdue.booking_ref,
        }
    }

    /// Of the item.
    pub fn id(&self) -> Uuid {
        match self {
            Self::Revision(revision) => revision.id,
            Self::Erased(erased) => erased.id,
            Self::Overdue(overdue) => overdue.id,
        }
    }

    /// Its `type`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Revision(_) => "revision",
            Self::Erased(_) => "erased",
            Self::Overdue(_) => "overdue",
        }
    }

    pub fn recorded_at(&self) -> OffsetDateTime {
        match self {
            Self::Revision(revision) => revision.recorded_at,
            Self::Erased(erased) => erased.recorded_at,
            Self::Overdue(overdue) => overdue.recorded_at,
        }
    }

    /// Of its wide values.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Revision(revision) => {
                revision.passengers.get().len() + revision.payload.as_ref().map_or(0, |payload| payload.get().len())
            }
            Self::Erased(_) | Self::Overdue(_) => 0,
        }
    }

    /// `None` for an erased item, and an overdue one about which nothing had come.
    pub fn status(&self) -> Option<&str> {
        match self {
            Self::Revision(revision) => Some(&revision.status),
            Self::Erased(_) => None,
            Self::Overdue(overdue) => overdue.status.as_deref(),
        }
    }
}

fn as_text<S: serde::Serializer>(cursor: &Cursor, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(cursor)
}
