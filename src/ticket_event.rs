//! The common model: what a delivery states about a booking, whichever provider sent it.
//!
//! It depends on no provider and no database. The spool serializes `Booking`: a new field must have a serde default, so
//! that records of an older version stay readable.

use std::collections::HashSet;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use time::{Date, OffsetDateTime};
use utoipa::ToSchema;
use uuid::Uuid;

/// Up to this many items, comparing pairs is cheaper than hashing.
const MAX_PAIRWISE: usize = 8;

/// Of an account. Part of a booking's key: a delivery of a test account never affects a live booking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Environment {
    Test,
    Live,
}

impl Environment {
    /// As in the configuration, in Postgres, logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Test => "test",
            Self::Live => "live",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Every passenger has a ticket.
    Ticketed,
    /// Some passengers have a ticket.
    PartiallyTicketed,
    /// The provider reports success, and no passenger has a ticket number.
    Confirmed,
    Pending,
    /// Not booked; the remark gives the reason.
    Failed,
    /// Given up by the provider; the remark gives the reason.
    Aborted,
    Cancelled,
}

impl Status {
    pub const ALL: [Self; 7] = [
        Self::Ticketed,
        Self::PartiallyTicketed,
        Self::Confirmed,
        Self::Pending,
        Self::Failed,
        Self::Aborted,
        Self::Cancelled,
    ];

    /// As in Postgres and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ticketed => "ticketed",
            Self::PartiallyTicketed => "partially_ticketed",
            Self::Confirmed => "confirmed",
            Self::Pending => "pending",
            Self::Failed => "failed",
            Self::Aborted => "aborted",
            Self::Cancelled => "cancelled",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ticket {
    /// As it was sent, trimmed. Of a range only the first number has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub raw: Option<CompactString>,
    /// For comparison: upper case, without white space and dashes.
    #[schema(value_type = String)]
    pub number: CompactString,
}

impl Ticket {
    fn text_bytes(&self) -> usize {
        self.raw.as_ref().map_or(0, CompactString::len) + self.number.len()
    }
}

/// A JSON value in the text in which it was sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RawJson(Box<RawValue>);

impl RawJson {
    /// # Panics
    ///
    /// `json` is not valid JSON.
    pub fn new(json: String) -> Self {
        Self(RawValue::from_string(json).expect("the caller passes valid JSON"))
    }

