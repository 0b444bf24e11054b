//! The spans of a document's values, found in one scan; every later lookup compares spans, not characters.

use std::{borrow::Cow, cmp::Ordering, ops::Range};

use super::{
    MAX_DEPTH, Text,
    layers::next_character,
    text::{decode, decode_bytes},
};

/// Bytes per value or key, roughly: sizes the first allocation.
const TYPICAL_LENGTH: usize = 6;

/// Spans in the order of their starts: a container before its content, a member's key right before its value.
#[derive(Debug, PartialEq, Eq)]
pub struct Index(pub(super) Vec<Span>);

/// One value or key; byte offsets in the text, quotes included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
    /// The position in the index behind this value and all that is in it.
    pub(super) next: usize,
    pub(super) is_key: bool,
    /// Whether a string holds a backslash. Without one its bytes are its characters.
    pub(super) is_escaped: bool,
}

impl Span {
    /// Whether a string or key has these characters.
    pub(super) fn is(self, characters: &str, document: &str) -> bool {
        let between_quotes = self.start + 1..self.end - 1;
        if self.is_escaped {
            return decodes_to(&document[between_quotes], characters);
        }
        document.as_bytes()[between_quotes] == *characters.as_bytes()
    }

    /// Orders strings and keys by their decoded bytes.
    pub(super) fn compare(self, other: Self, document: &str) -> Ordering {
        if self.is_escaped || other.is_escaped {
            return self.bytes(document).cmp(&other.bytes(document));
        }
        let between_quotes = |span: Self| &document.as_bytes()[span.start + 1..span.end - 1];
        between_quotes(self).cmp(between_quotes(other))
    }

    /// The decoded bytes of a string or key. A lone surrogate stays as three bytes of invalid UTF-8, so that different
    /// strings never have equal bytes.
    pub(super) fn bytes(self, document: &str) -> Cow<'_, [u8]> {
        if self.is_escaped {
            return decode_bytes(&document[self.start..self.end]);
        }
        Cow::Borrowed(&document.as_bytes()[self.start + 1..self.end - 1])
    }

    /// The characters of a string or key.
    pub(super) fn text(self, document: &str) -> Text<'_> {
        if self.is_escaped {
            return decode(&document[self.start..self.end]);
        }
        Text { value: Cow::Borrowed(&document[self.start + 1..self.end - 1]), repaired: false }
    }
}

/// A key, string, number or literal.
pub(crate) struct Token {
    /// In the index.
    pub(crate) position: usize,
    /// In the text; of a string or key without its quotes.
    pub(crate) range: Range<usize>,
    pub(crate) is_string: bool,
    /// Whether a string or key holds a backslash.
    pub(crate) is_escaped: bool,
}

impl Index {
    /// All tokens in their order. `text` is the document that the index was made of.
    pub(crate) fn tokens(&self, text: &str) -> impl Iterator<Item = Token> {
        self.0.iter().enumerate().filter_map(|(position, span)| {
            let Span { start, end, is_escaped, .. } = *span;
            let first = text.as_bytes()[start];
            let is_string = first == b'"';
            let range = if is_string { start + 1..end - 1 } else { start..end };
            (!matches!(first, b'{' | b'[')).then_some(Token { position, range, is_string, is_escaped })
        })
    }

    /// `text` must be valid JSON. `None` when it is nested deeper than [`MAX_DEPTH`].
    pub(crate) fn of(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let mut spans: Vec<Span> = Vec::with_capacity((text.len() / TYPICAL_LENGTH).min(256));
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
                    // the previous token is a key
                    if let Some(key) = spans.last_mut() {
                        key.is_key = true;
                    }
                    start += 1;
                    continue;
                }
                b'}' | b']' => {
                    let (next, container) = (spans.len(), &mut spans[open.pop()?]);
                    (container.end, container.next) = (start + 1, next);
                    start += 1;
                    continue;
                }
                b'{' | b'[' if open.len() == MAX_DEPTH => return None,
                b'{' | b'[' => {
                    open.push(spans.len());
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
            spans.push(Span { start, end, next: spans.len() + 1, is_key: false, is_escaped });
            start = end;
        }
        Some(Self(spans))
    }
}

/// Whether an escaped text decodes to these characters; stops at the first difference.
fn decodes_to(mut escaped: &str, characters: &str) -> bool {
    for expected in characters.chars() {
        let (character, length) = next_character(escaped);
        if character != expected || escaped.is_empty() {
            return false;
        }
        escaped = &escaped[length..];
    }
    escaped.is_empty()
}

/// The offset behind the closing quote of the string that opens at `start`, and whether the string holds a backslash.
fn end_of_string(bytes: &[u8], start: usize) -> (usize, bool) {
    let rest = &bytes[start + 1..];
    let Some(first) = memchr::memchr2(b'"', b'\\', rest) else { return (bytes.len(), false) };
    let (mut at, is_escaped) = (start + 1 + first, rest[first] == b'\\');
    // byte by byte from here: escapes come in rows, and a search for each would cost more
    while let Some(byte) = bytes.get(at) {
        at += match byte {
            b'"' => return (at + 1, is_escaped),
            b'\\' => 2,
            _ => 1,
        };
    }
    (bytes.len(), is_escaped)
}
