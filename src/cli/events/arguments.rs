//! The values of the options.

use clap::builder::PossibleValuesParser;
use time::{Duration, OffsetDateTime};

use crate::{clock, providers, ticket_event::Status};

pub(in crate::cli) fn providers() -> PossibleValuesParser {
    PossibleValuesParser::new(providers::names())
}

pub(in crate::cli) fn statuses() -> PossibleValuesParser {
    PossibleValuesParser::new(Status::ALL.map(Status::as_str))
}

/// A time, a day in UTC, or how long ago.
pub(in crate::cli) fn time(text: &str) -> Result<OffsetDateTime, String> {
    clock::parse(text)
        .or_else(|| OffsetDateTime::now_utc().checked_sub(ago(text)?))
        .ok_or_else(|| "expected a time such as 2026-11-26T08:00:00Z, 2026-11-26, 90m, 12h or 7d".to_owned())
}

fn ago(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86400,
        _ => return None,
    };
    let number: u32 = text.strip_suffix(unit)?.parse().ok()?;
    Some(Duration::seconds(i64::from(number) * seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_time_a_day_or_how_long_ago() {
        assert_eq!(time("2026-11-26T08:00:00+02:00").unwrap().unix_timestamp(), 1_795_672_800);
        assert_eq!(time("2026-11-26").unwrap().unix_timestamp(), 1_795_651_200);
        let hours = OffsetDateTime::now_utc() - time("12h").unwrap();
        assert!((hours - Duration::hours(12)).abs() < Duration::minutes(1));
        for wrong in ["", "now", "12", "h", "-1d", "1.5h", "12é", "4294967295d", "2026-13-01"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }
}
