//! The common record of what a delivery says about a booking, whichever provider sent it.
//!
//! It knows no provider and no database.

use std::collections::HashSet;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use time::{Date, OffsetDateTime};
use uuid::Uuid;

/// Of so many, comparing each with those before it is cheaper than a table of them.
const FEW: usize = 8;

/// Whether an account stands for real bookings. A delivery of a test account never touches a live booking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Environment {
    /// Trials; nothing is paid.
    Test,
    /// Real bookings.
    Live,
}

impl Environment {
    /// The word in the configuration, in Postgres and in the logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Test => "test",
            Self::Live => "live",
        }
    }
}

/// What became of a booking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Every passenger has a ticket.
    Ticketed,
    /// Some passengers have a ticket.
    PartiallyTicketed,
    /// The provider reports success, and no passenger has a ticket number.
    Confirmed,
    /// Not decided yet.
    Pending,
    /// It could not be booked; the remark says why.
    Failed,
    /// It was given up; the remark says why.
    Aborted,
    /// It was cancelled.
    Cancelled,
}

impl Status {
    /// The word in Postgres and in the logs.
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

/// A ticket number as it was sent, and in the form that can be compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// As it was sent, less white space around it. Of several that were sent as one range only the first has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<CompactString>,
    /// Upper case, without white space and dashes.
    pub number: CompactString,
}

/// A JSON value that is kept as it was sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AsSent(Box<RawValue>);

impl AsSent {
    /// Of a text that is known to be JSON.
    pub fn new(json: String) -> Self {
        Self(RawValue::from_string(json).expect("it is known to be JSON"))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }
}

impl PartialEq for AsSent {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for AsSent {}

/// As record locators and ticket numbers are compared. Nearly all are ASCII.
pub fn upper_case(mut text: CompactString) -> CompactString {
    if !text.is_ascii() {
        return text.to_uppercase();
    }
    text.make_ascii_uppercase();
    text
}

/// The first of those with the same text, in their order.
pub fn each_once<T>(mut items: Vec<T>, text: impl Fn(&T) -> &str) -> Vec<T> {
    if items.len() <= FEW {
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
    items
}

/// The age group that a passenger is booked as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PassengerType {
    /// An adult.
    Adult,
    /// A child with a seat of its own.
    Child,
    /// An infant on a lap.
    Infant,
    /// One that the provider's document does not explain.
    Unknown,
}

/// An identity document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// The provider's code, for example `PP` for a passport.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#type: Option<CompactString>,
    /// The number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<CompactString>,
    /// The country that issued it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_by: Option<CompactString>,
    /// The last day on which it is valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_on: Option<Date>,
}

/// A traveller on the booking. What was not sent is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passenger {
    /// For example `Mr`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<CompactString>,
    /// Given name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_name: Option<CompactString>,
    /// Further given names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub middle_name: Option<CompactString>,
    /// Family name; the whole name where it cannot be told apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_name: Option<CompactString>,
    /// The age group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#type: Option<PassengerType>,
    /// `F` or `M`; else as the provider writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gender: Option<CompactString>,
    /// Day of birth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub birth_date: Option<Date>,
    /// The country: a code in upper case, else as the provider writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nationality: Option<CompactString>,
    /// The identity document, when anything of it was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<Document>,
    /// Each number once, in their order.
    #[serde(default)]
    pub tickets: Vec<Ticket>,
    /// The airlines' record locators of this passenger, upper case, each once, in their order; only `order_ticketed` has
    /// them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub airline_pnrs: Option<Vec<CompactString>>,
    /// Services beside the flight, as they were sent; only `order_ticketed` has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ancillaries: Option<AsSent>,
}

/// What one delivery says about one booking: the normalized content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Booking {
    /// The provider's own key of the booking.
    pub booking_ref: CompactString,
    /// What became of it.
    pub status: Status,
    /// The booking's own record locator, upper case.
    pub pnr: Option<CompactString>,
    /// The record locator in the distribution system, upper case.
    pub gds_pnr: Option<CompactString>,
    /// The airlines' record locators of the booking and its passengers, upper case, each once, in their order.
    pub airline_pnrs: Vec<CompactString>,
    /// The number under which the provider shows the booking to people.
    pub booking_number: Option<CompactString>,
    /// The provider's identifier of the request.
    pub trace_id: Option<CompactString>,
    /// The provider's internal status, which decides nothing.
    pub provider_status: Option<CompactString>,
    /// The provider's words, for example why a booking failed.
    pub remark: Option<CompactString>,
    /// The travellers, in their order.
    pub passengers: Vec<Passenger>,
    /// What was missing or odd in the delivery. Texts name fields and never repeat values.
    pub warnings: Vec<String>,
}

impl Booking {
    /// The memory beside its own that its lists and the texts in them take, in bytes, roughly.
    pub fn memory_bytes(&self) -> usize {
        let locators = |list: &[CompactString]| size_of_val(list) + list.iter().map(CompactString::len).sum::<usize>();
        let warnings = self.warnings.iter().map(|warning| size_of::<String>() + warning.len()).sum::<usize>();
        let passengers = self.passengers.iter().map(|passenger| {
            size_of::<Passenger>()
                + size_of_val(passenger.tickets.as_slice())
                + passenger.airline_pnrs.as_deref().map_or(0, locators)
                + passenger.ancillaries.as_ref().map_or(0, |ancillaries| ancillaries.as_str().len())
        });
        locators(&self.airline_pnrs) + warnings + passengers.sum::<usize>()
    }

    /// The ticket numbers of all passengers in their normalized form, each once, in their order.
    pub fn ticket_numbers(&self) -> Vec<&str> {
        let tickets = self.passengers.iter().flat_map(|passenger| &passenger.tickets);
        each_once(tickets.map(|ticket| ticket.number.as_str()).collect(), |number| number)
    }
}

/// One delivery that said something about one booking, ready to be recorded.
#[derive(Clone, Debug)]
pub struct TicketEvent {
    /// Made when the delivery arrived (UUIDv7).
    pub id: Uuid,
    /// Which provider sent it.
    pub provider: &'static str,
    /// The name of the account whose credentials it carried.
    pub account: CompactString,
    /// The account's environment.
    pub environment: Environment,
    /// What it says.
    pub booking: Booking,
    /// The JSON as it was sent, less the credentials.
    pub payload: String,
    /// SHA-256 over the payload less its volatile members: two deliveries of one booking with the same hash say the same.
    pub content_hash: [u8; 32],
    /// Whether normalizing the payload again gives the same booking. It does not where secrets were replaced in it, or
    /// where the body was not JSON in UTF-8 from the beginning.
    pub is_restorable: bool,
    /// When it arrived.
    pub received_at: OffsetDateTime,
}
