//! Ticket numbers in all the formats in which providers send them.
//!
//! A text may hold several numbers, a placeholder, or a conjunction ticket: one ticket over consecutive numbers, written
//! as the first number and the last digits of the last. No number is rejected for its format.

use compact_str::CompactString;
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};

use super::normalize::{is_ascii_alphanumeric, is_placeholder};
use crate::{
    payload::{Diagnostics, Fields, Problem},
    ticket_event::{Passenger, Ticket, deduplicated, upper_case},
};

const MAX_PER_PASSENGER: usize = 64;

const MAX_PER_DELIVERY: usize = 2000;

/// Numbers of a conjunction: sixteen flights.
const MAX_CONJUNCTION: u64 = 4;

const SERIAL_DIGITS: usize = 10;

/// Trailing digits of a number that can begin a conjunction: the serial number, with or without the airline's code.
const CONJUNCTION_DIGITS: [usize; 2] = [SERIAL_DIGITS, 3 + SERIAL_DIGITS];

/// The tickets of a passenger, without duplicate numbers, in their order.
pub(super) fn tickets(
    texts: &[CompactString],
    fields: &Fields<'_>,
    key: &str,
    diagnostics: &mut Diagnostics,
) -> Vec<Ticket> {
    let mut tickets = Vec::with_capacity(texts.len());
    for part in texts.iter().flat_map(|text| text.split([',', ';', '|'])).map(str::trim) {
        if part.is_empty() {
            continue;
        }
        let is_normalized = is_ascii_alphanumeric(part);
        let number = if is_normalized { upper_case(part.into()) } else { normalized(part) };
        if number.is_empty() || is_placeholder(&number) {
            fields.warn(key, "holds a word for none", diagnostics);
            continue;
        }
        match if is_normalized { None } else { conjunction(part) } {
            Some(Some(numbers)) => {
                let mut raw = Some(part.into());
                tickets.extend(numbers.map(|number| Ticket { raw: raw.take(), number }));
                continue;
            }
            Some(None) => fields.warn(key, "holds a number whose suffix makes no range", diagnostics),
            None => {}
        }
        tickets.push(Ticket { raw: Some(part.into()), number });
    }
    let tickets = deduplicated(tickets, |ticket| &ticket.number);
    if tickets.len() > MAX_PER_PASSENGER {
        let at_most = format!("an array of at most {MAX_PER_PASSENGER} ticket numbers");
        fields.error(key, Problem::MustBe(at_most), diagnostics);
    }
    tickets
}

/// The number as that of a delivery would be, the first where there are several; `None` where there is none.
pub fn ticket_number(text: &str) -> Option<String> {
    let part = text.split([',', ';', '|']).map(str::trim).find(|part| !part.is_empty())?;
    let number = match conjunction(part).flatten().and_then(|mut numbers| numbers.next()) {
        Some(first) => first,
        None => normalized(part),
    };
    (!number.is_empty()).then(|| number.into())
}

/// An error when a delivery has too many tickets. `key` is the list of passengers.
pub(super) fn check_count(passengers: &[Passenger], fields: &Fields<'_>, key: &str, diagnostics: &mut Diagnostics) {
    if passengers.iter().map(|passenger| passenger.tickets.len()).sum::<usize>() > MAX_PER_DELIVERY {
        let at_most = format!("an array with at most {MAX_PER_DELIVERY} ticket numbers");
        fields.error(key, Problem::MustBe(at_most), diagnostics);
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

/// White space, and characters that show nothing.
fn is_space(character: char) -> bool {
    if character.is_ascii() {
        return character.is_ascii_whitespace() || character.is_ascii_control();
    }
    // by category these are letters and symbols
    let is_blank = matches!(character, '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}');
    let group = character.general_category_group();
    is_blank
        || group == GeneralCategoryGroup::Separator
        || matches!(character.general_category(), GeneralCategory::Format | GeneralCategory::Control)
}

/// Any dash, hyphen or minus sign.
fn is_dash(character: char) -> bool {
    if character.is_ascii() {
        return character == '-';
    }
    // by category these are not punctuation
    let is_minus = matches!(character, '\u{2212}' | '\u{2043}' | '\u{2796}' | '\u{02d7}' | '\u{207b}' | '\u{208b}');
    is_minus || character.general_category() == GeneralCategory::DashPunctuation
}

/// `None`: not written as a conjunction. `Some(None)`: a suffix that makes no valid range.
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

/// The prefix, and the first and last serial number of a conjunction: the last is the next number, from the first on, that
/// ends in the suffix. `None` when that is too far away, or `first` is not a ticket number.
fn range<'a>(first: &'a str, suffix: &str) -> Option<(&'a str, u64, u64)> {
    let digits = first.bytes().rev().take_while(u8::is_ascii_digit).count();
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !CONJUNCTION_DIGITS.contains(&digits) || !(2..=3).contains(&suffix.len()) || !is_number(suffix) {
        return None;
    }
    let (prefix, serial) = first.split_at(first.len() - SERIAL_DIGITS);
    let (serial, ending) = (serial.parse::<u64>().ok()?, suffix.parse::<u64>().ok()?);
    let modulus = 10_u64.pow(u32::try_from(suffix.len()).ok()?);
    let distance = (ending + modulus - serial % modulus) % modulus;
    let last = serial + distance;
    // an overflow would change the airline's code
    let is_serial = last < 10_u64.pow(u32::try_from(SERIAL_DIGITS).ok()?);
    (distance < MAX_CONJUNCTION && is_serial).then_some((prefix, serial, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_and_dashes_of_every_kind_are_removed() {
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
