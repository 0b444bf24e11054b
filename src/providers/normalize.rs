//! What several providers' normalizations have in common.

use compact_str::CompactString;

use crate::{
    payload::{Fields, Findings, Problem},
    ticket_event::{Passenger, Status, each_once, upper_case},
};

/// A booking, and each passenger, may have this many record locators.
const MAX_LOCATORS: usize = 64;

/// All passengers of a delivery may have this many.
const MAX_LOCATORS_OF_DELIVERY: usize = 2000;

/// What providers write where there is nothing.
const NONE: [&str; 10] = ["0", "NA", "N/A", "NULL", "NONE", "NIL", "PENDING", "TBA", "-", "."];

/// In bytes.
const LONGEST_NONE: usize = 7;

/// Whether a word stands for "none", in any case.
pub(super) fn is_none(word: &str) -> bool {
    word.len() <= LONGEST_NONE && NONE.iter().any(|none| none.eq_ignore_ascii_case(word))
}

/// Whether a text has only letters and digits of ASCII, as nearly all record locators and ticket numbers do.
pub(super) fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The record locators of these texts, apart at commas, semicolons, bars and white space: upper case, each once, in their
/// order. `fields` and `key` say where they stand.
pub(super) fn record_locators(
    texts: &[CompactString],
    fields: &Fields<'_>,
    key: &str,
    findings: &mut Findings,
) -> Vec<CompactString> {
    let is_separator = |character: char| matches!(character, ',' | ';' | '|') || character.is_whitespace();
    let mut locators = Vec::new();
    for word in texts.iter().flat_map(|text| text.split(is_separator)).filter(|word| !word.is_empty()) {
        if is_none(word) || !word.contains(char::is_alphanumeric) {
            fields.warn(key, "holds a word for none", findings);
        } else {
            locators.push(upper_case(word.into()));
        }
    }
    let locators = each_once(locators, CompactString::as_str);
    if locators.len() > MAX_LOCATORS {
        fields.refuse(key, Problem::MustBe(format!("at most {MAX_LOCATORS} record locators")), findings);
    }
    locators
}

/// The record locators of all passengers, each once, in their order. `key` is the list of passengers.
pub(super) fn record_locators_of_all(
    passengers: &[Passenger],
    fields: &Fields<'_>,
    key: &str,
    findings: &mut Findings,
) -> Vec<CompactString> {
    let locators = passengers.iter().flat_map(|passenger| passenger.airline_pnrs.iter().flatten());
    if locators.clone().count() > MAX_LOCATORS_OF_DELIVERY {
        let at_most = format!("an array with at most {MAX_LOCATORS_OF_DELIVERY} record locators");
        fields.refuse(key, Problem::MustBe(at_most), findings);
    }
    each_once(locators.cloned().collect(), CompactString::as_str)
}

/// The record locator of the booking itself. Where several stand in its place the first is it, and all are returned.
pub(super) fn own_record_locator(
    text: Option<CompactString>,
    fields: &Fields<'_>,
    key: &str,
    findings: &mut Findings,
) -> (Option<CompactString>, Vec<CompactString>) {
    let Some(text) = text else { return (None, Vec::new()) };
    if is_plain(&text) && !is_none(&text) {
        return (Some(upper_case(text)), Vec::new());
    }
    let locators = record_locators(&[text], fields, key, findings);
    if locators.len() < 2 {
        return (locators.into_iter().next(), Vec::new());
    }
    fields.warn(key, "holds several record locators; the first counts", findings);
    (locators.first().cloned(), locators)
}

/// What a success means for these passengers: all, some or none of them have a ticket.
pub(super) fn status_of_success(passengers: &[Passenger]) -> Status {
    match passengers.iter().filter(|passenger| !passenger.tickets.is_empty()).count() {
        0 => Status::Confirmed,
        with_ticket if with_ticket == passengers.len() => Status::Ticketed,
        _ => Status::PartiallyTicketed,
    }
}
