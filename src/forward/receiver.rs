//! What the receiver's answers tell of it as a whole.
//!
//! A booking that cannot be delivered holds up itself alone. When one first attempt after the other fails, most likely the
//! receiver is down: then first attempts are made slowly, so that an outage leaves no tens of thousands of failed bookings, and
//! the first success lets everything be tried again.

use std::time::Duration;

use tokio::time::Instant;

use super::answer::{Answer, Outcome};

/// First attempts that may fail one after the other. A receiver that refuses all bookings of one kind is not down.
const MAX_FAILURES: u32 = 1024;

/// Between two first attempts after that.
const SLOW_INTERVAL: Duration = Duration::from_millis(100);

/// So many failures without a success for so long are an outage, which the next success ends.
const OUTAGE_FAILURES: u32 = 16;
const OUTAGE_TIME: Duration = Duration::from_secs(10);

#[derive(Default)]
pub(super) struct Receiver {
    /// First attempts since the last success.
    failures: u32,
    /// When the first of them failed.
    failing_since: Option<Instant>,
    /// Of any attempt: the receiver asks for it.
    not_before: Option<Instant>,
    first_attempt_not_before: Option<Instant>,
}

impl Receiver {
    /// One that had asked for time.
    pub(super) fn resume(not_before: Option<Instant>) -> Self {
        Self { not_before, ..Self::default() }
    }

    /// When the next attempt may begin, if not now.
    pub(super) fn not_before(&self, now: Instant) -> Option<Instant> {
        self.not_before.filter(|time| *time > now)
    }

    /// When the next first attempt may begin, if not now.
    pub(super) fn first_attempt_not_before(&self, now: Instant) -> Option<Instant> {
        self.first_attempt_not_before.filter(|time| *time > now)
    }

    /// Whether it seems to be: first attempts are made slowly then.
    pub(super) fn is_down(&self) -> bool {
        self.failures >= MAX_FAILURES
    }

    pub(super) fn began_first_attempt(&mut self, now: Instant) {
        self.first_attempt_not_before = self.is_down().then_some(now + SLOW_INTERVAL);
    }

    /// Whether this ends an outage.
    pub(super) fn succeeded(&mut self, now: Instant) -> bool {
        let was_long = self.failing_since.is_some_and(|since| now - since >= OUTAGE_TIME);
        let was_down = self.failures >= OUTAGE_FAILURES && was_long;
        *self = Self { not_before: self.not_before, ..Self::default() };
        was_down
    }

    pub(super) fn failed(&mut self, answer: &Answer, is_first_attempt: bool, now: Instant) {
        if let Some(wait) = answer.retry_after.filter(|_| answer.is_busy()) {
            self.not_before = self.not_before.max(Some(now + wait));
        } else if is_first_attempt && answer.outcome != Outcome::Gone {
            self.failures = self.failures.saturating_add(1);
            self.failing_since = self.failing_since.or(Some(now));
        }
    }

    /// Forgets what it has seen.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}
