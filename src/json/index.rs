//! Where the values of a document stand.
//!
//! A document is read once for it, and from then on nothing in it is looked for letter by letter.

use std::borrow::Cow;

use super::{MAX_DEPTH, Text, text::decode};

/// A value or key takes about so many bytes.
const USUAL_LENGTH: usize = 6;

/// Where the values of a document stand, in the order of their beginnings; before each member's value its key.
pub struct Index(pub(super) Vec<Place>);

/// Where one value or key stands in the text.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) start: usize,
    pub(super) end: usize,
    /// The position in the index of what stands behind it and all that is in it.
    pub(super) next: usize,
    pub(super) is_key: bool,
    /// Of a string: whether there is a backslash in it. Without one it is what it looks like.
    is_escaped: bool,
}

impl Place {
    /// Whether these are the characters of a string or key of this document.
    pub(super) fn is(self, characters: &str, document: &str) -> bool {
        if self.is_escaped {
            return self.text(document).value == characters;
        }
        document.as_bytes()[self.start + 1..self.end - 1] == *characters.as_bytes()
    }

    /// The characters of a string or key of this document.
    pub(super) fn text(self, document: &str) -> Text<'_> {
        if self.is_escaped {
            return decode(&document[self.start..self.end]);
        }
        Text { value: Cow::Borrowed(&document[self.start + 1..self.end - 1]), repaired: false }
    }
}

impl Index {
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

/// Just behind the closing quote of the string that opens at `start`, and whether there is a backslash in it.
fn end_of_string(bytes: &[u8], start: usize) -> (usize, bool) {
    let (mut at, mut is_escaped) = (start + 1, false);
    while let Some(found) = memchr::memchr2(b'"', b'\\', &bytes[at..]) {
        at += found + 1;
        if bytes[at - 1] == b'"' {
            return (at, is_escaped);
        }
        is_escaped = true;
        at += 1;
    }
    (bytes.len(), is_escaped)
}
