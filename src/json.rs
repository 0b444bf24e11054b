//! Reading a JSON document leniently, without losing anything of it.
//!
//! `serde_json` checks a document once; an [`Index`] then says where its values stand, and a [`Value`] is one of them,
//! looked into only as far as somebody asks. So a number keeps its digits (none goes through a float), a lone surrogate
//! is no error, a repeated key is none either, and what nobody asks for is passed over whatever it holds.
//!
//! It does not decide what a field means: that is [`crate::payload`].

mod index;
mod text;

use std::{borrow::Cow, ops::Range};

use serde_json::value::RawValue;

use self::index::Place;
pub use self::{index::Index, text::Text};

/// Objects and arrays may stand inside one another this deep; Postgres and the consumers of a payload have limits too.
pub const MAX_DEPTH: usize = 128;

/// Why a body is not taken as JSON. The texts are for the provider's side and repeat nothing of the body.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// There is no body, or only white space.
    #[error("the body is empty; JSON was expected")]
    Empty,
    /// RFC 8259 asks for UTF-8.
    #[error("the body is not valid UTF-8 (byte {0})")]
    NotUtf8(usize),
    /// A syntax error, with its place.
    #[error("the body is not valid JSON (line {line}, column {column})")]
    Syntax {
        /// Line of the error, from 1.
        line: usize,
        /// Column of the error, from 1.
        column: usize,
    },
    /// More than [`MAX_DEPTH`] levels.
    #[error("the body is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// It starts as gzip does and cannot be decompressed.
    #[error("the body is not valid gzip")]
    NotGzip,
}

/// A document that has been checked.
pub struct Document<'a> {
    text: &'a str,
    index: Index,
}

/// One value of a document.
#[derive(Clone, Copy)]
pub struct Value<'a> {
    text: &'a str,
    index: &'a Index,
    position: usize,
}

/// What a [`Value`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// a number
    Number,
    /// a string
    String,
    /// an array
    Array,
    /// an object
    Object,
}

/// A member of an object.
pub struct Member<'a> {
    /// Of several with its key the last, as everywhere.
    pub value: Value<'a>,
    /// Whether the key occurs more than once.
    pub is_repeated: bool,
}

impl<'a> Document<'a> {
    /// Checks a whole document.
    ///
    /// A byte order mark before it is passed over.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let text = std::str::from_utf8(bytes).map_err(|error| Malformed::NotUtf8(error.valid_up_to()))?;
        if text.trim_ascii().is_empty() {
            return Err(Malformed::Empty);
        }
        let text = serde_json::from_str::<&RawValue>(text)
            .map_err(|error| Malformed::Syntax { line: error.line(), column: error.column() })?
            .get();
        let index = Index::of(text).ok_or(Malformed::TooDeep)?;
        Ok(Self { text, index })
    }

    /// The text as it was sent, without white space around it.
    pub fn as_str(&self) -> &'a str {
        self.text
    }

    /// The whole of it.
    pub fn root(&self) -> Value<'_> {
        self.index.root(self.text)
    }

    /// Where its values stand in the text.
    pub(crate) fn into_index(self) -> Index {
        self.index
    }

    /// The members whose key passes, from the opening quote of the key to the end of the value; not those inside them.
    pub(crate) fn members(&self, mut is_wanted: impl FnMut(Text<'_>) -> bool) -> Vec<Range<usize>> {
        let places = &self.index.0;
        let mut found = Vec::new();
        let mut position = 0;
        while let Some(place) = places.get(position) {
            position += 1;
            if place.is_key && is_wanted(place.text(self.text)) {
                found.push(place.start..places[position].end);
                position = places[position].next;
            }
        }
        found
    }

    /// The keys, strings, numbers and literals, in their order: where each stands, and its characters.
    pub(crate) fn leaves(&self) -> impl Iterator<Item = (Range<usize>, Cow<'_, str>)> {
        self.index.0.iter().filter_map(|place| {
            let raw = &self.text[place.start..place.end];
            let characters = match raw.as_bytes()[0] {
                b'{' | b'[' => return None,
                b'"' => place.text(self.text).value,
                _ => Cow::Borrowed(raw),
            };
            Some((place.start..place.end, characters))
        })
    }
}

impl Index {
    /// The whole of the document whose text this is.
    pub(crate) fn root<'a>(&'a self, text: &'a str) -> Value<'a> {
        Value { text, index: self, position: 0 }
    }
}

impl<'a> Value<'a> {
    fn place(self) -> Place {
        self.index.0[self.position]
    }

