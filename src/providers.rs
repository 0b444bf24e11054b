//! The providers: what each sends, how it proves who it is, what its words mean, and what it wants to hear.
//!
//! A provider is one file in `providers/` and one line in [`PROVIDERS`]. It is synchronous and does no I/O: bytes and
//! headers in, a booking or a rejection out, an answer out. It knows nothing of the HTTP server, the database and the
//! configuration; its path, its accounts' keys in the configuration and its label in the metrics follow from what it
//! says here.

mod booking_callback;
mod normalize;
mod order_ticketed;
mod ticket_status_update;
mod tickets;

use std::{borrow::Cow, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use time::Date;

use crate::{
    credentials::{AuthenticationFailure, Presented},
    json::{Malformed, Value},
    payload::{FieldError, Payload},
    ticket_event::Booking,
};

/// Every provider there is.
pub static PROVIDERS: &[&dyn Provider] =
    &[&ticket_status_update::TicketStatusUpdate, &booking_callback::BookingCallback, &order_ticketed::OrderTicketed];

/// The provider of this name.
pub fn by_name(name: &str) -> Option<&'static dyn Provider> {
    PROVIDERS.iter().copied().find(|provider| provider.name() == name)
}

/// What the service must know of a provider.
pub trait Provider: Send + Sync + 'static {
    /// Its name in the configuration, in Postgres, in logs and metrics: words joined by `_`.
    fn name(&self) -> &'static str;

    /// The default path of its webhook.
    fn default_path(&self) -> String {
        format!("/webhooks/{}", self.name().replace('_', "-"))
    }

    /// What an account consists of.
    fn credentials(&self) -> &'static [Credential];

    /// What a delivery presents. Of a member that is repeated the last copy counts, as in every other member.
    ///
    /// A provider whose credentials stand in a header is asked before the body is read, and `body` is `None`.
    ///
    /// # Errors
    ///
    /// Something is missing or malformed, or a header is there more than once.
    fn presented<'a>(
        &self,
        headers: &'a HeaderMap,
        body: Option<Value<'a>>,
    ) -> Result<Presented<'a>, AuthenticationFailure> {
        match body {
            None => self.presented_in_header(headers),
            Some(body) => self.credential_members().iter().map(|key| presented_member(body, key)).collect(),
        }
    }

    /// The same of a provider whose credentials stand in a header.
    fn presented_in_header<'a>(&self, _headers: &'a HeaderMap) -> Result<Presented<'a>, AuthenticationFailure> {
        Err(AuthenticationFailure::Missing)
    }

    /// What an authenticated delivery says that was received on this day.
    fn normalize(&self, payload: &Payload, received_on: Date) -> Result<Booking, NormalizeError>;

    /// The answer in the provider's own words.
    fn encode(&self, reply: &Reply) -> EncodedReply;

    /// A delivery as the provider would send it, `credentials` in the order of [`Self::credentials`].
    fn sample(&self, credentials: &[&str], booking_ref: &str) -> Sample;

    /// The members of the body that carry credentials.
    fn credential_members(&self) -> Vec<&'static str> {
        self.credentials().iter().filter_map(|credential| credential.member).collect()
    }

    /// The members at the top of the body that differ between deliveries which say the same.
    fn volatile_members(&self) -> &'static [&'static str] {
        &[]
    }

    /// The members of the body that hold lists or objects: in a string of JSON they are unpacked.
    fn containers(&self) -> &'static [&'static str];

    /// Whether the credentials stand in a header, so that they can be checked before the body is read.
    fn authenticates_by_header(&self) -> bool {
        self.credentials().iter().all(|credential| credential.member.is_none())
    }
}

/// One part of what an account proves itself with.
#[derive(Clone, Copy, Debug)]
pub struct Credential {
    /// Its key in the configuration.
    pub key: &'static str,
    /// The member of the body that carries it; `None` when it stands in a header.
    pub member: Option<&'static str>,
    /// Whether it is a secret, or the name that goes with one.
    pub is_secret: bool,
}

