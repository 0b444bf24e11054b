//! The one line about every delivery. It names the booking and never shows what is in the body.

use std::{
    fmt,
    time::{Duration, Instant},
};

use compact_str::CompactString;
use tracing::Value;
use uuid::Uuid;

use super::Origin;
use crate::{
    delivery::{Delivery, Receipt, UnprocessedDelivery},
    metrics::Fate,
    providers::{Outcome, Provider},
    telemetry::{Trace, Traces},
    ticket_event::{Environment, TicketEvent},
};

/// About a delivery of which nothing is kept.
pub(super) fn not_taken_in(provider: &dyn Provider, origin: &Origin, outcome: &Outcome, fate: Fate, traces: &Traces) {
    write(provider, origin, Err(outcome), fate, Instant::now(), traces);
}

/// What is said about a delivery that was handed in: copies, as it is handed on.
pub(super) struct Line {
    id: Uuid,
    account: CompactString,
    environment: Environment,
    booking_ref: Option<CompactString>,
    /// The status of the booking, or the reason why it is unprocessed.
    says: &'static str,
    authenticated: Instant,
    normalized: Instant,
}

impl Line {
    pub(super) fn of(delivery: &Delivery, authenticated: Instant, normalized: Instant) -> Self {
        let (id, account, environment, booking_ref, says) = match delivery {
            Delivery::Event(event) => {
                let TicketEvent { id, account, environment, booking, .. } = event;
                (id, account, environment, Some(booking.booking_ref.clone()), booking.status.as_str())
            }
            Delivery::Unprocessed(delivery) => {
                let UnprocessedDelivery { id, account, environment, reason, .. } = delivery;
                (id, account, environment, None, reason.as_str())
            }
        };
        let (id, account, environment) = (*id, account.clone(), *environment);
        Self { id, account, environment, booking_ref, says, authenticated, normalized }
    }

    pub(super) fn environment(&self) -> Environment {
        self.environment
    }

    /// `None` when nothing took it.
    pub(super) fn write(
        &self,
        provider: &dyn Provider,
        origin: &Origin,
        receipt: Option<&Receipt>,
        fate: Fate,
        end: Instant,
        traces: &Traces,
    ) {
        write(provider, origin, Ok((self, receipt)), fate, end, traces);
    }
}

/// The line and the trace. What is not known of a delivery is left out of both.
fn write(
    provider: &dyn Provider,
    origin: &Origin,
    delivery: Result<(&Line, Option<&Receipt>), &Outcome>,
    fate: Fate,
    end: Instant,
    traces: &Traces,
) {
    let line = delivery.as_ref().ok().map(|(line, _)| *line);
    let account = line.map(|line| (line.account.as_str(), line.environment));
    let booking_ref = line.and_then(|line| line.booking_ref.as_deref());
    let event = match delivery {
        Ok((line, Some(Receipt::Recorded { revision, .. }))) => Some((line.id, *revision)),
        Ok((_, Some(Receipt::Duplicate { event_id, revision }))) => Some((*event_id, *revision)),
        _ => None,
    };
    let phases =
        line.map(|line| [("authenticate", line.authenticated), ("normalize", line.normalized), ("make durable", end)]);
    let trace_id = traces.export(&Trace {
        parent: origin.trace,
        provider: provider.name(),
        account,
        booking_ref,
        event,
        outcome: fate.as_str(),
        request_id: &origin.id,
        client: origin.client,
        start: origin.start,
        phases: phases.as_ref().map_or(&[], |phases| phases),
        end,
    });
    let (mut id_text, mut event_id_text) = (Uuid::encode_buffer(), Uuid::encode_buffer());
    let id: Option<&str> = line.map(|line| &*line.id.hyphenated().encode_lower(&mut id_text));
    let event_id: Option<&str> = event.map(|(id, _)| &*id.hyphenated().encode_lower(&mut event_id_text));
    macro_rules! line {
        ($level:ident, $message:literal) => {
            tracing::$level!(
                provider = provider.name(),
                account = account.map(|(name, _)| name),
                environment = account.map(|(_, environment)| environment.as_str()),
                delivery.id = id,
                booking.reference = booking_ref,
                says = line.map(|line| line.says),
                outcome = fate.as_str(),
                status = delivery.err().map(|outcome| outcome.status().as_u16()),
                event.id = event_id,
                event.revision = event.map(|(_, revision)| revision),
                duration_ms = milliseconds(end - origin.start),
                request.id = origin.id.as_str(),
                trace.id = shown(trace_id, origin),
                client.address = %origin.client,
                $message
            )
        };
    }
    match (fate, delivery) {
        (Fate::NotDurable, _) => line!(error, "delivery not durable"),
        (Fate::Unauthenticated, _) => line!(warn, "delivery not authenticated"),
        (_, Err(_)) => line!(warn, "delivery not taken in"),
        (_, Ok(_)) => line!(info, "delivery"),
    }
}

/// The trace that was exported, else the one that the caller named.
fn shown(trace_id: Option<u128>, origin: &Origin) -> Option<impl Value> {
    let id = trace_id.or(origin.trace.map(|trace| trace.trace_id));
    id.map(|id| tracing::field::display(Hex(id)))
}

struct Hex(u128);

impl fmt::Display for Hex {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

/// To the microsecond.
fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}
