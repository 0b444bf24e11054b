//! Where the values of a document stand.
//!
//! A document is read once for it, and from then on nothing in it is looked for letter by letter.

use std::{borrow::Cow, cmp::Ordering, ops::Range};

use super::{
    MAX_DEPTH, Text,
    layers::next_character,
    text::{decode, decode_bytes},
};

/// A value or key takes about so many bytes.
const USUAL_LENGTH: usize = 6;

/// Where the values of a document stand, in the order of their beginnings; before each member's value its key.
#[derive(Debug, PartialEq, Eq)]
pub struct Index(pub(super) Vec<Place>);

/// Where one value or key stands in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) start: usize,
    pub(super) end: usize,
    /// The position in the index of what stands behind it and all that is in it.
    pub(super) next: usize,
    pub(super) is_key: bool,
    /// Of a string: whether there is a backslash in it. Without one it is what it looks like.
    pub(super) is_escaped: bool,
}

impl Place {
    /// Whether these are the characters of a string or key of this document.
    pub(super) fn is(self, characters: &str, document: &str) -> bool {
        let between_quotes = self.start + 1..self.end - 1;
        if self.is_escaped {
            return stands_for(&document[between_quotes], characters);
        }
        document.as_bytes()[between_quotes] == *characters.as_bytes()
    }

    /// The order of two strings or keys of this document, by their bytes.
    pub(super) fn compare(self, other: Self, document: &str) -> Ordering {
        if self.is_escaped || other.is_escaped {
            return self.bytes(document).cmp(&other.bytes(document));
        }
        let between_quotes = |place: Self| &document.as_bytes()[place.start + 1..place.end - 1];
        between_quotes(self).cmp(between_quotes(other))
    }

    /// The characters of a string or key of this document, a lone surrogate as the three bytes that UTF-8 would have for
    /// it: of two different strings they are never the same.
    pub(super) fn bytes(self, document: &str) -> Cow<'_, [u8]> {
        if self.is_escaped {
            return decode_bytes(&document[self.start..self.end]);
        }
        Cow::Borrowed(&document.as_bytes()[self.start + 1..self.end - 1])
    }

    /// The characters of a string or key of this document.
    pub(super) fn text(self, document: &str) -> Text<'_> {
        if self.is_escaped {
            return decode(&document[self.start..self.end]);
        }
        Text { value: Cow::Borrowed(&document[self.start + 1..self.end - 1]), repaired: false }
    }
}

/// A key, string, number or literal of a document.
pub(crate) struct Leaf {
    /// Its position in the index.
    pub(crate) position: usize,
    /// Where it stands in the text: of a string or key what is between the quotes.
    pub(crate) range: Range<usize>,
    pub(crate) is_string: bool,
    /// Of a string or key: whether there is a backslash in it.
    pub(crate) is_escaped: bool,
}

impl Index {
    /// The keys, strings, numbers and literals of the document whose text this is, in their order.
    pub(crate) fn leaves(&self, text: &str) -> impl Iterator<Item = Leaf> {
        self.0.iter().enumerate().filter_map(|(position, place)| {
            let Place { start, end, is_escaped, .. } = *place;
            let first = text.as_bytes()[start];
            let is_string = first == b'"';
            let range = if is_string { start + 1..end - 1 } else { start..end };
            (!matches!(first, b'{' | b'[')).then_some(Leaf { position, range, is_string, is_escaped })
        })
    }

    /// Of a text that is known to be JSON; `None` when it is nested too deep.
    pub(crate) fn of(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let mut places: Vec<Place> = Vec::with_capacity((text.len() / USUAL_LENGTH).min(256));
        let mut open: Vec<usize> = Vec::with_capacity(8);
        let mut start = 0;
        while let Some(byte) = bytes.get(start) {
            let mut is_escaped = false;
            let end = match byte {
                b',' | b' ' | b'\n' | b'\r' | b'\t' => {
                    start += 1;
                    continue;
                }
                b':' => {
                    // what was read last is a key
                    if let Some(key) = places.last_mut() {
                        key.is_key = true;
                    }
                    start += 1;
                    continue;
                }
                b'}' | b']' => {
                    let (next, container) = (places.len(), &mut places[open.pop()?]);
                    (container.end, container.next) = (start + 1, next);
                    start += 1;
                    continue;
                }
                b'{' | b'[' if open.len() == MAX_DEPTH => return None,
                b'{' | b'[' => {
                    open.push(places.len());
                    start + 1
                }
                b'"' => {
                    let end;
                    (end, is_escaped) = end_of_string(bytes, start);
                    end
                }
                _ => {
                    let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t');
                    bytes[start..].iter().position(ends).map_or(bytes.len(), |length| start + length)
                }
            };
            places.push(Place { start, end, next: places.len() + 1, is_key: false, is_escaped });
            start = end;
        }
        Some(Self(places))
    }
}

/// Whether a text with escapes stands for these characters. Nearly every other one is told by its first character.
fn stands_for(mut escaped: &str, characters: &str) -> bool {
    for expected in characters.chars() {
        let (character, length) = next_character(escaped);
        if character != expected || escaped.is_empty() {
            return false;
        }
        escaped = &escaped[length..];
    }
    escaped.is_empty()
}

/// Just behind the closing quote of the string that opens at `start`, and whether there is a backslash in it.
fn end_of_string(bytes: &[u8], start: usize) -> (usize, bool) {
    let rest = &bytes[start + 1..];
    let Some(first) = memchr::memchr2(b'"', b'\\', rest) else { return (bytes.len(), false) };
    let (mut at, is_escaped) = (start + 1 + first, rest[first] == b'\\');
    // where there is one escape there may be one behind the other: a search for each would cost more than a look at all
    while let Some(byte) = bytes.get(at) {
        at += match byte {
            b'"' => return (at + 1, is_escaped),
            b'\\' => 2,
            _ => 1,
        };
    }
    (bytes.len(), is_escaped)
}
