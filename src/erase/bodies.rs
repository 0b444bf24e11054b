//! Whether the body of an unprocessed delivery, which may be anything, is about a booking or a person.
//!
//! A body that holds the words only by chance is erased too: it is better than one that is left.

use crate::json::layer_texts;

/// A text and what the escapes in it stand for, as lines; without NUL characters, which reading a field removes too.
pub(super) fn readings(text: &str) -> String {
    layer_texts(text).map(|layer| layer.replace('\0', "")).collect::<Vec<_>>().join("\n")
}

/// Whether a text holds a word that is no part of a longer one.
pub(super) fn holds_word(text: &str, word: &str) -> bool {
    starts(text, word).any(|start| is_whole(text, start, start + word.len()))
}

/// Whether a text holds the number of a document, whatever divides it, and in any case.
pub(super) fn holds_number(text: &str, number: &str) -> bool {
    let (mut letters, mut origins) = (String::new(), Vec::new());
    for (at, character) in text.char_indices().filter(|(_, character)| character.is_alphanumeric()) {
        letters.extend(character.to_uppercase());
        origins.resize(letters.len(), (at, at + character.len_utf8()));
    }
    let number: String = number.chars().filter(|one| one.is_alphanumeric()).flat_map(char::to_uppercase).collect();
    starts(&letters, &number).any(|start| is_whole(text, origins[start].0, origins[start + number.len() - 1].1))
}

/// Where a part that is not empty stands in a text, also where it overlaps itself.
fn starts(text: &str, part: &str) -> impl Iterator<Item = usize> {
    let next = move |from: usize| text.get(from..)?.find(part).map(|at| from + at);
    let behind = move |start: usize| start + text[start..].chars().next().map_or(1, char::len_utf8);
    std::iter::successors(next(0), move |start| next(behind(*start)))
}

fn is_whole(text: &str, start: usize, end: usize) -> bool {
    let continues = |outside: Option<char>, inside: Option<char>| {
        outside.is_some_and(char::is_alphanumeric) && inside.is_some_and(char::is_alphanumeric)
    };
    let inside = &text[start..end];
    !continues(text[..start].chars().next_back(), inside.chars().next())
        && !continues(text[end..].chars().next(), inside.chars().next_back())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_holds_a_word_in_any_spelling_and_not_as_a_part_of_another() {
        for (body, is) in [
            (r#"{"BookingId":"B-1/2"}"#, true),
            (r#"{"BookingId":"\u0042-1\/2"}"#, true),
            (r#"{"data":"{\"BookingId\":\"B-1\\/2\"}"}"#, true),
            (r#"{"BookingId":"B\u0000-1/2",,"#, true),
            (r#"{"BookingId":"B-1/23"}"#, false),
            (r#"{"BookingId":"AB-1/2"}"#, false),
            ("AB-1/2 B-1/2", true),
            ("", false),
        ] {
            assert_eq!(holds_word(&readings(body), "B-1/2"), is, "{body}");
        }
    }

    #[test]
    fn a_body_holds_a_number_however_it_is_divided() {
        for (body, is) in [
            (r#"{"cardNum":"ab 12-34"}"#, true),
            ("AB1234", true),
            (r#"{"cardNum":"\u0041B1234"}"#, true),
            ("AB12345", false),
            ("XAB1234", false),
            ("AB123", false),
        ] {
            assert_eq!(holds_number(&readings(body), "AB1234"), is, "{body}");
        }
    }
}
