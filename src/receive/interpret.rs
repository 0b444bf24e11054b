//! The pure part of receiving: authenticate by the body, parse, normalize, redact. No I/O.
//!
//! Invariant: normalized first, redacted second, so that business data is stored as it was sent.

use std::{fmt::Write, time::Instant};

use time::OffsetDateTime;

use super::{
    authentication::verify_body,
    body::CollectedBody,
    content::{self, Content},
    gzip::TooLarge,
    rejected::Rejected,
};
use crate::{
    clock,
    credentials::{Account, Accounts, AuthenticationFailure, Verified},
    delivery::{Delivery, UnprocessedDelivery},
    json::Document,
    payload::{Payload, RedactedPayload},
    providers::{Provider, Reply, Unprocessable},
    redaction::{Redactor, drop_documents},
    ticket_event::{Booking, TicketEvent},
};

/// A delivery that has arrived, and what it is checked against.
pub struct Arrival<'a> {
    pub provider: &'static dyn Provider,
    pub accounts: &'a Accounts,
    /// Set when the provider authenticates by header.
    pub proof_in_headers: Option<Verified>,
    pub body: &'a CollectedBody,
    /// By the `Content-Encoding` header.
    pub is_encoding_supported: bool,
    /// Of the decompressed body.
    pub body_limit_bytes: usize,
    pub received_at: OffsetDateTime,
    pub redactor: &'a Redactor,
    /// Members of identity documents that are not kept.
    pub dropped_members: &'a [&'a str],
}

/// An authenticated delivery, ready to be made durable.
pub struct Admitted {
    pub delivery: Delivery,
    /// Once it is durable, unless the database decides otherwise.
    pub reply: Reply,
    /// When authentication was complete.
    pub authenticated: Instant,
    /// When normalization was complete.
    pub normalized: Instant,
}

/// Authenticates, parses, normalizes, redacts.
///
/// # Errors
///
/// The body is too large, or not authenticated.
pub fn interpret(arrival: &Arrival<'_>) -> Result<Admitted, Rejected> {
    // authenticate
    let (limit, structured_members) = (arrival.body_limit_bytes, arrival.provider.structured_members());
    let content = Content::read(arrival.body, arrival.is_encoding_supported, limit, structured_members)
        .map_err(|TooLarge| arrival.too_large())?;
    let proof = match &arrival.proof_in_headers {
        Some(proof) => proof.clone(),
        None => verify_body(arrival.provider, arrival.accounts, &content)?,
    };
    let authenticated = Instant::now();

    // normalize
    let Content { document, warnings, bytes } = content;
    let (delivery, reply) = match document {
        Ok(document) => arrival.normalize(&proof, document, warnings),
        Err(unreadable) => {
            let mut unprocessable = Unprocessable::malformed(Reply::from(&unreadable.fault));
            let body = content::redacted(&unreadable, bytes.as_deref(), &arrival.removed_members(), arrival.redactor);
            let body = if content::may_hold_documents(&body, arrival.dropped_members) {
                unprocessable.detail.push_str("; the body is not kept: it may hold identity documents");
                Vec::new()
            } else {
                body
            };
            arrival.unprocessed(proof.account(), unprocessable, body)
        }
    };
    Ok(Admitted { delivery, reply, authenticated, normalized: Instant::now() })
}

impl<'a> Arrival<'a> {
    /// Those of credentials and of documents that are dropped.
    fn removed_members(&self) -> Vec<&'a str> {
        let mut members: Vec<&'a str> = self.provider.credential_members();
        members.extend(self.dropped_members);
        members
    }

    /// Counts as a failed authentication unless a header has authenticated it: decompressing was work for a stranger.
    fn too_large(&self) -> Rejected {
        let failure = self.proof_in_headers.is_none().then_some(AuthenticationFailure::Missing);
        Rejected { reply: Reply::TooLarge(self.body_limit_bytes), failure }
    }

    fn normalize(&self, proof: &Verified, document: Document<'_>, warnings: Vec<String>) -> (Delivery, Reply) {
        let (provider, account) = (self.provider, proof.account());
        let payload = Payload::new(proof, document, &provider.credential_members());
        let booking = provider.normalize(&payload, self.received_at.date());
        // behind normalizing: what is dropped was not missing
        let (payload, has_dropped) = payload.without(self.dropped_members);
        let redacted = payload.redact(self.redactor, &self.removed_members());
        match booking {
            Ok(mut booking) => {
                if has_dropped {
                    drop_documents(&mut booking, self.dropped_members);
                }
                let event = self.event(account, booking, warnings, redacted, has_dropped);
                (Delivery::Event(event), Reply::Accepted)
            }
            Err(error) => {
                let mut unprocessable = Unprocessable::from(error);
                for warning in redacted.warnings() {
                    write!(unprocessable.detail, "; {warning}").expect("writing to a string never fails");
                }
                self.unprocessed(account, unprocessable, redacted.into_string().into_bytes())
            }
        }
    }

    fn event(
        &self,
        account: &Account,
        booking: Booking,
        warnings: Vec<String>,
        redacted: RedactedPayload,
        has_dropped: bool,
    ) -> TicketEvent {
        TicketEvent {
            id: clock::id_at(self.received_at),
            provider: self.provider.name(),
            account: account.name.clone(),
            environment: account.environment,
            is_restorable: warnings.is_empty() && redacted.warnings().is_empty() && !has_dropped,
            booking: self.redacted_booking(booking, warnings, &redacted),
            content_hash: redacted.content_hash(self.provider.volatile_members()),
            payload: redacted.into_string(),
            received_at: self.received_at,
        }
    }

    /// With the warnings of the content before its own, and those of the redaction behind them.
    fn redacted_booking(&self, mut booking: Booking, warnings: Vec<String>, redacted: &RedactedPayload) -> Booking {
        booking.warnings.splice(0..0, warnings);
        // a booking holds no secret that its payload does not hold
        if !redacted.warnings().is_empty() {
            booking.warnings.extend_from_slice(redacted.warnings());
            self.redactor.redact_booking(&mut booking, &self.removed_members());
        }
        booking
    }

    fn unprocessed(&self, account: &Account, unprocessable: Unprocessable, body: Vec<u8>) -> (Delivery, Reply) {
        let Unprocessable { reason, detail, reply } = unprocessable;
        let delivery = UnprocessedDelivery {
            id: clock::id_at(self.received_at),
            provider: self.provider.name().to_owned(),
            account: account.name.clone(),
            environment: account.environment,
            reason,
            detail,
            booking_ref: None,
            body,
            received_at: self.received_at,
        };
        (Delivery::Unprocessed(delivery), reply)
    }
}
