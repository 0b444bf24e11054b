//! The providers: what each sends, how it authenticates, what its fields mean, and what it is answered.
//!
//! A new provider is one file in `providers/` that implements `Provider`, and an entry in `PROVIDERS`. Its default path, the
//! configuration keys of its accounts, and its labels in logs and metrics follow from that. CONTRIBUTING.md has the rest:
//! tests, fixtures, fuzzing, documentation.
//!
//! Invariants:
//! - a provider is synchronous and does no I/O: headers and bytes in, a booking or an error out, a reply out;
//! - it normalizes authenticated payloads only;
//! - it depends on neither the HTTP server, the database nor the configuration.

mod booking_callback;
mod normalize;
mod order_ticketed;
mod reply;
mod ticket_status_update;
mod tickets;

use std::{borrow::Cow, sync::LazyLock};

use http::HeaderMap;
use time::Date;

pub use self::{
    reply::{EncodedReply, NormalizeError, Reply, Unprocessable},
    tickets::ticket_number,
};
use crate::{
    credentials::{AuthenticationFailure, Presented},
    json::Value,
    payload::Payload,
    ticket_event::Booking,
};

pub static PROVIDERS: &[&dyn Provider] =
    &[&ticket_status_update::TicketStatusUpdate, &booking_callback::BookingCallback, &order_ticketed::OrderTicketed];

/// The names of all.
pub fn names() -> impl Iterator<Item = &'static str> {
    PROVIDERS.iter().map(|provider| provider.name())
}

/// The names of all, for messages.
pub fn listed_names() -> String {
    names().collect::<Vec<_>>().join(", ")
}

pub fn by_name(name: &str) -> Option<&'static dyn Provider> {
    PROVIDERS.iter().copied().find(|provider| provider.name() == name)
}

/// The members of all providers that carry identity documents: one may stand in another provider's delivery.
pub fn document_members() -> &'static [&'static str] {
    static MEMBERS: LazyLock<Vec<&'static str>> =
        LazyLock::new(|| PROVIDERS.iter().flat_map(|provider| provider.document_members()).copied().collect());
    &MEMBERS
}

/// The members of all providers that carry birth dates.
pub fn birth_date_members() -> &'static [&'static str] {
    static MEMBERS: LazyLock<Vec<&'static str>> =
        LazyLock::new(|| PROVIDERS.iter().flat_map(|provider| provider.birth_date_members()).copied().collect());
    &MEMBERS
}

/// One provider. First what each must implement, in the order in which a delivery needs it; then what only some override;
/// then what follows from the rest.
pub trait Provider: Send + Sync + 'static {
    // ---- identity ----

    /// In the configuration, in Postgres, logs and metrics: lower-case words joined by `_`.
    fn name(&self) -> &'static str;

    // ---- authentication ----

    /// What an account consists of. Either all of it is in headers or all of it in members of the body.
    fn credentials(&self) -> &'static [Credential];

    // ---- normalization ----

    /// The members of the body that hold arrays or objects. When they hold a string of JSON instead, it is unpacked; a name
    /// that is not listed here costs only that leniency.
    fn structured_members(&self) -> &'static [&'static str];

    /// The booking in an authenticated payload. `received_on` is the day of receipt.
    fn normalize(&self, payload: &Payload, received_on: Date) -> Result<Booking, NormalizeError>;

    // ---- replies ----

    /// The reply in the provider's own format.
    fn encode(&self, reply: &Reply) -> EncodedReply;

    // ---- sample, for `dev`, `send-sample` and the benchmarks ----

    /// A delivery as the provider would send it. `credentials` are in the order of [`Self::credentials`].
    fn sample(&self, credentials: &[&str], booking_ref: &str) -> Sample;

    // ---- overridden where the provider needs it ----

    /// Required of a provider with credentials in headers; called before the body is read.
    ///
    /// # Errors
    ///
    /// A credential is missing or malformed, or its header occurs more than once.
    fn credentials_in_header<'a>(&self, _headers: &'a HeaderMap) -> Result<Presented<'a>, AuthenticationFailure> {
        Err(AuthenticationFailure::Missing)
    }

    /// Top-level members that differ between duplicates; excluded from the content hash.
    fn volatile_members(&self) -> &'static [&'static str] {
        &[]
    }

    /// Members that carry identity documents, at any depth: removed with `privacy.identity_documents = "drop"`.
    fn document_members(&self) -> &'static [&'static str] {
        &[]
    }

    /// Members that carry birth dates, at any depth: masked where people look at a payload.
    fn birth_date_members(&self) -> &'static [&'static str] {
        &[]
    }

    // ---- derived; not overridden ----

    fn default_path(&self) -> String {
        format!("/webhooks/{}", self.name().replace('_', "-"))
    }

    /// Whether the credentials are verified before the body is read.
    fn authenticates_by_header(&self) -> bool {
        self.credentials().iter().all(|credential| credential.member.is_none())
    }

    fn credential_members(&self) -> Vec<&'static str> {
        self.credentials().iter().filter_map(|credential| credential.member).collect()
    }

    /// As strings, or numbers as their digits. Of a repeated member the last one counts.
    ///
    /// # Errors
    ///
    /// A credential is missing or malformed.
    fn credentials_in_body<'a>(&self, body: Value<'a>) -> Result<Presented<'a>, AuthenticationFailure> {
        self.credential_members().iter().map(|key| credential_in_member(body, key)).collect()
    }
}

/// One part of an account's credentials.
#[derive(Clone, Copy, Debug)]
pub struct Credential {
    /// Its key in the configuration.
    pub key: &'static str,
    /// The member of the body that carries it; `None` when a header does.
    pub member: Option<&'static str>,
    /// Whether it is a secret, or the name that belongs to one.
    pub is_secret: bool,
}

/// A delivery to try.
pub struct Sample {
    /// Without `Content-Type`.
    pub headers: Vec<(&'static str, String)>,
    /// JSON, with the credentials where they are in the body.
    pub body: String,
}

impl Sample {
    /// A line for a shell that posts it.
    pub fn curl(&self, url: &str) -> String {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
        let headers = self.headers.iter().map(|(name, value)| format!(" -H {}", quoted(&format!("{name}: {value}"))));
        let (headers, body) = (headers.collect::<String>(), quoted(&self.body));
        format!("curl -sS -w '\\n' {url} -H 'Content-Type: application/json'{headers} -d {body}")
    }
}

fn credential_in_member<'a>(body: Value<'a>, key: &str) -> Result<Cow<'a, str>, AuthenticationFailure> {
    let member = body.member(key).ok_or(AuthenticationFailure::Missing)?;
    member.value.text().map(|text| text.value).ok_or(AuthenticationFailure::Malformed)
}
