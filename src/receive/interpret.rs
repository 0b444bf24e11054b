//! What an arrived delivery is: who sent it, what it says, what is kept of it, what it is answered. No I/O.

use std::time::Instant;

use time::OffsetDateTime;

use super::{
    authentication::verify_body,
    content::{self, Content},
    decompress::TooLarge,
};
use crate::{
    clock,
    credentials::{Account, Accounts, AuthenticationFailure, Verified},
    delivery::{Delivery, Reason, UnprocessedDelivery},
    json::Document,
    payload::{KeptPayload, Payload},
    providers::{NormalizeError, Provider, Reply},
    redaction::Redactor,
    ticket_event::{Booking, TicketEvent},
};

/// A delivery that has arrived, and what it is judged by.
pub struct Arrival<'a> {
    /// Whose endpoint it came to.
    pub provider: &'static dyn Provider,
    /// Who may deliver there.
    pub accounts: &'a Accounts,
    /// Who sent it, where its headers said so.
    pub proof_in_headers: Option<Verified<'a>>,
    /// Its body as it came over the wire.
    pub body: &'a [u8],
    /// Whether its `Content-Encoding` is one that can be read.
    pub is_encoding_supported: bool,
    /// The largest body, decompressed, in bytes.
    pub body_limit_bytes: usize,
    /// When it arrived.
    pub received_at: OffsetDateTime,
    /// Knows what must not be kept.
    pub redactor: &'a Redactor,
}

/// A delivery whose sender is known, ready to be made durable.
pub struct Admitted {
    /// What is made durable.
    pub delivery: Delivery,
    /// What it is answered once it is durable, unless the database decides otherwise.
    pub reply: Reply,
    /// Since when it is known who sent it.
    pub authenticated: Instant,
    /// Since when it is ready.
    pub normalized: Instant,
}

/// A delivery of which nothing is kept.
pub struct Rejected {
    /// What it is answered.
    pub reply: Reply,
    /// Why it is not authenticated, where that is the reason or counts as one.
    pub failure: Option<AuthenticationFailure>,
}

impl From<Reply> for Rejected {
    fn from(reply: Reply) -> Self {
        Self { reply, failure: None }
    }
}

impl From<AuthenticationFailure> for Rejected {
    fn from(failure: AuthenticationFailure) -> Self {
        Self { reply: Reply::Unauthenticated, failure: Some(failure) }
    }
}

/// Authenticates, parses, normalizes.
///
/// # Errors
///
/// Nothing is kept of it: it is too large, or nobody knows who sent it.
pub fn interpret(arrival: &Arrival<'_>) -> Result<Admitted, Rejected> {
    // authenticate
    let limit = arrival.body_limit_bytes;
    let containers = arrival.provider.containers();
    let content = Content::read(arrival.body, arrival.is_encoding_supported, limit, containers)
        .map_err(|TooLarge| arrival.too_large())?;
    let proof = match arrival.proof_in_headers {
        Some(proof) => proof,
        None => verify_body(arrival.provider, arrival.accounts, &content)?,
    };
    let authenticated = Instant::now();

    // parse and normalize
    let Content { document, warnings, bytes } = content;
    let (delivery, reply) = match document {
        Ok(document) => arrival.normalize(proof, document, warnings),
        Err(unreadable) => {
            let reply = Reply::from(&unreadable.malformed);
            let credential_members = arrival.provider.credential_members();
            let kept = content::kept(&unreadable, bytes.as_deref(), &credential_members, arrival.redactor);
            let delivery = arrival.unprocessed(proof.account(), Reason::Malformed, reply.message(), kept);
            (delivery, reply)
        }
    };
    Ok(Admitted { delivery, reply, authenticated, normalized: Instant::now() })
}

impl Arrival<'_> {
    /// It was decompressed for nothing: where that was done for a stranger, it counts as a failure.
    fn too_large(&self) -> Rejected {
        let failure = self.proof_in_headers.is_none().then_some(AuthenticationFailure::Missing);
        Rejected { reply: Reply::TooLarge(self.body_limit_bytes), failure }
    }

    /// What an authenticated document becomes, and what it is answered once that is durable.
    fn normalize(&self, proof: Verified<'_>, document: Document<'_>, warnings: Vec<String>) -> (Delivery, Reply) {
        let (provider, account) = (self.provider, proof.account());
        let credential_members = provider.credential_members();
        let payload = Payload::new(proof, document, &credential_members);
        // business data is taken as it was sent; only what is kept of the rest loses the secrets in it
        let booking = provider.normalize(&payload, self.received_at.date());
        let kept = payload.less_secrets(self.redactor, &credential_members);
        let rejection = match booking {
            Ok(booking) => return (Delivery::Event(self.event(account, booking, warnings, kept)), Reply::Accepted),
            Err(rejection) => rejection,
        };
        let (reason, reply) = match rejection {
            NormalizeError::Invalid(errors) => (Reason::Invalid, Reply::Invalid(errors)),
            NormalizeError::NoTicket => (Reason::NoTicket, Reply::NoTicket),
            NormalizeError::UnsupportedType => (Reason::UnsupportedType, Reply::Accepted),
        };
        let detail = detail(reason, &reply, &kept);
        (self.unprocessed(account, reason, detail, kept.into_string().into_bytes()), reply)
    }

    fn event(&self, account: &Account, booking: Booking, warnings: Vec<String>, kept: KeptPayload) -> TicketEvent {
        TicketEvent {
            id: clock::id_at(self.received_at),
            provider: self.provider.name(),
            account: account.name.clone(),
            environment: account.environment,
            is_restorable: warnings.is_empty() && kept.warnings().is_empty(),
            booking: self.finished(booking, warnings, &kept),
            content_hash: kept.content_hash(self.provider.volatile_members()),
            payload: kept.into_string(),
            received_at: self.received_at,
        }
    }

    /// A booking with all its warnings, less every secret in what is no business data.
    fn finished(&self, mut booking: Booking, warnings: Vec<String>, kept: &KeptPayload) -> Booking {
        booking.warnings.splice(0..0, warnings);
        // where none stands in the payload none stands in what was made of it
        if !kept.warnings().is_empty() {
            booking.warnings.extend_from_slice(kept.warnings());
            self.redactor.booking(&mut booking, &self.provider.credential_members());
        }
        booking
    }

    fn unprocessed(&self, account: &Account, reason: Reason, detail: String, body: Vec<u8>) -> Delivery {
        Delivery::Unprocessed(UnprocessedDelivery {
            id: clock::id_at(self.received_at),
            provider: self.provider.name().to_owned(),
            account: account.name.clone(),
            environment: account.environment,
            reason,
            detail,
            body,
            received_at: self.received_at,
        })
    }
}

/// Why a delivery is kept unprocessed, in words that name the fields.
fn detail(reason: Reason, reply: &Reply, kept: &KeptPayload) -> String {
    let why = match reason {
        Reason::UnsupportedType => "a notification of another type".to_owned(),
        _ => reply.message(),
    };
    let warnings = kept.warnings().iter();
    warnings.fold(why, |detail, warning| format!("{detail}; {warning}"))
}
