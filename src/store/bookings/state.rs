//! The state of a booking (the view `booking_states`), and its revisions.

use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::{PgConnection, Row, postgres::PgRow};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use super::BookingKey;
use crate::{
    store::{Pool, feed::raw_json},
    ticket_event::Passenger,
};

/// Of the revisions of one booking that are given, the newest.
pub const MAX_BOOKING_REVISIONS: i64 = 200;

/// Whether a row of `booking_states` is stuck, by the number of minutes.
pub(super) const IS_STUCK: &str =
    "coalesce(is_open and last_received_at < now() - make_interval(mins => {minutes}), false)";

/// For comparing the passengers of two revisions.
const NAME: &str = "concat_ws(' ', passenger ->> 'first_name', passenger ->> 'middle_name', passenger ->> 'last_name')";

/// What is known of a booking that is expected or has events: its newest revision that is not late, and more. Without
/// events all of the revision is null.
#[derive(Debug, Serialize, ToSchema)]
pub struct BookingState {
    pub provider: String,
    pub environment: String,
    pub booking_ref: String,
    /// Whether it was announced.
    pub is_expected: bool,
    #[serde(with = "time::serde::rfc3339::option")]
    pub expected_by: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub announced_at: Option<OffsetDateTime>,
    /// `expected_by` has passed, and there is no final status (ticketed, failed, aborted, cancelled).
    pub is_overdue: bool,
    /// There are events but no final status, and nothing was received for `bookings.stuck_after_minutes`.
    pub is_stuck: bool,
    /// The id of the revision.
    pub event_id: Option<Uuid>,
    pub account: Option<String>,
    pub revision: Option<i32>,
    pub status: Option<String>,
    pub pnr: Option<String>,
    pub gds_pnr: Option<String>,
    pub airline_pnrs: Option<Vec<String>>,
    pub booking_number: Option<String>,
    pub remark: Option<String>,
    /// Only of one booking, not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Passenger>>)]
    pub passengers: Option<Box<RawValue>>,
    /// Those of the revision.
    pub ticket_numbers: Option<Vec<String>>,
    /// Those of all revisions, each once.
    pub all_ticket_numbers: Vec<String>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub first_received_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_received_at: Option<OffsetDateTime>,
    /// How many there are, late ones included.
    pub revisions: i32,
}

impl BookingState {
    pub(super) fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            provider: row.try_get("provider")?,
            environment: row.try_get("environment")?,
            booking_ref: row.try_get("booking_ref")?,
            is_expected: row.try_get("is_expected")?,
            expected_by: row.try_get("expected_by")?,
            announced_at: row.try_get("announced_at")?,
            is_overdue: row.try_get("is_overdue")?,
            is_stuck: row.try_get("is_stuck")?,
            event_id: row.try_get("event_id")?,
            account: row.try_get("account")?,
            revision: row.try_get("revision")?,
            status: row.try_get("status")?,
            pnr: row.try_get("pnr")?,
            gds_pnr: row.try_get("gds_pnr")?,
            airline_pnrs: row.try_get("airline_pnrs")?,
            booking_number: row.try_get("booking_number")?,
            remark: row.try_get("remark")?,
            passengers: None,
            ticket_numbers: row.try_get("ticket_numbers")?,
            all_ticket_numbers: row.try_get("all_ticket_numbers")?,
            first_received_at: row.try_get("first_received_at")?,
            last_received_at: row.try_get("last_received_at")?,
            revisions: row.try_get("revisions")?,
        })
    }
}

/// What two revisions are compared by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    pub status: String,
    pub pnr: Option<String>,
    pub ticket_numbers: Vec<String>,
    pub names: Vec<String>,
}

/// A revision of a booking, and the one that it is compared with.
#[derive(Debug)]
pub struct BookingRevision {
    pub id: Uuid,
    pub revision: i32,
    pub late: bool,
    pub remark: Option<String>,
    pub warnings: Vec<String>,
    pub received_at: OffsetDateTime,
    pub recorded_at: OffsetDateTime,
    pub last_received_at: OffsetDateTime,
    pub delivery_count: i32,
    pub content: Compared,
    /// The revision before it that is not late; none of the first one, nor of one that is late itself.
    pub before: Option<Compared>,
}

impl BookingRevision {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let before = Compared {
            status: row.try_get::<Option<String>, _>("status_before")?.unwrap_or_default(),
            pnr: row.try_get("pnr_before")?,
            ticket_numbers: row.try_get("ticket_numbers_before")?,
            names: row.try_get("passengers_before")?,
        };
        Ok(Self {
            id: row.try_get("id")?,
            revision: row.try_get("revision")?,
            late: row.try_get("late")?,
            remark: row.try_get("remark")?,
            warnings: row.try_get("warnings")?,
            received_at: row.try_get("received_at")?,
            recorded_at: row.try_get("recorded_at")?,
            last_received_at: row.try_get("last_received_at")?,
            delivery_count: row.try_get("delivery_count")?,
            content: Compared {
                status: row.try_get("status")?,
                pnr: row.try_get("pnr")?,
                ticket_numbers: row.try_get("ticket_numbers")?,
                names: row.try_get("passengers")?,
            },
            before: row.try_get::<bool, _>("has_before")?.then_some(before),
        })
    }
}

impl Pool {
    /// `None`: neither expected nor any event.
    pub(crate) async fn booking_state(
        &self,
        connection: &mut PgConnection,
        key: &BookingKey,
        stuck_after_minutes: i32,
    ) -> sqlx::Result<Option<BookingState>> {
        let is_stuck = IS_STUCK.replace("{minutes}", "$4");
        let query = include_str!("state.sql").replace("{is_stuck}", &is_stuck);
        let query = self.query_of_parts(query).bind(&key.provider).bind(&key.environment).bind(&key.booking_ref);
        let Some(row) = query.bind(stuck_after_minutes).fetch_optional(connection).await? else { return Ok(None) };
        let passengers: Option<String> = row.try_get("passengers_text")?;
        let passengers = passengers.map(raw_json).transpose()?;
        Ok(Some(BookingState { passengers, ..BookingState::from_row(&row)? }))
    }

    /// The newest [`MAX_BOOKING_REVISIONS`], in their order.
    pub(crate) async fn booking_revisions(
        &self,
        connection: &mut PgConnection,
        key: &BookingKey,
    ) -> sqlx::Result<Vec<BookingRevision>> {
        let query = include_str!("revisions.sql").replace("{name}", NAME);
        let query = self.query_of_parts(query).bind(&key.provider).bind(&key.environment).bind(&key.booking_ref);
        let rows = query.bind(MAX_BOOKING_REVISIONS).fetch_all(connection).await?;
        rows.iter().map(BookingRevision::from_row).collect()
    }
}
