//! The log line of every attempt.
//!
//! Invariant: a line names the booking and the event, and repeats nothing else of them.

use super::{Attempted, Outcome};

pub fn log_attempt(forward: &str, attempted: &Attempted) {
    let Attempted { item, attempt, kind, answer, duration } = attempted;
    macro_rules! line {
        ($level:ident, $message:literal) => {
            tracing::$level!(
                forward,
                item.id = %item.id,
                item.r#type = kind,
                provider = item.booking.provider,
                environment = item.booking.environment,
                booking.reference = item.booking.booking_ref,
                attempt,
                outcome = answer.outcome.as_str(),
                status = answer.status.map(|status| status.as_u16()),
                retry_after_seconds = answer.retry_after.map(|wait| wait.as_secs()),
                error = answer.error,
                duration_ms = duration.as_micros() as f64 / 1000.0,
                $message
            )
        };
    }
    match answer.outcome {
        Outcome::Delivered => line!(info, "forwarded"),
        Outcome::Gone => line!(error, "the receiver is gone (410): the forward is paused"),
        _ => line!(warn, "not forwarded"),
    }
}
