//! The timeout of one write after another.
//!
//! `tokio::time::timeout` registers a timer for each write. As that is due before all others, it wakes the thread that waits
//! for I/O, every time. This one stays registered, and moves on when it is due: every few seconds.

use std::{pin::Pin, time::Duration};

use tokio::{
    pin, select,
    task::coop::unconstrained,
    time::{Instant, Sleep, sleep_until},
};

pub(super) struct WriteTimer {
    sleep: Pin<Box<Sleep>>,
}

impl WriteTimer {
    pub(super) fn new() -> Self {
        Self { sleep: Box::pin(sleep_until(Instant::now())) }
    }

    /// `None`: the write took longer than the limit, and is cancelled.
    pub(super) async fn limit<T>(&mut self, limit: Duration, write: impl Future<Output = T>) -> Option<T> {
        let deadline = Instant::now() + limit;
        if self.sleep.deadline() > deadline {
            self.sleep.as_mut().reset(deadline);
        }
        pin!(write);
        loop {
            select! {
                biased;
                written = &mut write => return Some(written),
                // also when the write has used up the budget of the task
                () = unconstrained(&mut self.sleep) => {}
            }
            // it is due for an earlier write
            if Instant::now() >= deadline {
                return None;
            }
            self.sleep.as_mut().reset(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::time::sleep;

    use super::*;

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn a_write_that_takes_too_long_is_cancelled() {
        let mut timer = WriteTimer::new();
        let began = Instant::now();
        assert_eq!(timer.limit(SHORT, pending::<()>()).await, None);
        assert!(began.elapsed() >= SHORT);
        assert_eq!(timer.limit(SHORT, ready(1)).await, Some(1));
    }

    #[tokio::test]
    async fn the_limit_of_an_earlier_write_is_none_of_a_later_one() {
        let mut timer = WriteTimer::new();
        for limit in [SHORT, LONG] {
            assert_eq!(timer.limit(limit, ready(1)).await, Some(1));
            assert_eq!(timer.limit(LONG, sleep(SHORT * 2)).await, Some(()));
            let began = Instant::now();
            assert_eq!(timer.limit(SHORT, pending::<()>()).await, None);
            assert!(began.elapsed() < LONG / 2);
        }
    }
}
