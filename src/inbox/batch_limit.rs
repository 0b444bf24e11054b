//! How many batches of an environment may be in flight, and when the next one begins.
//!
//! Invariants:
//!
//! - As a rule they are few. While Postgres waits for processors and the sync of its own disk, more would only be smaller,
//!   and cost more.
//! - They are many while even the fastest of them is slow: Postgres waits for a synchronous standby far away, or for pages
//!   that are not in memory, and can do that for several at once. These begin at intervals, so that they stay large.

use std::time::Duration;

use tokio::time::Instant;

/// In which the fastest batch is looked for.
const WINDOW: Duration = Duration::from_millis(200);

/// Time in flight from which on a batch is slow: several times that of the fastest ones without a distant standby.
const SLOW: Duration = Duration::from_millis(4);

/// Between the beginnings of batches when there are more than a few.
const INTERVAL: Duration = Duration::from_millis(2);

#[cfg_attr(test, derive(Clone))]
pub(super) struct BatchLimit {
    few: usize,
    many: usize,
    in_flight: usize,
    last_began: Instant,
    window_began: Instant,
    /// In this window.
    fastest: Option<Duration>,
    /// In the window before.
    is_slow: bool,
}

impl BatchLimit {
    pub(super) fn new(few: usize, many: usize) -> Self {
        let now = Instant::now();
        Self { few, many, in_flight: 0, last_began: now, window_began: now, fastest: None, is_slow: false }
    }

    /// When the next batch may begin. `None`: once another has ended.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        match self.in_flight {
            in_flight if in_flight < self.few => Some(now),
            in_flight if in_flight < self.many && self.is_slow => Some(now.max(self.last_began + INTERVAL)),
            _ => None,
        }
    }

    pub(super) fn begin(&mut self, now: Instant) {
        self.in_flight += 1;
        self.last_began = now;
    }

    /// A batch ends. `written_in`: how long the write took, if it is in Postgres.
    pub(super) fn end(&mut self, written_in: Option<Duration>, now: Instant) {
        self.in_flight -= 1;
        // the spool gets no emptier with more batches: they count as fast
        let took = written_in.unwrap_or_default();
        let fastest = self.fastest.map_or(took, |fastest| fastest.min(took));
        self.fastest = Some(fastest);
        if now - self.window_began >= WINDOW {
            (self.window_began, self.fastest, self.is_slow) = (now, None, fastest >= SLOW);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Batches one after the other, until they fill a window.
    fn fill_window(limit: &mut BatchLimit, took: &[Duration], now: &mut Instant) {
        let began = *now;
        for took in took.iter().cycle() {
            limit.begin(*now);
            *now += *took;
            limit.end(Some(*took), *now);
            if *now - began >= WINDOW {
                break;
            }
        }
    }

    /// How many can be in flight at once.
    fn most_in_flight(limit: &BatchLimit, mut now: Instant) -> usize {
        let mut limit = limit.clone();
        while let Some(next) = limit.next(now) {
            now = next;
            limit.begin(now);
        }
        limit.in_flight
    }

    #[test]
    fn more_batches_begin_at_intervals_while_even_the_fastest_is_slow() {
        let mut limit = BatchLimit::new(2, 4);
        let mut now = Instant::now();
        let (fast, slow) = (SLOW / 2, SLOW * 2);
        fill_window(&mut limit, &[slow, fast, slow], &mut now);
        assert_eq!(most_in_flight(&limit, now), 2);

        now += WINDOW;
        limit.begin(now);
        limit.end(Some(slow), now);
        fill_window(&mut limit, &[slow], &mut now);
        assert_eq!(most_in_flight(&limit, now), 4);
        for _ in 0..2 {
            assert_eq!(limit.next(now), Some(now));
            limit.begin(now);
        }
        for _ in 0..2 {
            assert_eq!(limit.next(now), Some(now + INTERVAL));
            now += INTERVAL;
            assert_eq!(limit.next(now), Some(now));
            limit.begin(now);
        }
        assert_eq!(limit.next(now + WINDOW), None);
        limit.end(Some(slow), now);
        assert!(limit.next(now).is_some());

        fill_window(&mut limit, &[fast], &mut now);
        assert_eq!(limit.next(now), None);
    }

    #[test]
    fn what_is_not_in_postgres_raises_nothing() {
        let mut limit = BatchLimit::new(2, 4);
        let mut now = Instant::now();
        limit.begin(now);
        limit.end(None, now);
        fill_window(&mut limit, &[SLOW * 2], &mut now);
        assert_eq!(most_in_flight(&limit, now), 2);
    }

    #[test]
    fn where_few_are_all_a_slow_one_changes_nothing() {
        let mut limit = BatchLimit::new(1, 1);
        let mut now = Instant::now();
        fill_window(&mut limit, &[SLOW * 2], &mut now);
        assert_eq!(most_in_flight(&limit, now), 1);
    }
}
