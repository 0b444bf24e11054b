//! What a provider is answered, and the table of why an authenticated delivery does not become a TicketEvent.
//!
//! Invariant: a message repeats no value of the delivery, no secret, and nothing of the service's internals.

use std::{borrow::Cow, time::Duration};

use http::{HeaderName, HeaderValue, StatusCode};

use crate::{delivery::Reason, payload::FieldError};

/// The reply to a request, before [`Provider::encode`](super::Provider::encode) puts it into the provider's format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The delivery is durable: recorded, a duplicate, spooled, or kept as another type of notification.
    Accepted,
    /// The same for a missing, malformed or wrong credential.
    Unauthenticated,
    /// Unauthenticated, and the client's address has exceeded the failure limit; for `Retry-After`.
    TooManyFailures(Duration),
    /// The body is not JSON. The text is the message.
    Malformed(String),
    /// The body has a `Content-Encoding` other than gzip.
    UnsupportedEncoding,
    Invalid(Vec<FieldError>),
    /// A ticket number is required and there is none.
    NoTicket,
    /// Only known bookings are accepted, and this one is not known.
    UnknownBooking,
    /// The body, decompressed, is larger than this many bytes.
    TooLarge(usize),
    /// The body did not arrive in time.
    TimedOut,
    /// The delivery cannot be made durable now.
    Unavailable,
    MethodNotAllowed,
}

/// A reply in a provider's format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedReply {
    pub status: StatusCode,
    /// A header that only this provider expects.
    pub header: Option<(HeaderName, HeaderValue)>,
    /// JSON.
    pub body: Cow<'static, str>,
}

impl Reply {
    /// One of each, for the description of the API.
    pub fn samples() -> [Self; 12] {
        [
            Self::Accepted,
            Self::Unauthenticated,
            Self::TooManyFailures(Duration::ZERO),
            Self::Malformed(String::new()),
            Self::UnsupportedEncoding,
            Self::Invalid(Vec::new()),
            Self::NoTicket,
            Self::UnknownBooking,
            Self::TooLarge(0),
            Self::TimedOut,
            Self::Unavailable,
            Self::MethodNotAllowed,
        ]
    }

    /// The status by HTTP's semantics; a provider's document may require another.
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

    /// For a person on the provider's side.
    pub fn message(&self) -> String {
        match self {
            Self::Accepted => "success".to_owned(),
            Self::Unauthenticated => "the credentials are missing or wrong".to_owned(),
            Self::TooManyFailures(_) => "the credentials are missing or wrong, and were too often".to_owned(),
            Self::Malformed(message) => message.clone(),
            Self::UnsupportedEncoding => "the Content-Encoding is not supported; gzip is".to_owned(),
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

/// Why an authenticated payload does not become a TicketEvent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NormalizeError {
    /// Required fields are missing or cannot be used.
    Invalid(Vec<FieldError>),
    /// A ticket number is required and there is none.
    NoTicket,
    /// A notification of another type: not an error of the provider.
    UnsupportedType,
}

impl From<FieldError> for NormalizeError {
    fn from(error: FieldError) -> Self {
        Self::Invalid(vec![error])
    }
}

/// How an authenticated delivery that is no TicketEvent is kept, and what is replied once it is durable.
pub struct Unprocessable {
    pub reason: Reason,
    /// Names the fields, or the position of the error.
    pub detail: String,
    pub reply: Reply,
}

impl Unprocessable {
    /// The detail is the reply's message.
    fn with_message(reason: Reason, reply: Reply) -> Self {
        Self { reason, detail: reply.message(), reply }
    }

    /// Of a body that is not JSON, or has an unsupported encoding.
    pub fn malformed(reply: Reply) -> Self {
        Self::with_message(Reason::Malformed, reply)
    }
}

impl From<NormalizeError> for Unprocessable {
    fn from(error: NormalizeError) -> Self {
        match error {
            NormalizeError::Invalid(errors) => Self::with_message(Reason::Invalid, Reply::Invalid(errors)),
            NormalizeError::NoTicket => Self::with_message(Reason::NoTicket, Reply::NoTicket),
            NormalizeError::UnsupportedType => Self {
                reason: Reason::UnsupportedType,
                detail: "a notification of another type".to_owned(),
                reply: Reply::Accepted,
            },
        }
    }
}