    /// The text as it was sent.
    fn as_str(self) -> &'a str {
        let Place { start, end, .. } = self.place();
        &self.text[start..end]
    }

    /// What it is.
    pub fn kind(self) -> Kind {
        match self.text.as_bytes()[self.place().start] {
            b'n' => Kind::Null,
            b't' | b'f' => Kind::Bool,
            b'"' => Kind::String,
            b'[' => Kind::Array,
            b'{' => Kind::Object,
            _ => Kind::Number,
        }
    }

    /// The characters of a string, or the digits of a number as they were sent; `None` for anything else.
    pub fn text(self) -> Option<Text<'a>> {
        match self.kind() {
            Kind::Number => Some(Text { value: Cow::Borrowed(self.as_str()), repaired: false }),
            Kind::String => Some(self.place().text(self.text)),
            _ => None,
        }
    }

    /// The member of an object with this key.
    pub fn member(self, key: &str) -> Option<Member<'a>> {
        if self.kind() != Kind::Object {
            return None;
        }
        let (places, end) = (&self.index.0, self.place().next);
        let (mut found, mut position) = (None, self.position + 1);
        while position < end {
            let value = Value { position: position + 1, ..self };
            if places[position].is(key, self.text) {
                found = Some(Member { value, is_repeated: found.is_some() });
            }
            position = value.place().next;
        }
        found
    }

    /// The elements of an array.
    pub fn elements(self) -> Option<impl Iterator<Item = Value<'a>> + Clone> {
        let end = self.place().next;
        let value_at = move |position: usize| (position < end).then_some(Value { position, ..self });
        (self.kind() == Kind::Array)
            .then(|| std::iter::successors(value_at(self.position + 1), move |value| value_at(value.place().next)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(json: &str) -> (String, bool) {
        let document = Document::parse(json.as_bytes()).unwrap();
        let text = document.root().text().unwrap();
        (text.value.into_owned(), text.repaired)
    }

    #[test]
    fn a_number_keeps_its_digits() {
        for digits in ["12345678901234567890123", "-3", "1.50", "1e400"] {
            assert_eq!(text(digits), (digits.to_owned(), false));
        }
    }

    #[test]
    fn a_lone_surrogate_becomes_one_replacement_character() {
        assert_eq!(text(r#""a\ud800b""#), ("a\u{fffd}b".to_owned(), true));
        assert_eq!(text(r#""\udc00\ud800""#), ("\u{fffd}\u{fffd}".to_owned(), true));
        assert_eq!(text(r#""\ud83d\ude00""#), ("😀".to_owned(), false));
        assert_eq!(text(r#""\ud83dé""#), ("\u{fffd}é".to_owned(), true));
    }

    #[test]
    fn of_a_repeated_key_the_last_counts_however_it_is_spelled() {
        let document = Document::parse(br#"{"a":{"b":0},"\u0061":2,"b":[1,{"a":3}],"\ud800":3}"#).unwrap();
        let member = |key| document.root().member(key).map(|member| (member.value.as_str(), member.is_repeated));
        assert_eq!(member("a"), Some(("2", true)));
        assert_eq!(member("b"), Some((r#"[1,{"a":3}]"#, false)));
        assert_eq!(member("c"), None);
    }

    #[test]
    fn nesting_is_bounded_and_brackets_in_strings_do_not_count() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(Document::parse(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert!(matches!(Document::parse(nested(MAX_DEPTH + 1).as_bytes()), Err(Malformed::TooDeep)));
        assert!(matches!(Document::parse(nested(200_000).as_bytes()), Err(Malformed::TooDeep)));
        assert!(Document::parse(format!(r#""\"{}""#, "[".repeat(1000)).as_bytes()).is_ok());
        assert!(Document::parse(format!("[{}0]", "[],".repeat(1000)).as_bytes()).is_ok());
    }

    #[test]
    fn what_is_not_json_is_said_to_be_so() {
        for body in [&b"{"[..], b"{} x", b"{'a':1}", b"{\"a\":01}", b"{\"a\":\"\x01\"}", b"nul"] {
            assert!(matches!(Document::parse(body), Err(Malformed::Syntax { .. })));
        }
        assert!(matches!(Document::parse(b" \n"), Err(Malformed::Empty)));
        assert!(matches!(Document::parse(b"\"\xff\""), Err(Malformed::NotUtf8(1))));
        assert!(Document::parse(b"\xef\xbb\xbf{}").is_ok());
    }
}
