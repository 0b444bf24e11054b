//! A delivery, and its outcome: the one word for what became of it in logs, metrics and documentation.
//!
//! What the provider is told of an outcome is a [`Reply`](crate::providers::Reply).

use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::ticket_event::{Environment, TicketEvent};

/// An authenticated delivery.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all are events, and a box for each would cost more")]
pub enum Delivery {
    Event(TicketEvent),
    /// It could not become a TicketEvent.
    Unprocessed(UnprocessedDelivery),
}

impl Delivery {
    pub fn provider(&self) -> &str {
        match self {
            Self::Event(event) => event.provider,
            Self::Unprocessed(delivery) => &delivery.provider,
        }
    }

    pub fn environment(&self) -> Environment {
        match self {
            Self::Event(event) => event.environment,
            Self::Unprocessed(delivery) => delivery.environment,
        }
    }

    /// For a delivery that has an id already.
    pub fn set_id(&mut self, id: Uuid) {
        match self {
            Self::Event(event) => event.id = id,
            Self::Unprocessed(delivery) => delivery.id = id,
        }
    }

    pub fn set_received_at(&mut self, at: OffsetDateTime) {
        match self {
            Self::Event(event) => event.received_at = at,
            Self::Unprocessed(delivery) => delivery.received_at = at,
        }
    }

    /// An estimate.
    pub fn memory_bytes(&self) -> usize {
        let parts = match self {
            Self::Event(event) => event.payload.len() + event.booking.memory_bytes(),
            Self::Unprocessed(delivery) => delivery.body.len() + delivery.detail.len(),
        };
        size_of::<Self>() + parts
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A new revision of its booking.
    Recorded {
        revision: i32,
        /// The booking had another final status before.
        changes_final_status: bool,
    },
    /// A repetition of this revision.
    Duplicate {
        event_id: Uuid,
        revision: i32,
    },
    /// In the spool; it is recorded, or found to be a duplicate, when the spool is drained.
    Spooled,
    /// In `unprocessed_deliveries`.
    Unprocessed,
    /// It exceeds the account's quota of deliveries that are answered with an error: only counted.
    NotKept,
    /// Its booking is not in `bookings`, which the provider's settings require.
    UnknownBooking {
        /// Whether it is in `unprocessed_deliveries`: not when it exceeds the account's quota.
        is_kept: bool,
    },
    /// Postgres will never accept its row; it is in `unprocessed_deliveries`.
    Refused,
    /// Neither Postgres nor the spool took it.
    NotDurable,
    // nothing is stored of a delivery with one of the following outcomes
    Unauthenticated,
    /// It is not JSON, or incomplete, and not authenticated.
    Malformed,
    /// Its `Content-Encoding` is not gzip, and it is not authenticated.
    UnsupportedEncoding,
    TooLarge,
    /// It did not arrive in time.
    TimedOut,
}

impl Outcome {
    /// By [`Self::index`].
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

    /// In logs and metrics.
    pub const fn as_str(&self) -> &'static str {
        Self::WORDS[self.index()]
    }
}

/// Why a delivery did not become a TicketEvent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It is not JSON.
    Malformed,
    /// A required field is missing or cannot be used.
    Invalid,
    /// It has no ticket number where one is required.
    NoTicket,
    /// Its booking is not in `bookings`, which the provider's settings require.
    UnknownBooking,
    /// A type of notification that is not about tickets.
    UnsupportedType,
    /// The database will never accept its row.
    Refused,
}

impl Reason {
    pub const ALL: [Self; 6] =
        [Self::Malformed, Self::Invalid, Self::NoTicket, Self::UnknownBooking, Self::UnsupportedType, Self::Refused];

    /// Whether the reply is an error. Otherwise the provider will not send the delivery again.
    pub fn is_error(self) -> bool {
        !matches!(self, Self::UnsupportedType | Self::Refused)
    }

    /// In Postgres and in logs.
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

/// A row of `unprocessed_deliveries`, to be reprocessed.
#[derive(Clone, Debug)]
pub struct UnprocessedDelivery {
    /// UUIDv7, made at receipt.
    pub id: Uuid,
    pub provider: String,
    /// The name of the account.
    pub account: CompactString,
    pub environment: Environment,
    pub reason: Reason,
    /// The reason in words that name the fields.
    pub detail: String,
    /// Where it is known; always for [`Reason::UnknownBooking`].
    pub booking_ref: Option<CompactString>,
    /// As sent, without the credentials.
    pub body: Vec<u8>,
    pub received_at: OffsetDateTime,
}

impl UnprocessedDelivery {
    /// SHA-256.
    pub fn body_hash(&self) -> [u8; 32] {
        Sha256::digest(&self.body).into()
    }

    /// For an event that cannot be recorded.
    pub fn from_event(event: &TicketEvent, reason: Reason, detail: &str) -> Self {
        Self {
            id: event.id,
            provider: event.provider.to_owned(),
            account: event.account.clone(),
            environment: event.environment,
            reason,
            detail: detail.to_owned(),
            booking_ref: Some(event.booking.booking_ref.clone()),
            body: event.payload.clone().into_bytes(),
            received_at: event.received_at,
        }
    }
}
