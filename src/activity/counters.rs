//! What is counted of one provider, by environment: what became of deliveries, and how long they took.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::refused::{Refused, RefusedRequests};
use crate::{delivery::Outcome, metrics::DURATIONS, store::AddedCounts, ticket_event::Environment};

/// Those of [`DURATIONS`], and one for what takes longer.
const BUCKETS: usize = DURATIONS.len() + 1;

/// As in `delivery_counts.environment`. The last is for deliveries that were rejected before they were queued.
const ENVIRONMENTS: [&str; 3] = [Environment::Test.as_str(), Environment::Live.as_str(), "none"];

const NONE: usize = 2;

/// The columns of `delivery_counts`.
#[derive(Clone, Copy)]
enum Column {
    Recorded,
    Duplicates,
    Unprocessed,
    Unauthenticated,
    Unreadable,
    Unavailable,
}

impl Column {
    const COUNT: usize = 6;

    fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Recorded { .. } | Outcome::Spooled => Self::Recorded,
            Outcome::Duplicate { .. } => Self::Duplicates,
            Outcome::Unprocessed | Outcome::Refused | Outcome::UnknownBooking { is_kept: true } => Self::Unprocessed,
            Outcome::NotKept | Outcome::NotDurable | Outcome::UnknownBooking { is_kept: false } => Self::Unavailable,
            Outcome::Unauthenticated => Self::Unauthenticated,
            Outcome::Malformed | Outcome::UnsupportedEncoding | Outcome::TooLarge | Outcome::TimedOut => {
                Self::Unreadable
            }
        }
    }
}

/// The activity of one provider.
pub struct ProviderActivity {
    provider: &'static str,
    started: Instant,
    /// By [`ENVIRONMENTS`].
    counters: [Counters; ENVIRONMENTS.len()],
    refused: Arc<RefusedRequests>,
}

/// Of one environment, since the start of the process.
#[derive(Default)]
struct Counters {
    outcomes: [AtomicU64; Column::COUNT],
    durations: [AtomicU64; BUCKETS],
    /// When the last head had arrived, in microseconds since `started`.
    last_received: AtomicU64,
}

/// What the counters of one environment showed.
#[derive(Clone, Copy, Default)]
pub(super) struct Totals {
    outcomes: [u64; Column::COUNT],
    durations: [u64; BUCKETS],
    last_received: u64,
}

impl Totals {
    pub(super) const PER_PROVIDER: usize = ENVIRONMENTS.len();
}

impl ProviderActivity {
    pub(super) fn new(provider: &'static str, started: Instant, refused: Arc<RefusedRequests>) -> Self {
        Self { provider, started, counters: Default::default(), refused }
    }

    pub(super) fn provider(&self) -> &'static str {
        self.provider
    }

    /// Counts a delivery that was queued. Three relaxed atomic operations.
    pub fn count_queued(&self, environment: Environment, outcome: &Outcome, start: Instant, end: Instant) {
        let environment = match environment {
            Environment::Test => 0,
            Environment::Live => 1,
        };
        self.count(environment, Column::of(outcome), start);
        self.counters[environment].durations[bucket(end - start)].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a delivery that was rejected before it was queued.
    pub fn count_rejected(&self, outcome: &Outcome, is_authentication_failure: bool, start: Instant) {
        let column = if is_authentication_failure { Column::Unauthenticated } else { Column::of(outcome) };
        self.count(NONE, column, start);
    }

    /// Lists a delivery that left nothing else behind.
    pub fn refuse(&self, refused: Refused<'_>) {
        self.refused.push(Refused { provider: Some(self.provider), ..refused });
    }

    fn count(&self, environment: usize, column: Column, start: Instant) {
        let counters = &self.counters[environment];
        counters.outcomes[column as usize].fetch_add(1, Ordering::Relaxed);
        counters.last_received.store(self.micros(start), Ordering::Relaxed);
    }

    /// Since the start, in microseconds.
    fn micros(&self, time: Instant) -> u64 {
        u64::try_from(time.duration_since(self.started).as_micros()).unwrap_or(u64::MAX)
    }

    pub(super) fn totals(&self) -> impl Iterator<Item = Totals> {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        self.counters.iter().map(move |counters| Totals {
            outcomes: counters.outcomes.each_ref().map(read),
            durations: counters.durations.each_ref().map(read),
            last_received: read(&counters.last_received),
        })
    }

    /// By environment, those of which something came between two totals.
    pub(super) fn added(&self, now: &[Totals], then: &[Totals]) -> impl Iterator<Item = AddedCounts> {
        let time = self.micros(Instant::now());
        ENVIRONMENTS.into_iter().zip(now.iter().zip(then)).filter_map(move |(environment, (now, then))| {
            let [recorded, duplicates, unprocessed, unauthenticated, unreadable, unavailable] =
                std::array::from_fn(|column| now.outcomes[column] - then.outcomes[column]);
            let durations: Vec<_> = now.durations.iter().zip(&then.durations).map(|(now, then)| now - then).collect();
            let is_any = now.outcomes != then.outcomes || now.durations != then.durations;
            is_any.then(|| AddedCounts {
                provider: self.provider,
                environment,
                recorded,
                duplicates,
                unprocessed,
                unauthenticated,
                unreadable,
                unavailable,
                age_seconds: Duration::from_micros(time.saturating_sub(now.last_received)).as_secs_f64(),
                durations,
            })
        })
    }
}

/// The first whose bound is not below the duration.
fn bucket(duration: Duration) -> usize {
    let seconds = duration.as_secs_f64();
    DURATIONS.partition_point(|bound| *bound < seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_bucket_that_ends_at_or_above_it() {
        for (micros, expected) in
            [(0, 0), (50, 0), (51, 1), (1000, 4), (1001, 5), (10_000_000, BUCKETS - 2), (10_000_001, BUCKETS - 1)]
        {
            assert_eq!(bucket(Duration::from_micros(micros)), expected, "{micros}");
        }
    }

    #[test]
    fn what_is_added_is_what_came_since_by_environment() {
        let start = Instant::now();
        let activity = ProviderActivity::new("one", start, Arc::default());
        let now = |activity: &ProviderActivity| activity.totals().collect::<Vec<_>>();
        let end = start + Duration::from_millis(3);
        let before = now(&activity);
        activity.count_queued(Environment::Live, &Outcome::Spooled, start, end);
        activity.count_queued(Environment::Live, &Outcome::UnknownBooking { is_kept: true }, start, end);
        activity.count_queued(Environment::Live, &Outcome::UnknownBooking { is_kept: false }, start, end);
        activity.count_rejected(&Outcome::Malformed, true, start);
        activity.count_rejected(&Outcome::TooLarge, false, start);
        let between = now(&activity);
        let added: Vec<_> = activity.added(&between, &before).collect();
        let [live, none] = added.as_slice() else { panic!("{added:?}") };
        assert_eq!((live.environment, live.recorded, live.unprocessed, live.unavailable), ("live", 1, 1, 1));
        assert_eq!((live.durations.iter().sum::<u64>(), live.durations[6]), (3, 3));
        assert_eq!((none.environment, none.unauthenticated, none.unreadable), ("none", 1, 1));
        assert_eq!(none.durations.iter().sum::<u64>(), 0);
        assert_eq!(activity.added(&now(&activity), &between).count(), 0);
    }
}
