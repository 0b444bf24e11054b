//! Encodes a delivery as a record: one line of JSON with its metadata, then its body.
//!
//! Invariants:
//!
//! - An event is stored as its redacted payload and normalized again when it is read, so a spool survives an
//!   upgrade.
//! - Where the payload does not give the same booking again (redaction changed it), the booking is stored too. A new field
//!   of [`Booking`] therefore needs a serde default.
//! - A record that cannot be decoded becomes an unprocessed delivery, so that it does not block the records behind it.

use std::borrow::Cow;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    clock,
    delivery::{Delivery, Reason, UnprocessedDelivery},
    payload::RedactedPayload,
    providers::{self, Unprocessable},
    ticket_event::{Booking, Environment, TicketEvent},
};

#[derive(Serialize, Deserialize)]
struct Header<'a> {
    id: Uuid,
    provider: String,
    account: CompactString,
    environment: Environment,
    received_at_unix_nanos: i128,
    /// Only of an unprocessed delivery.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    detail: String,
    /// Only of an unprocessed delivery.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    booking_ref: Option<CompactString>,
    /// Only of an event that is not restorable from its payload.
    #[serde(skip_serializing_if = "Option::is_none")]
    booking: Option<Cow<'a, Booking>>,
}

pub fn encode(delivery: &Delivery) -> Vec<u8> {
    let (header, body) = match delivery {
        Delivery::Event(event) => (
            Header {
                id: event.id,
                provider: event.provider.to_owned(),
                account: event.account.clone(),
                environment: event.environment,
                received_at_unix_nanos: event.received_at.unix_timestamp_nanos(),
                reason: None,
                detail: String::new(),
                booking_ref: None,
                booking: (!event.is_restorable).then_some(Cow::Borrowed(&event.booking)),
            },
            event.payload.as_bytes(),
        ),
        Delivery::Unprocessed(delivery) => (
            Header {
                id: delivery.id,
                provider: delivery.provider.to_owned(),
                account: delivery.account.clone(),
                environment: delivery.environment,
                received_at_unix_nanos: delivery.received_at.unix_timestamp_nanos(),
                reason: Some(delivery.reason),
                detail: delivery.detail.clone(),
                booking_ref: delivery.booking_ref.clone(),
                booking: None,
            },
            delivery.body.as_slice(),
        ),
    };
    let mut record = serde_json::to_vec(&header).expect("a header has no keys but strings");
    record.push(b'\n');
    record.extend_from_slice(body);
    record
}

pub(super) fn received_at(record: &[u8]) -> Option<OffsetDateTime> {
    summary(record).map(|summary| summary.received_at)
}

/// The metadata of a record, without the delivered content.
#[derive(Debug)]
pub struct Summary {
    pub id: Uuid,
    pub provider: String,
    pub account: CompactString,
    pub environment: Environment,
    pub received_at: OffsetDateTime,
}

/// `None`: the record was written by another version.
pub fn summary(record: &[u8]) -> Option<Summary> {
    let Header { id, provider, account, environment, received_at_unix_nanos, .. } =
        serde_json::from_slice(record.split(|byte| *byte == b'\n').next()?).ok()?;
    let received_at = OffsetDateTime::from_unix_timestamp_nanos(received_at_unix_nanos).ok()?;
    Some(Summary { id, provider, account, environment, received_at })
}

pub fn decode(record: &[u8]) -> Delivery {
    let split = record.iter().position(|byte| *byte == b'\n');
    let parts = split.map(|at| (serde_json::from_slice::<Header<'_>>(&record[..at]), &record[at + 1..]));
    match parts {
        Some((Ok(header), body)) => restore(header, body),
        _ => Delivery::Unprocessed(UnprocessedDelivery {
            id: clock::new_id(),
            provider: "unknown".to_owned(),
            account: CompactString::default(),
            environment: Environment::Live,
            reason: Reason::Malformed,
            detail: "a record of the spool cannot be read".to_owned(),
            booking_ref: None,
            body: record.to_vec(),
            received_at: clock::now(),
        }),
    }
}

fn restore(mut header: Header<'_>, body: &[u8]) -> Delivery {
    let received_at =
        OffsetDateTime::from_unix_timestamp_nanos(header.received_at_unix_nanos).unwrap_or_else(|_| clock::now());
    let unprocessed = |header: Header<'_>, reason, detail| {
        Delivery::Unprocessed(UnprocessedDelivery {
            id: header.id,
            provider: header.provider,
            account: header.account,
            environment: header.environment,
            reason,
            detail,
            booking_ref: header.booking_ref,
            body: body.to_vec(),
            received_at,
        })
    };
    if let Some(reason) = header.reason {
        let detail = header.detail.clone();
        return unprocessed(header, reason, detail);
    }
    let payload = std::str::from_utf8(body).ok().and_then(RedactedPayload::restore);
    let (Some(provider), Some(payload)) = (providers::by_name(&header.provider), payload) else {
        let detail = "of a provider that is not known any more".to_owned();
        return unprocessed(header, Reason::Malformed, detail);
    };
    let is_restorable = header.booking.is_none();
    let booking = match header.booking.take() {
        Some(booking) => Ok(booking.into_owned()),
        None => provider.normalize(payload.payload(), received_at.date()),
    };
    match booking {
        Ok(booking) => Delivery::Event(TicketEvent {
            id: header.id,
            provider: provider.name(),
            account: header.account,
            environment: header.environment,
            booking,
            content_hash: payload.content_hash(provider.volatile_members()),
            payload: payload.into_string(),
            is_restorable,
            received_at,
        }),
        Err(error) => unprocessed(header, Unprocessable::from(error).reason, "refused by a later version".to_owned()),
    }
}
