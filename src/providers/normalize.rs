//! Record locators and statuses, normalized alike for all providers.

use compact_str::CompactString;

use crate::{
    payload::{Diagnostics, Fields, Problem},
    ticket_event::{Passenger, Status, deduplicated, upper_case},
};

/// Per booking, and per passenger.
const MAX_LOCATORS: usize = 64;

/// Of all passengers of a delivery together.
const MAX_LOCATORS_PER_DELIVERY: usize = 2000;

/// What providers write in place of an empty value.
const PLACEHOLDERS: [&str; 10] = ["0", "NA", "N/A", "NULL", "NONE", "NIL", "PENDING", "TBA", "-", "."];

/// In bytes.
const LONGEST_PLACEHOLDER: usize = 7;

/// In any case.
pub(super) fn is_placeholder(word: &str) -> bool {
    word.len() <= LONGEST_PLACEHOLDER && PLACEHOLDERS.iter().any(|placeholder| placeholder.eq_ignore_ascii_case(word))
}

/// Fast path: true of nearly all record locators and ticket numbers, which need no further normalizing.
pub(super) fn is_ascii_alphanumeric(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Splits texts at `,`, `;`, `|` and white space into record locators: upper case, without duplicates, in their order.
/// `fields` and `key` give the path for errors and warnings.
pub(super) fn record_locators(
    texts: &[CompactString],
    fields: &Fields<'_>,
    key: &str,
    diagnostics: &mut Diagnostics,
) -> Vec<CompactString> {
    let is_separator = |character: char| matches!(character, ',' | ';' | '|') || character.is_whitespace();
    let mut locators = Vec::new();
    for word in texts.iter().flat_map(|text| text.split(is_separator)).filter(|word| !word.is_empty()) {
        if is_placeholder(word) || !word.contains(char::is_alphanumeric) {
            fields.warn(key, "holds a word for none", diagnostics);
        } else {
            locators.push(upper_case(word.into()));
        }
    }
    let locators = deduplicated(locators, CompactString::as_str);
    if locators.len() > MAX_LOCATORS {
        fields.error(key, Problem::MustBe(format!("at most {MAX_LOCATORS} record locators")), diagnostics);
    }
    locators
}

/// Those of all passengers, without duplicates, in their order. `key` is the list of passengers.
pub(super) fn record_locators_of_all(
    passengers: &[Passenger],
    fields: &Fields<'_>,
    key: &str,
    diagnostics: &mut Diagnostics,
) -> Vec<CompactString> {
    let locators = passengers.iter().flat_map(|passenger| passenger.airline_pnrs.iter().flatten());
    if locators.clone().count() > MAX_LOCATORS_PER_DELIVERY {
        let at_most = format!("an array with at most {MAX_LOCATORS_PER_DELIVERY} record locators");
        fields.error(key, Problem::MustBe(at_most), diagnostics);
    }
    deduplicated(locators.cloned().collect(), CompactString::as_str)
}

/// The record locator of the booking itself. When the text holds several, it is the first, and all are returned too.
pub(super) fn own_record_locator(
    text: Option<CompactString>,
    fields: &Fields<'_>,
    key: &str,
    diagnostics: &mut Diagnostics,
) -> (Option<CompactString>, Vec<CompactString>) {
    let Some(text) = text else { return (None, Vec::new()) };
    if is_ascii_alphanumeric(&text) && !is_placeholder(&text) {
        return (Some(upper_case(text)), Vec::new());
    }
    let locators = record_locators(&[text], fields, key, diagnostics);
    if locators.len() < 2 {
        return (locators.into_iter().next(), Vec::new());
    }
    fields.warn(key, "holds several record locators; the first counts", diagnostics);
    (locators.first().cloned(), locators)
}

/// The status of a booking that the provider reports as a success: it depends on how many passengers have a ticket.
pub(super) fn status_of_success(passengers: &[Passenger]) -> Status {
    match passengers.iter().filter(|passenger| !passenger.tickets.is_empty()).count() {
        0 => Status::Confirmed,
        with_ticket if with_ticket == passengers.len() => Status::Ticketed,
        _ => Status::PartiallyTicketed,
    }
}
