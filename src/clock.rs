//! The time of day, ids made from it, and times of receipt.
//!
//! Invariant: a time that is read from the machine's clock is between 1970 and the end of 9999, whatever it shows.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, SystemTime},
};

use time::{Date, OffsetDateTime, format_description::well_known::Rfc3339, macros::format_description};
use uuid::{NoContext, Timestamp, Uuid};

/// The end of the year 9999, in microseconds since 1970.
const MAX_MICROS: i64 = 253_402_300_799_999_999;

pub fn now() -> OffsetDateTime {
    from_micros(micros(SystemTime::now()))
}

pub fn system_time() -> SystemTime {
    let micros = micros(SystemTime::now());
    SystemTime::UNIX_EPOCH + Duration::from_micros(micros.unsigned_abs())
}

/// Whether the machine's clock is between 1970 and 9999, as HTTP dates must be.
pub fn is_usable() -> bool {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since_1970.is_ok_and(|since_1970| since_1970.as_micros() < MAX_MICROS.unsigned_abs().into())
}

pub fn new_id() -> Uuid {
    id_at(now())
}

/// A UUIDv7: ids sort by their time.
pub fn id_at(moment: OffsetDateTime) -> Uuid {
    let seconds = u64::try_from(moment.unix_timestamp()).unwrap_or_default();
    Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, moment.nanosecond()))
}

/// A moment as a person writes it: a day of UTC, or RFC 3339.
pub fn parse(text: &str) -> Option<OffsetDateTime> {
    let day = || Some(Date::parse(text, format_description!("[year]-[month]-[day]")).ok()?.midnight().assume_utc());
    OffsetDateTime::parse(text, &Rfc3339).ok().or_else(day)
}

/// Since 1970.
fn micros(time: SystemTime) -> i64 {
    let since_1970 = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_1970.as_micros()).unwrap_or(MAX_MICROS).min(MAX_MICROS)
}

fn from_micros(micros: i64) -> OffsetDateTime {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000);
    time.expect("it is between 1970 and 9999")
}

/// Times of receipt: each is at least a microsecond (the resolution of Postgres) after the one before, whatever the
/// machine's clock does.
///
/// They decide whether a delivery from a spool is late, which a corrected clock must not change.
pub struct ReceiptClock {
    /// In microseconds since 1970.
    last: AtomicI64,
}

impl ReceiptClock {
    /// A clock whose times are after `earlier`.
    pub fn after(earlier: Option<OffsetDateTime>) -> Self {
        let micros = earlier.map_or(0, |earlier| (earlier.unix_timestamp_nanos() + 999) / 1000);
        Self { last: AtomicI64::new(i64::try_from(micros).unwrap_or(MAX_MICROS).clamp(0, MAX_MICROS)) }
    }

    pub fn now(&self) -> OffsetDateTime {
        self.at(SystemTime::now())
    }

    fn at(&self, now: SystemTime) -> OffsetDateTime {
        let micros = micros(now);
        let next = |last: i64| micros.max(last + 1).min(MAX_MICROS);
        let last = self.last.fetch_update(Ordering::AcqRel, Ordering::Acquire, |last| Some(next(last)));
        from_micros(next(last.unwrap_or_else(|last| last)))
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
