//! Reading a JSON document leniently, without losing anything of it.
//!
//! `serde_json` checks a document once; an [`Index`] then says where its values stand, and a [`Value`] is one of them,
//! looked into only as far as somebody asks. So a number keeps its digits (none goes through a float), a lone surrogate
//! is no error, a repeated key is none either, and what nobody asks for is passed over whatever it holds.
//!
//! It does not decide what a field means: that is [`crate::payload`].

mod broken;
mod canonical;
mod cut;
mod index;
mod layers;
mod path;
mod storable;
mod text;
mod unpack;

use std::{borrow::Cow, fmt, ops::Range};

use serde_json::value::RawValue;

use self::index::Place;
pub(crate) use self::{
    broken::broken_members,
    layers::{Layer, layer_texts, layers},
};
pub use self::{index::Index, text::Text};

/// Objects and arrays may stand inside one another this deep; Postgres and the consumers of a payload have limits too.
pub const MAX_DEPTH: usize = 128;

/// Why a body is not taken as JSON. The texts are for the provider's side and repeat nothing of the body.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// There is no body, or only white space.
    #[error("the body is empty; JSON was expected")]
    Empty,
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
    /// Its `Content-Encoding` is another one.
    #[error("the Content-Encoding is not supported; gzip is")]
    UnsupportedEncoding,
}

/// A document that has been checked.
pub struct Document<'a> {
    text: Cow<'a, str>,
    index: Index,
}

/// A text that is no JSON.
pub struct Unreadable<'a> {
    /// Why it is none.
    pub malformed: Malformed,
    /// The text.
    pub text: Cow<'a, str>,
}

/// Shows nothing of the text, in which credentials may stand.
impl fmt::Debug for Unreadable<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Unreadable").field("malformed", &self.malformed).finish_non_exhaustive()
    }
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
    /// # Errors
    ///
    /// The text is no JSON, or nested deeper than [`MAX_DEPTH`].
    pub fn parse(text: impl Into<Cow<'a, str>>) -> Result<Self, Unreadable<'a>> {
        let text = text.into();
        match check(&text) {
            Ok((range, index)) => Ok(Self { text: part_of(text, range), index }),
            Err(malformed) => Err(Unreadable { malformed, text }),
        }
    }

    /// The text as it was sent, without white space around it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The whole of it.
    pub fn root(&self) -> Value<'_> {
        self.index.root(&self.text)
    }

    /// The text, and where its values stand in it.
    pub(crate) fn into_parts(self) -> (Cow<'a, str>, Index) {
        (self.text, self.index)
    }
}

/// Where the document stands in a text without the white space around it, and where its values stand in that.
fn check(text: &str) -> Result<(Range<usize>, Index), Malformed> {
    if text.trim_ascii().is_empty() {
        return Err(Malformed::Empty);
    }
    let document = serde_json::from_str::<&RawValue>(text)
        .map_err(|error| Malformed::Syntax { line: error.line(), column: error.column() })?
        .get();
    let index = Index::of(document).ok_or(Malformed::TooDeep)?;
    let start = text.len() - text.trim_ascii_start().len();
    Ok((start..start + document.len(), index))
}

fn part_of(text: Cow<'_, str>, range: Range<usize>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[range]),
        Cow::Owned(mut text) => {
            text.truncate(range.end);
            text.drain(..range.start);
            Cow::Owned(text)
        }
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

    /// Whether it is a string of one word, in any case and with white space around it.
    pub(crate) fn is_word(self, word: &str) -> bool {
        let place = self.place();
        // between the quotes, and nobody writes it much longer than it is
        let length = (place.end - place.start).saturating_sub(2);
        if self.kind() != Kind::String || !(word.len()..=10 * word.len()).contains(&length) {
            return false;
        }
        // nearly every other text is told by its first letter
        let first = self.text.as_bytes()[place.start + 1];
        let may_be = !first.is_ascii_alphanumeric() || first.eq_ignore_ascii_case(&word.as_bytes()[0]);
        may_be && place.text(self.text).value.trim().eq_ignore_ascii_case(word)
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

    /// The members of an object: key and value, in their order.
    pub(crate) fn members(self) -> Option<impl Iterator<Item = (Text<'a>, Value<'a>)> + Clone> {
        let end = self.place().next;
        let (is_object, first) = (self.kind() == Kind::Object, self.position + 1);
        let next = move |position: usize| (position < end).then_some(position);
        is_object.then(|| {
            std::iter::successors(next(first), move |position| next(self.index.0[position + 1].next)).map(
                move |position| {
                    let value = Value { position: position + 1, ..self };
                    (self.index.0[position].text(self.text), value)
                },
            )
        })
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
        let document = Document::parse(json).unwrap();
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
        let document = Document::parse(r#"{"a":{"b":0},"\u0061":2,"b":[1,{"a":3}],"\ud800":3}"#).unwrap();
        let member = |key| document.root().member(key).map(|member| (member.value.as_str(), member.is_repeated));
        assert_eq!(member("a"), Some(("2", true)));
        assert_eq!(member("b"), Some((r#"[1,{"a":3}]"#, false)));
        assert_eq!(member("c"), None);
    }

    #[test]
    fn nesting_is_bounded_and_brackets_in_strings_do_not_count() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let is_too_deep = |text: String| match Document::parse(text) {
            Ok(_) => false,
            Err(unreadable) => matches!(unreadable.malformed, Malformed::TooDeep),
        };
        assert!(Document::parse(nested(MAX_DEPTH)).is_ok());
        assert!(is_too_deep(nested(MAX_DEPTH + 1)));
        assert!(is_too_deep(nested(200_000)));
        assert!(Document::parse(format!(r#""\"{}""#, "[".repeat(1000))).is_ok());
        assert!(Document::parse(format!("[{}0]", "[],".repeat(1000))).is_ok());
    }

    #[test]
    fn what_is_not_json_is_said_to_be_so() {
        for text in ["{", "{} x", "{'a':1}", "{\"a\":01}", "{\"a\":\"\x01\"}", "nul"] {
            let Err(unreadable) = Document::parse(text) else { panic!("{text}") };
            assert!(matches!(unreadable.malformed, Malformed::Syntax { .. }));
            assert_eq!(unreadable.text, text);
        }
        assert!(matches!(Document::parse(" \n"), Err(Unreadable { malformed: Malformed::Empty, .. })));
    }

    #[test]
    fn white_space_around_a_document_is_no_part_of_it() {
        for text in [Cow::Borrowed(" {\"a\": [1]}\n"), Cow::Owned("\t{\"a\": [1]} ".to_owned())] {
            let document = Document::parse(text).unwrap();
            assert_eq!(document.as_str(), "{\"a\": [1]}");
            assert_eq!(document.root().member("a").unwrap().value.as_str(), "[1]");
        }
    }
}
