//! What is handed in to be made durable, and what became of it.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::ticket_event::{Environment, TicketEvent};

/// An authenticated delivery: one that says something about a booking, or one to be looked at later.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all are events, and a box for each would cost more")]
pub enum Delivery {
    /// It says something about a booking.
    Event(TicketEvent),
    /// It could not be understood.
    Unprocessed(UnprocessedDelivery),
}

impl Delivery {
    /// Which provider sent it.
    pub fn provider(&self) -> &str {
        match self {
            Self::Event(event) => event.provider,
            Self::Unprocessed(delivery) => &delivery.provider,
        }
    }

    /// The environment of the account that sent it.
    pub fn environment(&self) -> Environment {
        match self {
            Self::Event(event) => event.environment,
            Self::Unprocessed(delivery) => delivery.environment,
        }
    }

    /// It was received at this moment.
    pub fn received(&mut self, at: OffsetDateTime) {
        match self {
            Self::Event(event) => event.received_at = at,
            Self::Unprocessed(delivery) => delivery.received_at = at,
        }
    }

    /// The memory that it takes, in bytes, roughly.
    pub fn memory_bytes(&self) -> usize {
        let parts = match self {
            Self::Event(event) => event.payload.len() + event.booking.memory_bytes(),
            Self::Unprocessed(delivery) => delivery.body.len() + delivery.detail.len(),
        };
        size_of::<Self>() + parts
    }
}

/// What became of a delivery: `outcome` in logs, metrics and documentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is a new revision of its booking.
    Recorded {
        /// Its number.
        revision: i32,
        /// Whether it changes a final status of the booking.
        is_conflict: bool,
    },
    /// It says what a revision says that is there.
    Duplicate {
        /// The id of that revision.
        event_id: Uuid,
        /// The number of that revision.
        revision: i32,
    },
    /// It is in the spool; what becomes of it is decided when that is drained.
    Spooled,
    /// It is kept in `unprocessed_deliveries`.
    Unprocessed,
    /// It is answered with an error, and its account has had too many of those kept in this minute: only counted.
    NotKept,
    /// Its booking is not in `bookings`, where that is required.
    UnknownBooking {
        /// Whether it is kept unprocessed: not beyond what an account may have kept in a minute.
        is_kept: bool,
    },
    /// Postgres will never take its row; it is kept unprocessed.
    Refused,
    /// Neither Postgres nor the spool took it.
    NotDurable,
    /// It is not authenticated. Nothing is kept of it, nor of those below.
    Unauthenticated,
    /// It is not JSON, or did not arrive whole, and is not authenticated.
    Malformed,
    /// It has another `Content-Encoding` than gzip and is not authenticated.
    UnsupportedEncoding,
    /// It is larger than the limit.
    TooLarge,
    /// It did not arrive in time.
    TimedOut,
}

impl Outcome {
    /// The words of all outcomes, by [`Self::index`].
    pub const WORDS: [&str; 13] = [
        "recorded",
        "duplicate",
        "spooled",
        "unprocessed",
        "not_kept",
        "unknown_booking",
        "refused",
        "not_durable",
        "unauthenticated",
        "malformed",
        "unsupported_encoding",
        "too_large",
        "timed_out",
    ];

    /// Its position in [`Self::WORDS`].
    pub const fn index(&self) -> usize {
        match self {
            Self::Recorded { .. } => 0,
            Self::Duplicate { .. } => 1,
            Self::Spooled => 2,
            Self::Unprocessed => 3,
            Self::NotKept => 4,
            Self::UnknownBooking { .. } => 5,
            Self::Refused => 6,
            Self::NotDurable => 7,
            Self::Unauthenticated => 8,
            Self::Malformed => 9,
            Self::UnsupportedEncoding => 10,
            Self::TooLarge => 11,
            Self::TimedOut => 12,
        }
    }

    /// The word in logs and metrics.
    pub const fn as_str(&self) -> &'static str {
        Self::WORDS[self.index()]
    }
}

/// Why a delivery did not become a TicketEvent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It is no JSON.
    Malformed,
    /// A required field is missing or cannot be used.
    Invalid,
    /// It has no ticket number where one is required.
    NoTicket,
    /// Its booking is not in `bookings`, where that is required.
    UnknownBooking,
    /// It is a notification of another type.
    UnsupportedType,
    /// The database refused the row.
    Refused,
}

impl Reason {
    /// Every reason there is, in their order.
    pub const ALL: [Self; 6] =
        [Self::Malformed, Self::Invalid, Self::NoTicket, Self::UnknownBooking, Self::UnsupportedType, Self::Refused];

    /// Whether the provider is told of an error: it was told of a success in the other cases.
    pub fn is_error(self) -> bool {
        !matches!(self, Self::UnsupportedType | Self::Refused)
    }

    /// The word in Postgres and in the logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Invalid => "invalid",
            Self::NoTicket => "no_ticket",
            Self::UnknownBooking => "unknown_booking",
            Self::UnsupportedType => "unsupported_type",
            Self::Refused => "refused",
        }
    }
}

/// An authenticated delivery that is kept to be reprocessed.
#[derive(Clone, Debug)]
pub struct UnprocessedDelivery {
    /// Made when the delivery arrived (UUIDv7).
    pub id: Uuid,
    /// Which provider sent it.
    pub provider: String,
    /// The name of the account whose credentials it carried.
    pub account: CompactString,
    /// The account's environment.
    pub environment: Environment,
    /// Why it is here.
    pub reason: Reason,
    /// The same in words that name the fields.
    pub detail: String,
    /// The body as it was sent, less the credentials.
    pub body: Vec<u8>,
    /// When it arrived.
    pub received_at: OffsetDateTime,
}

impl UnprocessedDelivery {
    /// SHA-256 over the body: tells whether another delivery has the same.
    pub fn body_hash(&self) -> [u8; 32] {
        Sha256::digest(&self.body).into()
    }

    /// An event that cannot be recorded, as it is kept.
    pub fn from_event(event: &TicketEvent, reason: Reason, detail: &str) -> Self {
        Self {
            id: event.id,
            provider: event.provider.to_owned(),
            account: event.account.clone(),
            environment: event.environment,
            reason,
            detail: detail.to_owned(),
            body: event.payload.clone().into_bytes(),
            received_at: event.received_at,
        }
    }
}
