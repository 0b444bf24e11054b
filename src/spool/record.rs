//! A delivery as bytes: one line of JSON about it, then its body.
//!
//! Only what was sent is kept of an event, less the credentials. It is normalized again when it comes out, so that the
//! format does not depend on the model, and a spool survives an upgrade. Where that would not give the same booking, the
//! booking is kept too.

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
struct Head<'a> {
    id: Uuid,
    provider: String,
    account: CompactString,
    environment: Environment,
    received_at_unix_nanos: i128,
    /// Of an unprocessed delivery.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    detail: String,
    /// Of an event whose payload alone does not say it again.
    #[serde(skip_serializing_if = "Option::is_none")]
    booking: Option<Cow<'a, Booking>>,
}

/// The record of a delivery.
pub fn encode(delivery: &Delivery) -> Vec<u8> {
    let (head, body) = match delivery {
        Delivery::Event(event) => (
            Head {
                id: event.id,
                provider: event.provider.to_owned(),
                account: event.account.clone(),
                environment: event.environment,
                received_at_unix_nanos: event.received_at.unix_timestamp_nanos(),
                reason: None,
                detail: String::new(),
                booking: (!event.is_restorable).then_some(Cow::Borrowed(&event.booking)),
            },
            event.payload.as_bytes(),
        ),
        Delivery::Unprocessed(delivery) => (
            Head {
                id: delivery.id,
                provider: delivery.provider.to_owned(),
                account: delivery.account.clone(),
                environment: delivery.environment,
                received_at_unix_nanos: delivery.received_at.unix_timestamp_nanos(),
                reason: Some(delivery.reason),
                detail: delivery.detail.clone(),
                booking: None,
            },
            delivery.body.as_slice(),
        ),
    };
    let mut record = serde_json::to_vec(&head).expect("a head can be written as JSON");
    record.push(b'\n');
    record.extend_from_slice(body);
    record
}

/// When a delivery was received, as far as its record can be read.
pub(super) fn received_at(record: &[u8]) -> Option<OffsetDateTime> {
    summary(record).map(|summary| summary.received_at)
}

/// What is said of a record without what was delivered.
#[derive(Debug)]
pub struct Summary {
    /// The id of the delivery.
    pub id: Uuid,
    /// Which provider sent it.
    pub provider: String,
    /// The name of its account.
    pub account: CompactString,
    /// The account's environment.
    pub environment: Environment,
    /// When it was received.
    pub received_at: OffsetDateTime,
}

/// `None` when the record is of another version.
pub fn summary(record: &[u8]) -> Option<Summary> {
    let Head { id, provider, account, environment, received_at_unix_nanos, .. } =
        serde_json::from_slice(record.split(|byte| *byte == b'\n').next()?).ok()?;
    let received_at = OffsetDateTime::from_unix_timestamp_nanos(received_at_unix_nanos).ok()?;
    Some(Summary { id, provider, account, environment, received_at })
}

/// The delivery of a record. What cannot be understood any more becomes an unprocessed delivery, so that nothing
/// blocks what is behind it.
pub fn decode(record: &[u8]) -> Delivery {
    let split = record.iter().position(|byte| *byte == b'\n');
    let parts = split.map(|at| (serde_json::from_slice::<Head<'_>>(&record[..at]), &record[at + 1..]));
    match parts {
        Some((Ok(head), body)) => restore(head, body),
        _ => Delivery::Unprocessed(UnprocessedDelivery {
            id: clock::new_id(),
            provider: "unknown".to_owned(),
            account: CompactString::default(),
            environment: Environment::Live,
            reason: Reason::Malformed,
            detail: "a record of the spool cannot be read".to_owned(),
            body: record.to_vec(),
            received_at: clock::now(),
        }),
    }
}

fn restore(mut head: Head<'_>, body: &[u8]) -> Delivery {
    let received_at =
        OffsetDateTime::from_unix_timestamp_nanos(head.received_at_unix_nanos).unwrap_or_else(|_| clock::now());
    let unprocessed = |head: Head<'_>, reason, detail| {
        Delivery::Unprocessed(UnprocessedDelivery {
            id: head.id,
            provider: head.provider,
            account: head.account,
            environment: head.environment,
            reason,
            detail,
            body: body.to_vec(),
            received_at,
        })
    };
    if let Some(reason) = head.reason {
        let detail = head.detail.clone();
        return unprocessed(head, reason, detail);
    }
    let payload = std::str::from_utf8(body).ok().and_then(RedactedPayload::restore);
    let (Some(provider), Some(payload)) = (providers::by_name(&head.provider), payload) else {
        let detail = "of a provider that is not known any more".to_owned();
        return unprocessed(head, Reason::Malformed, detail);
    };
    let is_restorable = head.booking.is_none();
    let booking = match head.booking.take() {
        Some(booking) => Ok(booking.into_owned()),
        None => provider.normalize(payload.payload(), received_at.date()),
    };
    match booking {
        Ok(booking) => Delivery::Event(TicketEvent {
            id: head.id,
            provider: provider.name(),
            account: head.account,
            environment: head.environment,
            booking,
            content_hash: payload.content_hash(provider.volatile_members()),
            payload: payload.into_string(),
            is_restorable,
            received_at,
        }),
        Err(error) => unprocessed(head, Unprocessable::from(error).reason, "refused by a later version".to_owned()),
    }
}
