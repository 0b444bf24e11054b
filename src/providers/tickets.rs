//! Ticket numbers, in all the ways in which they are written.
//!
//! None is refused for its format. A text may hold several, or words for none, or a range of numbers (a conjunction
//! ticket: one ticket with more flights than fit on one number), written as the first number and the last digits of the
//! last.

use compact_str::CompactString;
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};

use super::normalize::{is_none, is_plain};
use crate::{
    payload::{Fields, Findings, Problem},
    ticket_event::{Passenger, Ticket, each_once, upper_case},
};

/// A passenger may have this many tickets.
const MAX_OF_PASSENGER: usize = 64;

/// All passengers of a delivery may have this many.
const MAX_OF_DELIVERY: usize = 2000;

/// A conjunction has at most this many numbers: sixteen flights.
const MAX_CONJUNCTION: u64 = 4;

/// The digits of a ticket's serial number.
const SERIAL_DIGITS: usize = 10;

/// The digits at the end of a number that a conjunction can follow: the serial number, or the airline's code before it.
const LENGTHS: [usize; 2] = [SERIAL_DIGITS, 3 + SERIAL_DIGITS];

/// The tickets of a passenger, each number once, in their order.
pub(super) fn tickets(texts: &[CompactString], fields: &Fields<'_>, key: &str, findings: &mut Findings) -> Vec<Ticket> {
    let mut tickets = Vec::with_capacity(texts.len());
    for part in texts.iter().flat_map(|text| text.split([',', ';', '|'])).map(str::trim) {
        if part.is_empty() {
            continue;
        }
        let is_plain = is_plain(part);
        let number = if is_plain { upper_case(part.into()) } else { normalized(part) };
        if number.is_empty() || is_none(&number) {
            fields.warn(key, "holds a word for none", findings);
            continue;
        }
        match if is_plain { None } else { conjunction(part) } {
            Some(Some(numbers)) => {
                let mut raw = Some(part.into());
                tickets.extend(numbers.map(|number| Ticket { raw: raw.take(), number }));
                continue;
            }
            Some(None) => fields.warn(key, "holds a number whose suffix makes no range", findings),
            None => {}
        }
        tickets.push(Ticket { raw: Some(part.into()), number });
    }
    let tickets = each_once(tickets, |ticket| &ticket.number);
    if tickets.len() > MAX_OF_PASSENGER {
        let at_most = format!("an array of at most {MAX_OF_PASSENGER} ticket numbers");
        fields.refuse(key, Problem::MustBe(at_most), findings);
    }
    tickets
}

/// Refuses more tickets than a delivery may have. `key` is the list of passengers.
pub(super) fn check_all(passengers: &[Passenger], fields: &Fields<'_>, key: &str, findings: &mut Findings) {
    if passengers.iter().map(|passenger| passenger.tickets.len()).sum::<usize>() > MAX_OF_DELIVERY {
        let at_most = format!("an array with at most {MAX_OF_DELIVERY} ticket numbers");
        fields.refuse(key, Problem::MustBe(at_most), findings);
    }
}

/// Upper case, without white space and dashes.
fn normalized(text: &str) -> CompactString {
    let mut number = CompactString::with_capacity(text.len());
    for character in text.chars().filter(|character| !is_space(*character) && !is_dash(*character)) {
        number.push(character.to_ascii_uppercase());
    }
    upper_case(number)
}

/// White space, visible or not.
fn is_space(character: char) -> bool {
    if character.is_ascii() {
        return character.is_ascii_whitespace() || character.is_ascii_control();
    }
    // letters and symbols by their category, which show nothing all the same
    let is_blank = matches!(character, '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}');
    let group = character.general_category_group();
    is_blank
        || group == GeneralCategoryGroup::Separator
        || matches!(character.general_category(), GeneralCategory::Format | GeneralCategory::Control)
}

/// A dash of any kind, the minus sign among them.
fn is_dash(character: char) -> bool {
    if character.is_ascii() {
        return character == '-';
    }
    // minus signs and hyphens that are no punctuation
    let is_minus = matches!(character, '\u{2212}' | '\u{2043}' | '\u{2796}' | '\u{02d7}' | '\u{207b}' | '\u{208b}');
    is_minus || character.general_category() == GeneralCategory::DashPunctuation
}