    pub fn as_str(&self) -> &str {
        self.0.get()
    }
}

impl PartialEq for RawJson {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for RawJson {}

/// For comparing record locators and ticket numbers. Fast path for ASCII.
pub fn upper_case(mut text: CompactString) -> CompactString {
    if !text.is_ascii() {
        return text.to_uppercase();
    }
    text.make_ascii_uppercase();
    text
}

/// Keeps the first of all items with equal texts, in their order.
pub fn deduplicated<T>(mut items: Vec<T>, text: impl Fn(&T) -> &str) -> Vec<T> {
    if items.len() <= MAX_PAIRWISE {
        let mut at = 1;
        while at < items.len() {
            if items[..at].iter().any(|item| text(item) == text(&items[at])) {
                items.remove(at);
            } else {
                at += 1;
            }
        }
        return items;
    }
    let mut seen = HashSet::new();
    let is_first: Vec<_> = items.iter().map(|item| seen.insert(text(item))).collect();
    let mut is_first = is_first.into_iter();
    items.retain(|_| is_first.next() == Some(true));
    // a hundred thousand copies of one number would keep megabytes for it
    items.shrink_to_fit();
    items
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PassengerType {
    Adult,
    /// With a seat.
    Child,
    /// Without a seat.
    Infant,
    /// A code that the provider's document does not define.
    Unknown,
}

/// An identity document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Document {
    /// The provider's code: `PP` is a passport.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub r#type: Option<CompactString>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub number: Option<CompactString>,
    /// A country.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub issued_by: Option<CompactString>,
    /// The last day on which it is valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_on: Option<Date>,
}

/// A traveller. In JSON, what was not sent is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Passenger {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub title: Option<CompactString>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub first_name: Option<CompactString>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub middle_name: Option<CompactString>,
    /// The whole name where it cannot be divided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub last_name: Option<CompactString>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#type: Option<PassengerType>,
    /// `F` or `M`, else as it was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub gender: Option<CompactString>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub birth_date: Option<Date>,
    /// A country code in upper case, else as it was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub nationality: Option<CompactString>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<Document>,
    /// Without duplicate numbers.
    #[serde(default)]
    pub tickets: Vec<Ticket>,
    /// Upper case, without duplicates; only `order_ticketed` sends them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub airline_pnrs: Option<Vec<CompactString>>,
    /// Services beside the flight; only `order_ticketed` sends them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub ancillaries: Option<RawJson>,
}

/// The normalized content of one delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Booking {
    /// The provider's own key of the booking.
    pub booking_ref: CompactString,
    pub status: Status,
    /// The booking's own record locator, upper case.
    pub pnr: Option<CompactString>,
    /// The record locator in the distribution system, upper case.
    pub gds_pnr: Option<CompactString>,
    /// The airlines' record locators of the booking and its passengers, upper case, without duplicates.
    pub airline_pnrs: Vec<CompactString>,
    /// The number that the provider shows to people.
    pub booking_number: Option<CompactString>,
    /// The provider's identifier of the request.
    pub trace_id: Option<CompactString>,
    /// The provider's internal status; informational.
    pub provider_status: Option<CompactString>,
    /// The provider's text, for example why a booking failed.
    pub remark: Option<CompactString>,
    pub passengers: Vec<Passenger>,
    /// What was missing or malformed. The texts name fields and never repeat values.
    pub warnings: Vec<String>,
}

impl Booking {
    /// The heap memory of its lists, in bytes, roughly.
    pub fn memory_bytes(&self) -> usize {
        let remark = self.remark.as_ref().map_or(0, CompactString::len);
        let locators = |list: &[CompactString]| size_of_val(list) + list.iter().map(CompactString::len).sum::<usize>();
        let warnings = self.warnings.iter().map(|warning| size_of::<String>() + warning.len()).sum::<usize>();
        let passengers = self.passengers.iter().map(|passenger| {
            size_of::<Passenger>()
                + size_of_val(passenger.tickets.as_slice())
                + passenger.tickets.iter().map(Ticket::text_bytes).sum::<usize>()
                + passenger.airline_pnrs.as_deref().map_or(0, locators)
                + passenger.ancillaries.as_ref().map_or(0, |ancillaries| ancillaries.as_str().len())
        });
        locators(&self.airline_pnrs) + remark + warnings + passengers.sum::<usize>()
    }

    /// The normalized numbers of all passengers, without duplicates.
    pub fn ticket_numbers(&self) -> Vec<&str> {
        let tickets = self.passengers.iter().flat_map(|passenger| &passenger.tickets);
        deduplicated(tickets.map(|ticket| ticket.number.as_str()).collect(), |number| number)
    }
}

/// A normalized delivery, ready to be recorded.
#[derive(Clone, Debug)]
pub struct TicketEvent {
    /// UUIDv7 of the time of receipt.
    pub id: Uuid,
    pub provider: &'static str,
    /// The name of the account.
    pub account: CompactString,
    pub environment: Environment,
    pub booking: Booking,
    /// The redacted JSON.
    pub payload: String,
    /// Equal for duplicates; see [`RedactedPayload::content_hash`](crate::payload::RedactedPayload::content_hash).
    pub content_hash: [u8; 32],
    /// Whether normalizing the payload again gives the same booking: not where a secret was replaced in it, nor where the
    /// body was not JSON in UTF-8. The spool then stores the booking too.
    pub is_restorable: bool,
    pub received_at: OffsetDateTime,
}
