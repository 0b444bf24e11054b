//! What the rest of the service knows of the commits of this process: that there was one, and whether they are many.
//!
//! Readers of the feed are woken by it. The tasks beside the deliveries ask it how long to pause: while deliveries come
//! faster than they can be committed one by one, Postgres and the processor are theirs.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// Over which the size of batches is averaged.
const WINDOW: Duration = Duration::from_millis(200);

/// Deliveries in an average batch from which on the service is under load: they wait for one another.
const LARGE_BATCH: usize = 16;

/// Under load, between two steps of a task, in times that the step took.
pub const PAUSE_UNDER_LOAD: u32 = 60;

#[derive(Default)]
pub struct Commits {
    committed: Notify,
    window: Mutex<Window>,
}

struct Window {
    began: Instant,
    batches: usize,
    deliveries: usize,
    /// In the window before.
    was_loaded: bool,
}

impl Default for Window {
    fn default() -> Self {
        Self { began: Instant::now(), batches: 0, deliveries: 0, was_loaded: false }
    }
}

impl Window {
    fn count(&mut self, deliveries: usize, now: Instant) {
        self.batches += 1;
        self.deliveries += deliveries;
        self.are_many(now);
    }

    fn are_many(&mut self, now: Instant) -> bool {
        if now - self.began >= WINDOW {
            let was_loaded = self.deliveries >= LARGE_BATCH * self.batches.max(1);
            *self = Self { began: now, batches: 0, deliveries: 0, was_loaded };
        }
        self.was_loaded
    }
}

impl Commits {
    /// A batch was committed.
    pub fn count(&self, deliveries: usize) {
        self.window().count(deliveries, Instant::now());
        self.committed.notify_one();
    }

    /// Waits for a commit since the last call. For one waiter.
    pub async fn next(&self) {
        self.committed.notified().await;
    }

    /// Whether deliveries have just waited for one another.
    pub fn are_many(&self) -> bool {
        self.window().are_many(Instant::now())
    }

    /// How long a task beside the deliveries pauses after a step that took some time: `factor` times that, more under load.
    pub fn pause_after(&self, step: Duration, factor: u32) -> Duration {
        step * if self.are_many() { PAUSE_UNDER_LOAD } else { factor }
    }

    /// Waits until deliveries do not wait for one another any more, at most for some time.
    pub async fn calm(&self, at_most: Duration) {
        let deadline = Instant::now() + at_most;
        while self.are_many() && Instant::now() < deadline {
            sleep_until(deadline.min(Instant::now() + WINDOW)).await;
        }
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_batches_are_load_until_they_end() {
        let mut window = Window::default();
        let mut now = window.began;
        let mut second_of = |batch| {
            for _ in 0..100 {
                now += Duration::from_millis(10);
                window.count(batch, now);
            }
            window.are_many(now)
        };
        assert!(!second_of(1));
        assert!(second_of(LARGE_BATCH));
        assert!(!second_of(LARGE_BATCH - 1));
        assert!(second_of(100));
        window.are_many(now + WINDOW);
        assert!(!window.are_many(now + 2 * WINDOW));
    }
}
