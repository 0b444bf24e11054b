//! The log line and the trace of every delivery.
//!
//! Invariant: a line names the booking and repeats nothing else of the body.

use std::{
    fmt,
    time::{Duration, Instant},
};

use compact_str::CompactString;
use tracing::Value;
use uuid::Uuid;

use super::{RequestContext, rejected::Rejected};
use crate::{
    credentials::AuthenticationFailure,
    delivery::{Delivery, Outcome, Reason, UnprocessedDelivery},
    providers::Provider,
    telemetry::{Trace, Traces},
    ticket_event::{Environment, Status, TicketEvent},
};

pub(super) fn write_rejected(
    provider: &dyn Provider,
    context: &RequestContext,
    rejected: &Rejected,
    outcome: &Outcome,
    traces: &Traces,
) {
    write(provider, context, Err(rejected), outcome, Instant::now(), traces);
}

/// What is logged about an admitted delivery; copied, because the delivery itself is submitted.
pub(super) struct LogEntry {
    id: Uuid,
    account: CompactString,
    environment: Environment,
    summary: Summary,
    authenticated: Instant,
    normalized: Instant,
}

enum Summary {
    Booking { reference: CompactString, status: Status },
    Unprocessed { reason: Reason, detail: String },
}

impl LogEntry {
    pub(super) fn of(delivery: &Delivery, authenticated: Instant, normalized: Instant) -> Self {
        let (id, account, environment, summary) = match delivery {
            Delivery::Event(event) => {
                let TicketEvent { id, account, environment, booking, .. } = event;
                let summary = Summary::Booking { reference: booking.booking_ref.clone(), status: booking.status };
                (id, account, environment, summary)
            }
            Delivery::Unprocessed(delivery) => {
                let UnprocessedDelivery { id, account, environment, reason, detail, .. } = delivery;
                (id, account, environment, Summary::Unprocessed { reason: *reason, detail: detail.clone() })
            }
        };
        let (id, account, environment) = (*id, account.clone(), *environment);
        Self { id, account, environment, summary, authenticated, normalized }
    }

    fn booking(&self) -> Option<(&str, Status)> {
        match &self.summary {
            Summary::Booking { reference, status } => Some((reference, *status)),
            Summary::Unprocessed { .. } => None,
        }
    }

    /// The reason and its detail.
    fn reason(&self) -> Option<(&'static str, &str)> {
        match &self.summary {
            Summary::Booking { .. } => None,
            Summary::Unprocessed { reason, detail } => Some((reason.as_str(), detail)),
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

/// Both omit what is not known of the delivery.
fn write(
    provider: &dyn Provider,
    context: &RequestContext,
    delivery: Result<&LogEntry, &Rejected>,
    outcome: &Outcome,
    end: Instant,
    traces: &Traces,
) {
    let entry = delivery.ok();
    let account = entry.map(|entry| (entry.account.as_str(), entry.environment));
    let booking = entry.and_then(LogEntry::booking);
    let rejected = delivery.err();
    let message = rejected.map(|rejected| rejected.reply.message());
    let (reason, detail) = match rejected {
        Some(rejected) => (rejected.failure.map(AuthenticationFailure::as_str), message.as_deref()),
        None => entry.and_then(LogEntry::reason).unzip(),
    };
    let event = match outcome {
        Outcome::Recorded { revision, .. } => entry.map(|entry| (entry.id, *revision)),
        Outcome::Duplicate { event_id, revision } => Some((*event_id, *revision)),
        _ => None,
    };
    let phases = entry.map(|entry| {
        [("authenticate", entry.authenticated), ("normalize", entry.normalized), ("queue and write", end)]
    });
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
    let id: Option<&str> = entry.map(|entry| &*entry.id.hyphenated().encode_lower(&mut id_text));
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
                trace.id = logged_trace_id(trace_id, context),
                client.address = %context.client,
                $message
            )
        };
    }
    match (outcome, delivery) {
        (Outcome::NotDurable, _) => line!(error, "delivery not durable"),
        (Outcome::Unauthenticated, _) => line!(warn, "delivery not authenticated"),
        (_, Err(_)) => line!(warn, "delivery rejected"),
        (_, Ok(_)) => line!(info, "delivery"),
    }
}

/// The exported trace, else the caller's.
fn logged_trace_id(trace_id: Option<u128>, context: &RequestContext) -> Option<impl Value> {
    let id = trace_id.or(context.trace.map(|trace| trace.trace_id));
    id.map(|id| tracing::field::display(Hex(id)))
}

/// 32 digits.
struct Hex(u128);

impl fmt::Display for Hex {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

/// With the precision of a microsecond.
fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}
