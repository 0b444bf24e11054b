//! When to try again.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(5);

/// With the jitter it is five minutes.
const LAST: Duration = Duration::from_secs(240);

/// A quarter is added at most.
const JITTER: f64 = 0.25;

/// Before the next attempt after some that failed, from 5 s to 5 min. `random` is from 0 to 1: what failed together does not
/// come again together.
pub(super) fn backoff(failed: u32, random: f64) -> Duration {
    let doubled = FIRST.saturating_mul(2_u32.saturating_pow(failed.saturating_sub(1)));
    doubled.min(LAST).mul_f64(1.0 + JITTER * random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_from_5_seconds_to_5_minutes() {
        let seconds = |failed, random| backoff(failed, random).as_secs_f64();
        assert_eq!(
            [1, 2, 3, 6, 7, u32::MAX].map(|failed| seconds(failed, 0.0)),
            [5.0, 10.0, 20.0, 160.0, 240.0, 240.0]
        );
        assert_eq!([1, 7].map(|failed| seconds(failed, 1.0)), [6.25, 300.0]);
    }
}
