//! What templates write in one way everywhere.

use std::fmt::{self, Display, Formatter};

use askama::filters::HtmlSafe;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use time::{OffsetDateTime, PrimitiveDateTime, format_description::well_known::Rfc3339, macros::format_description};

use crate::{providers, ticket_event::Environment};

/// What may stand in a segment of a path, and in a value of a query, as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A time: in UTC, until the module of the browser shows it in the reader's zone. The exact instant is its title.
#[derive(Clone, Copy, Debug)]
pub(super) struct Time(pub(super) OffsetDateTime);

impl HtmlSafe for Time {}

impl Display for Time {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let exact = self.0.format(&Rfc3339).unwrap_or_default();
        let short = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
        let short = self.0.format(&short).unwrap_or_default();
        write!(formatter, r#"<time datetime="{exact}" title="{exact}">{short} UTC</time>"#)
    }
}

/// A status, as a coloured word.
#[derive(Clone, Debug)]
pub(super) struct StatusBadge(pub(super) String);

impl StatusBadge {
    pub(super) fn words(&self) -> String {
        self.0.replace('_', " ")
    }

    /// The class of its colour.
    pub(super) fn tone(&self) -> &'static str {
        match self.0.as_str() {
            "ticketed" => "good",
            "failed" | "aborted" => "bad",
            "cancelled" => "over",
            _ => "open",
        }
    }
}

/// A time from an input of the browser, in UTC; `None` when it is empty.
///
/// # Errors
///
/// What was expected.
pub(super) fn parse_local(name: &str, text: &str) -> Result<Option<OffsetDateTime>, String> {
    let (minutes, seconds) = (
        format_description!("[year]-[month]-[day]T[hour]:[minute]"),
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]"),
    );
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let time = PrimitiveDateTime::parse(text, &minutes).or_else(|_| PrimitiveDateTime::parse(text, &seconds));
    let time = time.map(PrimitiveDateTime::assume_utc).ok().filter(|time| (1970..=9999).contains(&time.year()));
    time.map(Some).ok_or_else(|| format!("{name} is to be a time such as 2026-11-26T10:15, in UTC"))
}

/// The names of the providers, and whether each is chosen.
pub(super) fn provider_choices(chosen: &str) -> Vec<(&'static str, bool)> {
    providers::names().map(|name| (name, name == chosen)).collect()
}

/// `None`: any.
pub(super) fn environment(name: &str) -> Option<Environment> {
    [Environment::Live, Environment::Test].into_iter().find(|environment| environment.as_str() == name)
}

/// The address of a booking's page.
pub(super) fn booking_path(provider: &str, environment: &str, booking_ref: &str) -> String {
    format!("/bookings/{}/{}/{}", encoded(provider), encoded(environment), encoded(booking_ref))
}

/// A query of the values that are there: `?name=value&…`, or nothing.
pub(super) fn query(values: &[(&str, &str)]) -> String {
    let pairs = values.iter().filter(|(_, value)| !value.is_empty());
    let pairs: Vec<_> = pairs.map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
}

fn encoded(text: &str) -> impl Display + '_ {
    utf8_percent_encode(text, PLAIN)
}
