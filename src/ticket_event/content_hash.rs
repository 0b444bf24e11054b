//! What counts as the same content.
//!
//! Not part of it: the trace id, the provider's internal status, the warnings, and how a ticket number was spelled.
//!
//! What is absent leaves no trace in the hash, so that a field which a later version adds does not make an old event
//! look new when it is delivered again after an upgrade: a repeated `failed` would be a second refund. For the same
//! reason no field is ever renamed or moved here; a test pins the hashes.

use compact_str::CompactString;
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};

use super::{Booking, Date, Document, Passenger, PassengerType, Status, Ticket};

/// Most contents take less, in bytes.
const USUAL_LENGTH: usize = 512;

impl Booking {
    /// SHA-256 over the content: two deliveries of one booking with the same hash say the same.
    pub fn content_hash(&self) -> [u8; 32] {
        // in one piece: a hash is slow on many small ones
        let mut content = Vec::with_capacity(USUAL_LENGTH);
        serde_json::to_writer(&mut content, &Content::from(self)).expect("content has no keys but strings");
        Sha256::digest(content).into()
    }
}

#[derive(Serialize)]
struct Content<'a> {
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    pnr: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gds_pnr: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    airline_pnrs: &'a [CompactString],
    #[serde(skip_serializing_if = "Option::is_none")]
    booking_number: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remark: Option<&'a str>,
    #[serde(serialize_with = "contents")]
    passengers: &'a [Passenger],
}

#[derive(Serialize)]
struct PassengerContent<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    middle_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<PassengerType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gender: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    birth_date: Option<Date>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nationality: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<DocumentContent<'a>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty", serialize_with = "numbers")]
    tickets: &'a [Ticket],
}

#[derive(Serialize)]
struct DocumentContent<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_on: Option<Date>,
}

fn contents<S: Serializer>(passengers: &[Passenger], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(passengers.iter().map(PassengerContent::from))
}

fn numbers<S: Serializer>(tickets: &[Ticket], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(tickets.iter().map(|ticket| &ticket.number))
}

impl<'a> From<&'a Booking> for Content<'a> {
    fn from(booking: &'a Booking) -> Self {
        Self {
            status: booking.status,
            pnr: booking.pnr.as_deref(),
            gds_pnr: booking.gds_pnr.as_deref(),
            airline_pnrs: &booking.airline_pnrs,
            booking_number: booking.booking_number.as_deref(),
            remark: booking.remark.as_deref(),
            passengers: &booking.passengers,
        }
    }
}

impl<'a> From<&'a Passenger> for PassengerContent<'a> {
    fn from(passenger: &'a Passenger) -> Self {
        Self {
            title: passenger.title.as_deref(),
            first_name: passenger.first_name.as_deref(),
            middle_name: passenger.middle_name.as_deref(),
            last_name: passenger.last_name.as_deref(),
            r#type: passenger.r#type,
            gender: passenger.gender.as_deref(),
            birth_date: passenger.birth_date,
            nationality: passenger.nationality.as_deref(),
            document: passenger.document.as_ref().map(DocumentContent::from),
            tickets: &passenger.tickets,
        }
    }
}

impl<'a> From<&'a Document> for DocumentContent<'a> {
    fn from(document: &'a Document) -> Self {
        Self {
            r#type: document.r#type.as_deref(),
            number: document.number.as_deref(),
            issued_by: document.issued_by.as_deref(),
            expires_on: document.expires_on,
        }
    }
}
