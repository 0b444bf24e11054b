//! The time of day, the ids made of it, and the times of receipt.
//!
//! The machine's clock may be wrong beyond measure: a time before 1970 counts as 1970, one after 9999 as its end.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, SystemTime},
};

use time::OffsetDateTime;
use uuid::{NoContext, Timestamp, Uuid};

/// The last moment that there is, in microseconds since 1970: the end of the year 9999.
const LAST: i64 = 253_402_300_799_999_999;

/// The time.
pub fn now() -> OffsetDateTime {
    of_micros(micros(SystemTime::now()))
}

/// The time, as the standard library has it.
pub fn system_time() -> SystemTime {
    let micros = micros(SystemTime::now());
    SystemTime::UNIX_EPOCH + Duration::from_micros(micros.unsigned_abs())
}

/// Whether the machine's clock shows a time that HTTP has a word for: one between 1970 and 9999.
pub fn is_usable() -> bool {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since_1970.is_ok_and(|since_1970| since_1970.as_micros() < LAST.unsigned_abs().into())
}

/// A UUIDv7 of this moment.
pub fn new_id() -> Uuid {
    id_at(now())
}

/// A UUIDv7 of a moment: ids sort by it.
pub fn id_at(moment: OffsetDateTime) -> Uuid {
    let seconds = u64::try_from(moment.unix_timestamp()).unwrap_or_default();
    Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, moment.nanosecond()))
}

/// In microseconds since 1970.
fn micros(time: SystemTime) -> i64 {
    let since_1970 = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_1970.as_micros()).unwrap_or(LAST).min(LAST)
}

fn of_micros(micros: i64) -> OffsetDateTime {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000);
    time.expect("it is between 1970 and 9999")
}

/// Gives out times of receipt.
///
/// They never run backwards, whatever the machine's clock does: by them it is decided what a delivery that waited in a
/// spool was overtaken by, and a clock that is corrected must overtake nothing. Every time is later than the one before,
/// by a microsecond at least, which is what Postgres keeps.
pub struct ReceiptClock {
    /// The last one, in microseconds since 1970.
    last: AtomicI64,
}

impl ReceiptClock {
    /// A clock whose times are later than this one, if there is one.
    pub fn after(earlier: Option<OffsetDateTime>) -> Self {
        let micros = earlier.map_or(0, |earlier| (earlier.unix_timestamp_nanos() + 999) / 1000);
        Self { last: AtomicI64::new(i64::try_from(micros).unwrap_or(LAST).clamp(0, LAST)) }
    }

    /// The time of receipt of what arrives now.
    pub fn now(&self) -> OffsetDateTime {
        self.at(SystemTime::now())
    }

    /// The same where the machine's clock shows this.
    fn at(&self, now: SystemTime) -> OffsetDateTime {
        let micros = micros(now);
        let next = |last: i64| micros.max(last + 1).min(LAST);
        let last = self.last.fetch_update(Ordering::AcqRel, Ordering::Acquire, |last| Some(next(last)));
        of_micros(next(last.unwrap_or_else(|last| last)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn times_never_run_backwards() {
        let clock = ReceiptClock::after(None);
        let first = clock.at(seconds(10_000));
        assert_eq!(first.unix_timestamp(), 10_000);
        let second = clock.at(seconds(10_000 - 3600));
        assert_eq!(second - first, time::Duration::MICROSECOND);
        assert_eq!(clock.at(seconds(10_000)) - second, time::Duration::MICROSECOND);
        assert_eq!(clock.at(seconds(10_001)).unix_timestamp(), 10_001);
    }

    #[test]
    fn they_go_on_behind_what_was_received_before() {
        let before = OffsetDateTime::from_unix_timestamp_nanos(5_000_000_000_001).unwrap();
        let clock = ReceiptClock::after(Some(before));
        assert!(clock.at(seconds(1)) > before);
        assert!(clock.at(seconds(1)) - before < time::Duration::microseconds(3));
    }

    #[test]
    fn a_clock_that_is_wrong_beyond_measure_is_no_panic() {
        let clock = ReceiptClock::after(None);
        let before_1970 = SystemTime::UNIX_EPOCH - Duration::from_secs(1 << 35);
        assert_eq!(clock.at(before_1970).unix_timestamp(), 0);
        for far in [seconds(1 << 38), seconds(1 << 50), seconds(1)] {
            assert_eq!(clock.at(far).year(), 9999);
        }
    }
}
