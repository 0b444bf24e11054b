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
    redaction::Redactor,
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
            let credential_members = arrival.provider.credential_members();
            let body = content::redacted(&unreadable, bytes.as_deref(), &credential_members, arrival.redactor);
            arrival.unprocessed(proof.account(), Unprocessable::malformed(Reply::from(&unreadable.fault)), body)
        }
    };
    Ok(Admitted { delivery, reply, authenticated, normalized: Instant::now() })
}

impl Arrival<'_> {
    /// Counts as a failed authentication unless a header has authenticated it: decompressing was work for a stranger.
    fn too_large(&self) -> Rejected {
        let failure = self.proof_in_headers.is_none().then_some(AuthenticationFailure::Missing);
        Rejected { reply: Reply::TooLarge(self.body_limit_bytes), failure }
    }

    fn normalize(&self, proof: &Verified, document: Document<'_>, warnings: Vec<String>) -> (Delivery, Reply) {
        let (provider, account) = (self.provider, proof.account());
        let credential_members = provider.credential_members();
        let payload = Payload::new(proof, document, &credential_members);
        let booking = provider.normalize(&payload, self.received_at.date());
        let redacted = payload.redact(self.redactor, &credential_members);
        match booking {
            Ok(booking) => (Delivery::Event(self.event(account, booking, warnings, redacted)), Reply::Accepted),
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
    ) -> TicketEvent {
        TicketEvent {
            id: clock::id_at(self.received_at),
            provider: self.provider.name(),
            account: account.name.clone(),
            environment: account.environment,
            is_restorable: warnings.is_empty() && redacted.warnings().is_empty(),
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
            self.redactor.redact_booking(&mut booking, &self.provider.credential_members());
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
