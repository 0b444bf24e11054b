//! A log line as JSON: time, level, the fields in their order, target.
//!
//! `tracing-subscriber` has one too, which takes more than twice the instructions: it writes piece by piece, and each
//! piece is checked to be UTF-8.

use std::fmt::{self, Write};

use time::OffsetDateTime;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format},
    registry::LookupSpan,
};

use crate::clock;

/// As long as the line about a delivery.
const USUAL_LENGTH: usize = 768;

pub(super) struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: format::Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = Line(String::with_capacity(USUAL_LENGTH));
        line.0.push_str("{\"timestamp\":\"");
        line.time(clock::now());
        line.0.push_str("\",\"level\":\"");
        line.0.push_str(event.metadata().level().as_str());
        line.0.push('"');
        event.record(&mut line);
        line.text("target", event.metadata().target());
        line.0.push_str("}\n");
        out.write_str(&line.0)
    }
}

struct Line(String);

impl Line {
    fn key(&mut self, name: &str) {
        self.0.push_str(",\"");
        self.0.push_str(name.strip_prefix("r#").unwrap_or(name));
        self.0.push_str("\":");
    }

    fn text(&mut self, name: &str, value: &str) {
        self.key(name);
        self.0.push('"');
        // neither this nor any other write to a string can fail
        let _ = Escaped(&mut self.0).write_str(value);
        self.0.push('"');
    }

    fn shown(&mut self, name: &str, value: fmt::Arguments<'_>) {
        self.key(name);
        self.0.push('"');
        let _ = Escaped(&mut self.0).write_fmt(value);
        self.0.push('"');
    }

    fn number(&mut self, name: &str, value: impl fmt::Display) {
        self.key(name);
        let _ = write!(self.0, "{value}");
    }

    /// To the microsecond, in UTC.
    fn time(&mut self, now: OffsetDateTime) {
        let (hour, minute, second, micros) = now.time().as_hms_micro();
        self.digits(now.year().unsigned_abs(), 4, '-');
        self.digits(u32::from(u8::from(now.month())), 2, '-');
        self.digits(u32::from(now.day()), 2, 'T');
        self.digits(u32::from(hour), 2, ':');
        self.digits(u32::from(minute), 2, ':');
        self.digits(u32::from(second), 2, '.');
        self.digits(micros, 6, 'Z');
    }

    fn digits(&mut self, value: u32, count: u32, behind: char) {
        for place in (0..count).rev() {
            let digit = value / 10_u32.pow(place) % 10;
            self.0.push(char::from_digit(digit, 10).unwrap_or('0'));
        }
        self.0.push(behind);
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.shown(field.name(), format_args!("{value:?}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.shown(field.name(), format_args!("{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.number(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.number(field.name(), value);
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.number(field.name(), value);
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.number(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.number(field.name(), value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.number(field.name(), value);
        } else {
            self.number(field.name(), "null");
        }
    }
}

/// What is written to it is escaped as the inside of a string. So is what would change how a terminal shows the line:
/// control characters, and those that turn the direction of text.
struct Escaped<'a>(&'a mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if !text.is_ascii() {
            let turns = |character| matches!(character, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            return text.chars().try_for_each(|character| match character {
                '"' | '\\' => {
                    self.0.extend(['\\', character]);
                    Ok(())
                }
                _ if character.is_control() || turns(character) => write!(self.0, "\\u{:04x}", u32::from(character)),
                _ => {
                    self.0.push(character);
                    Ok(())
                }
            });
        }
        let mut rest = text;
        while let Some(at) = rest.bytes().position(|byte| byte < b' ' || byte == 0x7f || byte == b'"' || byte == b'\\')
        {
            self.0.push_str(&rest[..at]);
            match rest.as_bytes()[at] {
                byte @ (b'"' | b'\\') => self.0.extend(['\\', char::from(byte)]),
                byte => write!(self.0, "\\u{byte:04x}")?,
            }
            rest = &rest[at + 1..];
        }
        self.0.push_str(rest);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use time::macros::datetime;

    use super::*;

    fn parsed(line: &Line) -> Value {
        serde_json::from_str(&format!("{{{}}}", line.0.trim_start_matches(','))).unwrap()
    }

    #[test]
    fn any_text_and_any_number_is_json() {
        let all: String = (0..0x250)
            .filter_map(char::from_u32)
            .chain(['\u{2028}', '\u{202e}', '\u{2066}', '\u{fffd}', '😀'])
            .collect();
        let mut line = Line(String::new());
        line.text("text", &all);
        line.shown("shown", format_args!("{all}{all:?}"));
        line.number("number", -1.5e-7);
        line.number("r#type", u64::MAX);
        let is_shown_as_it_is =
            |character: char| character.is_control() || ('\u{202a}'..='\u{202e}').contains(&character);
        assert!(!line.0.contains(is_shown_as_it_is));
        let expected = json!({"text": all, "shown": format!("{all}{all:?}"), "number": -1.5e-7, "type": u64::MAX});
        assert_eq!(parsed(&line), expected);
    }

    #[test]
    fn the_time_is_to_the_microsecond() {
        let mut line = Line(String::new());
        line.time(datetime!(2026-01-02 03:04:05.000_678_9 UTC));
        assert_eq!(line.0, "2026-01-02T03:04:05.000678Z");
    }
}
