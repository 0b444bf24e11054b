//! The one line about every delivery. It names the booking and never shows what is in the body.

use std::time::Duration;

use uuid::Uuid;

use super::Request;
use crate::{
    credentials::Account,
    delivery::{Delivery, Receipt},
    metrics::Fate,
    providers::{Outcome, Provider},
};

/// About a delivery of which nothing is kept.
pub(super) fn not_taken_in(provider: &dyn Provider, request: &Request<'_>, outcome: &Outcome, fate: Fate) {
    macro_rules! line {
        ($level:ident, $message:literal) => {
            tracing::$level!(
                provider = provider.name(),
                outcome = fate.as_str(),
                status = outcome.status().as_u16(),
                duration_ms = milliseconds(request.start.elapsed()),
                request.id = request.id,
                trace.id = request.trace.map(tracing::field::display),
                client.address = %request.client,
                $message
            )
        };
    }
    match fate {
        Fate::NotDurable => line!(error, "delivery not durable"),
        Fate::Unauthenticated => line!(warn, "delivery not authenticated"),
        _ => line!(warn, "delivery not taken in"),
    }
}

/// What is said about a delivery that was handed in.
pub(super) struct Line<'a> {
    id: Uuid,
    provider: &'static str,
    account: &'a Account,
    /// A copy: the delivery itself is handed on.
    booking_ref: Option<String>,
    /// The status of the booking, or the reason why it is unprocessed.
    says: &'static str,
}

impl<'a> Line<'a> {
    pub(super) fn of(delivery: &Delivery, provider: &dyn Provider, account: &'a Account) -> Self {
        let (id, booking_ref, says) = match delivery {
            Delivery::Event(event) => {
                (event.id, Some(event.booking.booking_ref.clone()), event.booking.status.as_str())
            }
            Delivery::Unprocessed(delivery) => (delivery.id, None, delivery.reason.as_str()),
        };
        Self { id, provider: provider.name(), account, booking_ref, says }
    }

    /// `None` when nothing took it.
    pub(super) fn write(&self, request: &Request<'_>, receipt: Option<&Receipt>, fate: Fate, duration: Duration) {
        let event = match receipt {
            Some(Receipt::Recorded { revision, .. }) => Some((self.id, *revision)),
            Some(Receipt::Duplicate { event_id, revision }) => Some((*event_id, *revision)),
            _ => None,
        };
        let (mut id_text, mut event_id_text) = (Uuid::encode_buffer(), Uuid::encode_buffer());
        let id: &str = self.id.hyphenated().encode_lower(&mut id_text);
        let event_id: Option<&str> = event.map(|(id, _)| &*id.hyphenated().encode_lower(&mut event_id_text));
        macro_rules! line {
            ($level:ident, $message:literal) => {
                tracing::$level!(
                    provider = self.provider,
                    account = self.account.name,
                    environment = self.account.environment.as_str(),
                    delivery.id = id,
                    booking.reference = self.booking_ref,
                    says = self.says,
                    outcome = fate.as_str(),
                    event.id = event_id,
                    event.revision = event.map(|(_, revision)| revision),
                    duration_ms = milliseconds(duration),
                    request.id = request.id,
                    trace.id = request.trace.map(tracing::field::display),
                    client.address = %request.client,
                    $message
                )
            };
        }
        match fate {
            Fate::NotDurable => line!(error, "delivery not durable"),
            _ => line!(info, "delivery"),
        }
    }
}

/// To the microsecond.
fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}
