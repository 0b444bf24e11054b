//! The one line about every delivery. It names the booking and never shows what is in the body.

use std::{
    fmt,
    time::{Duration, Instant},
};

use tracing::Value;
use uuid::Uuid;

use super::{Request, Way};
use crate::{
    delivery::{Delivery, Receipt},
    metrics::Fate,
    providers::{Outcome, Provider},
    telemetry::{Trace, Traces},
};

/// About a delivery of which nothing is kept.
pub(super) fn not_taken_in(
    provider: &dyn Provider,
    request: &Request<'_>,
    outcome: &Outcome,
    fate: Fate,
    traces: &Traces,
) {
    write(provider, request, Err(outcome), fate, Instant::now(), traces);
}

/// What is said about a delivery that was handed in.
pub(super) struct Line<'a> {
    id: Uuid,
    way: &'a Way<'a>,
    /// A copy: the delivery itself is handed on.
    booking_ref: Option<String>,
    /// The status of the booking, or the reason why it is unprocessed.
    says: &'static str,
}

impl<'a> Line<'a> {
    pub(super) fn of(delivery: &Delivery, way: &'a Way<'a>) -> Self {
        let (id, booking_ref, says) = match delivery {
            Delivery::Event(event) => {
                (event.id, Some(event.booking.booking_ref.clone()), event.booking.status.as_str())
            }
            Delivery::Unprocessed(delivery) => (delivery.id, None, delivery.reason.as_str()),
        };
        Self { id, way, booking_ref, says }
    }

    /// `None` when nothing took it.
    pub(super) fn write(&self, receipt: Option<&Receipt>, fate: Fate, end: Instant, traces: &Traces) {
        let Way { endpoint, request, .. } = self.way;
        write(endpoint.provider, request, Ok((self, receipt)), fate, end, traces);
    }
}

/// The line and the trace. What is not known of a delivery is left out of both.
fn write(
    provider: &dyn Provider,
    request: &Request<'_>,
    delivery: Result<(&Line<'_>, Option<&Receipt>), &Outcome>,
    fate: Fate,
    end: Instant,
    traces: &Traces,
) {
    let line = delivery.as_ref().ok().map(|(line, _)| *line);
    let account = line.map(|line| line.way.account);
    let booking_ref = line.and_then(|line| line.booking_ref.as_deref());
    let event = match delivery {
        Ok((line, Some(Receipt::Recorded { revision, .. }))) => Some((line.id, *revision)),
        Ok((_, Some(Receipt::Duplicate { event_id, revision }))) => Some((*event_id, *revision)),
        _ => None,
    };
    let phases = line.map(|line| {
        let Way { authenticated, normalized, .. } = *line.way;
        [("authenticate", authenticated), ("normalize", normalized), ("make durable", end)]
    });
    let trace_id = traces.export(&Trace {
        parent: request.trace,
        provider: provider.name(),
        account,
        booking_ref,
        event,
        outcome: fate.as_str(),
        request_id: request.id,
        client: request.client,
        start: request.start,
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
                account = account.map(|account| account.name.as_str()),
                environment = account.map(|account| account.environment.as_str()),
                delivery.id = id,
                booking.reference = booking_ref,
                says = line.map(|line| line.says),
                outcome = fate.as_str(),
                status = delivery.err().map(|outcome| outcome.status().as_u16()),
                event.id = event_id,
                event.revision = event.map(|(_, revision)| revision),
                duration_ms = milliseconds(end - request.start),
                request.id = request.id,
                trace.id = shown(trace_id, request),
                client.address = %request.client,
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
fn shown(trace_id: Option<u128>, request: &Request<'_>) -> Option<impl Value> {
    let id = trace_id.or(request.trace.map(|trace| trace.trace_id));
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
