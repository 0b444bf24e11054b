//! Whether the receiver as a whole can be sent to, as far as its answers tell.
//!
//! A booking that cannot be delivered holds up itself alone. But when one first attempt after the other fails, the receiver is
//! down: then one request at a time looks whether it is back, so that an outage leaves no thousands of failed bookings.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    answer::{Answer, Outcome},
    backoff::backoff,
};

/// First attempts of different bookings that may fail one after the other. A receiver that refuses all bookings of one kind
/// is not down.
const MAX_FAILURES: u32 = 1024;

/// One without an answer counts as many: a receiver seldom fails so for the content of a booking.
const WITHOUT_ANSWER: u32 = 64;

/// Between two looks at a receiver that is down.
const MAX_PROBE_INTERVAL: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(super) struct Receiver {
    /// Since the last success.
    failures: u32,
    /// Requests that have found it down; 0: it is not.
    probes: u32,
    not_before: Option<Instant>,
}

impl Receiver {
    pub(super) fn is_down(&self) -> bool {
        self.probes > 0
    }

    /// When the next request may begin.
    pub(super) fn not_before(&self, now: Instant) -> Option<Instant> {
        self.not_before.filter(|time| *time > now)
    }

    /// Whether it is back after it was down.
    pub(super) fn succeeded(&mut self) -> bool {
        let was_down = self.is_down();
        *self = Self { not_before: self.not_before.filter(|_| !was_down), ..Self::default() };
        was_down
    }

    pub(super) fn failed(&mut self, answer: &Answer, is_first_attempt: bool, now: Instant, random: f64) {
        if let Some(wait) = answer.retry_after.filter(|_| answer.is_busy()) {
            self.wait_until(now + wait);
            return;
        }
        if answer.outcome == Outcome::Gone {
            return;
        }
        if is_first_attempt {
            self.failures += if answer.outcome.is_answer() { 1 } else { WITHOUT_ANSWER };
        }
        let is_probe = self.is_down() && self.not_before(now).is_none();
        let goes_down = !self.is_down() && self.failures >= MAX_FAILURES;
        if is_probe || goes_down {
            self.probes += 1;
            self.wait_until(now + backoff(self.probes, random).min(MAX_PROBE_INTERVAL));
        }
    }

    /// Forgets what it has seen.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    fn wait_until(&mut self, time: Instant) {
        self.not_before = self.not_before.max(Some(time));
    }
}
