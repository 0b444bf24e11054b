//! A delivery as bytes: one line of JSON about it, then its body.
//!
//! Only what was sent is kept of an event, less the credentials. It is normalized again when it comes out, so that the
//! format does not depend on the model, and a spool survives an upgrade.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    delivery::{Delivery, Reason, UnprocessedDelivery},
    payload::Payload,
    providers::{self, Rejection},
    ticket_event::{Environment, TicketEvent},
};

#[derive(Serialize, Deserialize)]
struct Head {
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
    let head = record.split(|byte| *byte == b'\n').next()?;
    let head: Head = serde_json::from_slice(head).ok()?;
    OffsetDateTime::from_unix_timestamp_nanos(head.received_at_unix_nanos).ok()
}

/// The delivery of a record. What cannot be understood any more becomes an unprocessed delivery, so that nothing
/// blocks what is behind it.
pub fn decode(record: &[u8]) -> Delivery {
    let split = record.iter().position(|byte| *byte == b'\n');
    let parts = split.map(|at| (serde_json::from_slice::<Head>(&record[..at]), &record[at + 1..]));
    match parts {
        Some((Ok(head), body)) => restore(head, body),
        _ => Delivery::Unprocessed(UnprocessedDelivery {
            id: Uuid::now_v7(),
            provider: "unknown".to_owned(),
            account: CompactString::default(),
            environment: Environment::Live,
            reason: Reason::Malformed,
            detail: "a record of the spool cannot be read".to_owned(),
            body: record.to_vec(),
            received_at: OffsetDateTime::now_utc(),
        }),
    }
}

fn restore(head: Head, body: &[u8]) -> Delivery {
    let Head { id, provider, account, environment, received_at_unix_nanos, reason, detail } = head;
    let received_at =
        OffsetDateTime::from_unix_timestamp_nanos(received_at_unix_nanos).unwrap_or_else(|_| OffsetDateTime::now_utc());
    let unprocessed = |provider: String, account, reason, detail| {
        let body = body.to_vec();
        Delivery::Unprocessed(UnprocessedDelivery {
            id,
            provider,
            account,
            environment,
            reason,
            detail,
            body,
            received_at,
        })
    };
    if let Some(reason) = reason {
        return unprocessed(provider, account, reason, detail);
    }
    let payload = std::str::from_utf8(body).ok().and_then(Payload::restore);
    match (providers::by_name(&provider), payload) {
        (Some(known), Some(payload)) => match known.normalize(&payload) {
            Ok(booking) => {
                let payload = payload.into_string();
                let provider = known.name();
                Delivery::Event(TicketEvent { id, provider, account, environment, booking, payload, received_at })
            }
            Err(rejection) => {
                unprocessed(provider, account, reason_of(&rejection), "refused by a later version".to_owned())
            }
        },
        _ => unprocessed(provider, account, Reason::Malformed, "of a provider that is not known any more".to_owned()),
    }
}

fn reason_of(rejection: &Rejection) -> Reason {
    match rejection {
        Rejection::Invalid(_) => Reason::Invalid,
        Rejection::NoTicket => Reason::NoTicket,
        Rejection::UnsupportedType => Reason::UnsupportedType,
    }
}