/// Reads a conjunction: `None` where there is none, `Some(None)` where a number has a suffix that makes no range.
fn conjunction(text: &str) -> Option<Option<impl Iterator<Item = CompactString>>> {
    let has_slash = text.contains('/');
    let at = text.find('/').or_else(|| text.rfind(is_dash))?;
    let (first, rest) = text.split_at(at);
    if !has_slash && first.bytes().filter(u8::is_ascii_digit).count() < SERIAL_DIGITS {
        return None;
    }
    let (first, suffix) = (normalized(first), normalized(rest.strip_prefix('/').unwrap_or(rest)));
    if suffix.is_empty() && !has_slash {
        return None;
    }
    Some(range(&first, &suffix).map(|(prefix, from, to)| {
        let prefix = CompactString::from(prefix);
        (from..=to).map(move |serial| compact_str::format_compact!("{prefix}{serial:0SERIAL_DIGITS$}"))
    }))
}

/// What stands before the serial numbers of a range, and the first and the last of them: that is the next one, the first
/// included, which ends in the suffix. `None` where that is too far away, or the first is no ticket number.
fn range<'a>(first: &'a str, suffix: &str) -> Option<(&'a str, u64, u64)> {
    let digits = first.bytes().rev().take_while(u8::is_ascii_digit).count();
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !LENGTHS.contains(&digits) || !(2..=3).contains(&suffix.len()) || !is_number(suffix) {
        return None;
    }
    let (prefix, serial) = first.split_at(first.len() - SERIAL_DIGITS);
    let (serial, ending) = (serial.parse::<u64>().ok()?, suffix.parse::<u64>().ok()?);
    let modulus = 10_u64.pow(u32::try_from(suffix.len()).ok()?);
    let distance = (ending + modulus - serial % modulus) % modulus;
    let last = serial + distance;
    // beyond it the airline's code would change
    let is_serial = last < 10_u64.pow(u32::try_from(SERIAL_DIGITS).ok()?);
    (distance < MAX_CONJUNCTION && is_serial).then_some((prefix, serial, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_and_dashes_of_every_kind_are_no_part_of_a_number() {
        for text in [
            "157-1234567890",
            " 157 1234567890\t",
            "157\u{a0}1234567890\u{200b}",
            "157\u{2011}1234\u{2013}567890",
            "157\u{2212}1234567890\u{feff}",
            "\u{202d}157\u{ad}1234567890\u{202c}",
            "157\u{3000}1234567890\u{fe63}\u{ff0d}\u{2800}",
        ] {
            assert_eq!(normalized(text), "1571234567890", "{text:?}");
        }
        assert_eq!(normalized("etkt-1234é"), "ETKT1234É");
    }

    #[test]
    fn a_conjunction_is_every_number_from_the_first_to_the_last() {
        let numbers = |text| conjunction(text).map(|numbers| numbers.map(Iterator::collect::<Vec<_>>));
        let range = |numbers: &[&str]| Some(Some(numbers.iter().map(|number| (*number).into()).collect::<Vec<_>>()));
        assert_eq!(numbers("098-2412345678-79"), range(&["0982412345678", "0982412345679"]));
        assert_eq!(numbers("098-2412345678/79"), range(&["0982412345678", "0982412345679"]));
        assert_eq!(numbers("0982412345678/679"), range(&["0982412345678", "0982412345679"]));
        assert_eq!(numbers("098 2412345678 \u{2013} 81").unwrap().unwrap().len(), 4);
        assert_eq!(numbers("2412345678/79"), range(&["2412345678", "2412345679"]));
        assert_eq!(numbers("etkt2412345678-79"), range(&["ETKT2412345678", "ETKT2412345679"]));
        // over the end of a hundred, and the whole range in one
        assert_eq!(numbers("098-2412345699/00"), range(&["0982412345699", "0982412345700"]));
        assert_eq!(numbers("098-0000000001-01"), range(&["0980000000001"]));
        for no_range in [
            "098-2412345678-82",
            "098-2412345678/77",
            "098-2412345678-7",
            "098-2412345678/9679",
            "098-2412345678/ab",
            "098-2412345678/098-2412345679",
            "99999999999999999999999/00",
            "098-2412345678-79-80",
            "098-9999999999-00",
            "098-2412345678/80/81",
            "098-2412345678/",
            "ABC123/1",
            "/",
        ] {
            assert_eq!(numbers(no_range), Some(None), "{no_range}");
        }
        for none in
            ["098-2412345678", "0982412345678", "098-241-2345678", "S30814", "1-2-3", "-", "157-1234567890-", ""]
        {
            assert_eq!(numbers(none), None, "{none}");
        }
    }
}
