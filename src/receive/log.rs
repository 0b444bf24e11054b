//! The one line about every delivery. It names the booking and never shows what is in the body.

use std::{
    fmt,
    time::{Duration, Instant},
};

use compact_str::CompactString;
use tracing::Value;
use uuid::Uuid;

use super::{Rejected, RequestContext};
use crate::{
    credentials::AuthenticationFailure,
    delivery::{Delivery, Outcome, Reason, UnprocessedDelivery},
    providers::Provider,
    telemetry::{Trace, Traces},
    ticket_event::{Environment, Status, TicketEvent},
};

/// About a delivery of which nothing is kept.
pub(super) fn rejected(
    provider: &dyn Provider,
    context: &RequestContext,
    rejected: &Rejected,
    outcome: &Outcome,
    traces: &Traces,
) {
    write(provider, context, Err(rejected), outcome, Instant::now(), traces);
}

/// What is said about a delivery that was handed in: copies, as it is handed on.
pub(super) struct Line {
    id: Uuid,
    account: CompactString,
    environment: Environment,
    content: Content,
    authenticated: Instant,
    normalized: Instant,
}

/// What it says, or why nobody knows.
enum Content {
    Booking { reference: CompactString, status: Status },
    Unprocessed { reason: Reason, detail: String },
}

impl Line {
    pub(super) fn of(delivery: &Delivery, authenticated: Instant, normalized: Instant) -> Self {
        let (id, account, environment, content) = match delivery {
            Delivery::Event(event) => {
                let TicketEvent { id, account, environment, booking, .. } = event;
                let content = Content::Booking { reference: booking.booking_ref.clone(), status: booking.status };
                (id, account, environment, content)
            }
            Delivery::Unprocessed(delivery) => {
                let UnprocessedDelivery { id, account, environment, reason, detail, .. } = delivery;
                (id, account, environment, Content::Unprocessed { reason: *reason, detail: detail.clone() })
            }
        };
        let (id, account, environment) = (*id, account.clone(), *environment);
        Self { id, account, environment, content, authenticated, normalized }
    }

    fn booking(&self) -> Option<(&str, Status)> {
        match &self.content {
            Content::Booking { reference, status } => Some((reference, *status)),
            Content::Unprocessed { .. } => None,
        }
    }

    /// Why it is no booking: in a word, and in words that name the fields or the place.
    fn reason(&self) -> Option<(&'static str, &str)> {
        match &self.content {
            Content::Booking { .. } => None,
            Content::Unprocessed { reason, detail } => Some((reason.as_str(), detail)),
        }
    }

    pub(super) fn environment(&self) -> Environment {
        self.environment
    }

    pub(super) fn write(
        &self,
        provider: &dyn Provider,
        context: &RequestContext,
        outcome: &Outcome,
        end: Instant,
        traces: &Traces,
    ) {
        write(provider, context, Ok(self), outcome, end, traces);
    }
}

/// The line and the trace. What is not known of a delivery is left out of both.
fn write(
    provider: &dyn Provider,
    context: &RequestContext,
    delivery: Result<&Line, &Rejected>,
    outcome: &Outcome,
    end: Instant,
    traces: &Traces,
) {
    let line = delivery.ok();
    let account = line.map(|line| (line.account.as_str(), line.environment));
    let booking = line.and_then(Line::booking);
    let rejected = delivery.err();
    let message = rejected.map(|rejected| rejected.reply.message());
    let (reason, detail) = match rejected {
        Some(rejected) => (rejected.failure.map(AuthenticationFailure::as_str), message.as_deref()),
        None => line.and_then(Line::reason).unzip(),
    };
    let event = match outcome {
        Outcome::Recorded { revision, .. } => line.map(|line| (line.id, *revision)),
        Outcome::Duplicate { event_id, revision } => Some((*event_id, *revision)),
        _ => None,
    };
    let phases = line
        .map(|line| [("authenticate", line.authenticated), ("normalize", line.normalized), ("queue and write", end)]);
    let trace_id = traces.export(&Trace {
        parent: context.trace,
        provider: provider.name(),
        account,
        booking_ref: booking.map(|(reference, _)| reference),
        event,
        outcome: outcome.as_str(),
        request_id: &context.id,
        client: context.client,
        start: context.start,
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
                booking.reference = booking.map(|(reference, _)| reference),
                booking.status = booking.map(|(_, status)| status.as_str()),
                reason,
                detail,
                outcome = outcome.as_str(),
                status = rejected.map(|rejected| rejected.reply.status().as_u16()),
                event.id = event_id,
                event.revision = event.map(|(_, revision)| revision),
                duration_ms = milliseconds(end - context.start),
                request.id = context.id.as_str(),
                trace.id = shown(trace_id, context),
                client.address = %context.client,
                $message
            )
        };
    }
    match (outcome, delivery) {
        (Outcome::NotDurable, _) => line!(error, "delivery not durable"),
        (Outcome::Unauthenticated, _) => line!(warn, "delivery not authenticated"),
        (_, Err(_)) => line!(warn, "delivery not taken in"),
        (_, Ok(_)) => line!(info, "delivery"),
    }
}

/// The trace that was exported, else the one that the caller named.
fn shown(trace_id: Option<u128>, context: &RequestContext) -> Option<impl Value> {
    let id = trace_id.or(context.trace.map(|trace| trace.trace_id));
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