/// Why an authenticated delivery does not become a TicketEvent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NormalizeError {
    /// Required fields are missing or cannot be used.
    Invalid(Vec<FieldError>),
    /// There is no ticket number where one is required.
    NoTicket,
    /// It is a notification of another type, which is no mistake of the provider's.
    UnsupportedType,
}

impl From<FieldError> for NormalizeError {
    fn from(error: FieldError) -> Self {
        Self::Invalid(vec![error])
    }
}

/// A credential in a member of the body: a string, or a number as its digits.
fn presented_member<'a>(body: Value<'a>, key: &str) -> Result<Cow<'a, str>, AuthenticationFailure> {
    let member = body.member(key).ok_or(AuthenticationFailure::Missing)?;
    member.value.text().map(|text| text.value).ok_or(AuthenticationFailure::Malformed)
}

/// What became of a request, as far as the provider is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It is durable: recorded, a duplicate, spooled, or kept as another type of notification.
    Accepted,
    /// A missing, malformed or wrong credential: always the same answer.
    Unauthenticated,
    /// The same, from where there were too many of these; and when the next one will be heard again.
    TooManyFailures(Duration),
    /// The body is no JSON; the text says where.
    Malformed(String),
    /// The body has another `Content-Encoding` than gzip.
    UnsupportedEncoding,
    /// Required fields are missing or cannot be used.
    Invalid(Vec<FieldError>),
    /// There is no ticket number where one is required.
    NoTicket,
    /// Only known bookings are accepted, and this is none.
    UnknownBooking,
    /// The body is larger than this many bytes, decompressed.
    TooLarge(usize),
    /// The body did not arrive in time.
    TimedOut,
    /// It cannot be made durable now.
    Unavailable,
    /// Not a `POST`.
    MethodNotAllowed,
}

/// What a provider is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedReply {
    /// The HTTP status.
    pub status: StatusCode,
    /// A header that only this provider expects.
    pub header: Option<(HeaderName, HeaderValue)>,
    /// JSON.
    pub body: Cow<'static, str>,
}

/// What `send-sample` posts.
pub struct Sample {
    /// Headers beside `Content-Type`.
    pub headers: Vec<(&'static str, String)>,
    /// JSON, credentials included where they stand in the body.
    pub body: String,
}

impl From<&Malformed> for Reply {
    fn from(malformed: &Malformed) -> Self {
        match malformed {
            Malformed::UnsupportedEncoding => Self::UnsupportedEncoding,
            other => Self::Malformed(other.to_string()),
        }
    }
}

impl Reply {
    /// The status that HTTP has for it, which a provider's document may overrule.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Accepted => StatusCode::OK,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::TooManyFailures(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::UnsupportedEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Invalid(_) | Self::NoTicket => StatusCode::UNPROCESSABLE_ENTITY,
            Self::UnknownBooking => StatusCode::NOT_FOUND,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TimedOut => StatusCode::REQUEST_TIMEOUT,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        }
    }

    /// Words for a person on the provider's side.
    pub fn message(&self) -> String {
        match self {
            Self::Accepted => "success".to_owned(),
            Self::Unauthenticated => "the credentials are missing or wrong".to_owned(),
            Self::TooManyFailures(_) => "the credentials are missing or wrong, and were too often".to_owned(),
            Self::Malformed(why) => why.clone(),
            Self::UnsupportedEncoding => Malformed::UnsupportedEncoding.to_string(),
            Self::Invalid(errors) => errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
            Self::NoTicket => "there is no ticket number".to_owned(),
            Self::UnknownBooking => "the booking is not known".to_owned(),
            Self::TooLarge(limit) => format!("the body is larger than {limit} bytes"),
            Self::TimedOut => "the body did not arrive in time".to_owned(),
            Self::Unavailable => "the notification cannot be stored now; please send it again".to_owned(),
            Self::MethodNotAllowed => "only POST is allowed here".to_owned(),
        }
    }
}
