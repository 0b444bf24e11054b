//! What several providers' normalizations have in common.

use compact_str::CompactString;

use crate::ticket_event::{Passenger, Status, Ticket, each_once, upper_case};

/// A list of record locators, apart at commas, semicolons, bars and white space: upper case, each once, in their order.
pub fn record_locators<'a>(texts: impl IntoIterator<Item = &'a CompactString>) -> Vec<CompactString> {
    let is_separator = |character: char| matches!(character, ',' | ';' | '|') || character.is_whitespace();
    let words = texts.into_iter().flat_map(|text| text.split(is_separator)).filter(|word| !word.is_empty());
    each_once(words.map(|word| upper_case(word.into())).collect(), CompactString::as_str)
}

/// Tickets, each number once, in their order. Texts in which nothing but white space and `-` stands are left out.
pub fn tickets(raw: Vec<CompactString>) -> Vec<Ticket> {
    each_once(raw.into_iter().filter_map(Ticket::new).collect(), |ticket| &ticket.number)
}

/// What a success means for these passengers: all, some or none of them have a ticket.
pub fn status_of_success(passengers: &[Passenger]) -> Status {
    match passengers.iter().filter(|passenger| !passenger.tickets.is_empty()).count() {
        0 => Status::Confirmed,
        with_ticket if with_ticket == passengers.len() => Status::Ticketed,
        _ => Status::PartiallyTicketed,
    }
}
