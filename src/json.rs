//! Reading a JSON document leniently, without losing anything of it.
//!
//! A [`Value`] is the text of one JSON value inside a document that `serde_json` has checked; it is looked into only as
//! far as somebody asks. So a number keeps its digits (none goes through a float), a lone surrogate is no error, a
//! repeated key is none either, and what nobody asks for is passed over whatever it holds.
//!
//! It does not decide what a field means: that is [`crate::payload`].

use std::{borrow::Cow, fmt};

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

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

/// The text of one valid JSON value, without white space around it.
#[derive(Clone, Copy)]
pub struct Value<'a>(&'a str);

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

/// A decoded string.
pub struct Text<'a> {
    /// The characters; U+FFFD stands for every lone surrogate.
    pub value: Cow<'a, str>,
    /// Whether something had to be replaced.
    pub repaired: bool,
}

/// The members of an object, in their order, repeated keys included.
pub struct Object<'a>(Vec<(Cow<'a, str>, Value<'a>)>);

impl<'a> Value<'a> {
    /// Checks a whole document.
    ///
    /// A byte order mark before it is passed over.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let text = std::str::from_utf8(bytes).map_err(|error| Malformed::NotUtf8(error.valid_up_to()))?;
        if text.trim_ascii().is_empty() {
            return Err(Malformed::Empty);
        }
        let value = serde_json::from_str::<&RawValue>(text)
            .map_err(|error| Malformed::Syntax { line: error.line(), column: error.column() })?;
        if deeper_than(value.get(), MAX_DEPTH) {
            return Err(Malformed::TooDeep);
        }
        Ok(Self(value.get()))
    }

    /// The text as it was sent.
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// What it is.
    pub fn kind(self) -> Kind {
        match self.0.as_bytes().first() {
            Some(b'n') => Kind::Null,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'"') => Kind::String,
            Some(b'[') => Kind::Array,
            Some(b'{') => Kind::Object,
            _ => Kind::Number,
        }
    }

    /// The characters of a string, or the digits of a number as they were sent; `None` for anything else.
    pub fn text(self) -> Option<Text<'a>> {
        match self.kind() {
            Kind::Number => Some(Text { value: Cow::Borrowed(self.0), repaired: false }),
            Kind::String => Some(decode(self.0)),
            _ => None,
        }
    }

    /// The members of an object.
    pub fn object(self) -> Option<Object<'a>> {
        (self.kind() == Kind::Object)
            .then(|| serde_json::from_str(self.0).expect("the text was checked, and any key can be read"))
    }

    /// The elements of an array.
    pub fn elements(self) -> Option<Vec<Value<'a>>> {
        (self.kind() == Kind::Array)
            .then(|| serde_json::from_str::<Elements<'a>>(self.0).expect("the text was checked").0)
    }
}

impl<'a> Object<'a> {
    /// The value of a key; of several the last, as everywhere.
    pub fn get(&self, key: &str) -> Option<Value<'a>> {
        self.0.iter().rev().find(|(name, _)| name == key).map(|(_, value)| *value)
    }

    /// Whether a key occurs more than once.
    pub fn repeats(&self, key: &str) -> bool {
        self.0.iter().filter(|(name, _)| name == key).nth(1).is_some()
    }
}

/// Decodes a string's text, quotes included.
pub(crate) fn decode(quoted: &str) -> Text<'_> {
    let inner = &quoted[1..quoted.len() - 1];
    if !inner.as_bytes().contains(&b'\\') {
        return Text { value: Cow::Borrowed(inner), repaired: false };
    }
    let Decoded(text) = serde_json::from_str(quoted).expect("the text is a valid JSON string");
    text
}

fn deeper_than(text: &str, limit: usize) -> bool {
    let bytes = text.as_bytes();
    if memchr::memchr2_iter(b'{', b'[', bytes).nth(limit).is_none() {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                depth += 1;
                if depth > limit {
                    return true;
                }
            }
            b'}' | b']' => depth -= 1,
            _ => {}
        }
    }
    false
}

/// A string read as bytes, which is how `serde_json` lets lone surrogates through (as three bytes that are no UTF-8).
struct Decoded<'a>(Text<'a>);

impl<'de> Deserialize<'de> for Decoded<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Characters;
        impl<'de> Visitor<'de> for Characters {
            type Value = Text<'de>;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string")
            }
            fn visit_borrowed_bytes<E: de::Error>(self, bytes: &'de [u8]) -> Result<Text<'de>, E> {
                Ok(match std::str::from_utf8(bytes) {
                    Ok(text) => Text { value: Cow::Borrowed(text), repaired: false },
                    Err(_) => replaced(bytes),
                })
            }
            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Text<'de>, E> {
                Ok(match std::str::from_utf8(bytes) {
                    Ok(text) => Text { value: Cow::Owned(text.to_owned()), repaired: false },
                    Err(_) => replaced(bytes),
                })
            }
        }
        deserializer.deserialize_bytes(Characters).map(Decoded)
    }
}

fn replaced(bytes: &[u8]) -> Text<'static> {
    let mut value = String::with_capacity(bytes.len());
    let mut broken = 0;
    for chunk in bytes.utf8_chunks() {
        value.push_str(chunk.valid());
        // the three bytes of a surrogate are reported one by one
        broken = if chunk.valid().is_empty() { broken } else { 0 };
        if !chunk.invalid().is_empty() {
            if broken % 3 == 0 {
                value.push(char::REPLACEMENT_CHARACTER);
            }
            broken += 1;
        }
    }
    Text { value: Cow::Owned(value), repaired: true }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut members = Vec::with_capacity(16);
                while let Some((Decoded(key), value)) = map.next_entry::<Decoded<'de>, &'de RawValue>()? {
                    members.push((key.value, Value(value.get())));
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

struct Elements<'a>(Vec<Value<'a>>);

impl<'de> Deserialize<'de> for Elements<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Sequence;
        impl<'de> Visitor<'de> for Sequence {
            type Value = Elements<'de>;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an array")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Elements<'de>, A::Error> {
                let mut elements = Vec::new();
                while let Some(value) = sequence.next_element::<&'de RawValue>()? {
                    elements.push(Value(value.get()));
                }
                Ok(Elements(elements))
            }
        }
        deserializer.deserialize_seq(Sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(json: &str) -> (String, bool) {
        let text = Value::parse(json.as_bytes()).unwrap().text().unwrap();
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
        let object = Value::parse(br#"{"a":1,"\u0061":2,"\ud800":3}"#).unwrap().object().unwrap();
        assert_eq!(object.get("a").unwrap().as_str(), "2");
        assert!(object.repeats("a"));
        assert!(!object.repeats("b"));
    }

    #[test]
    fn nesting_is_bounded_and_brackets_in_strings_do_not_count() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(Value::parse(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert!(matches!(Value::parse(nested(MAX_DEPTH + 1).as_bytes()), Err(Malformed::TooDeep)));
        assert!(matches!(Value::parse(nested(200_000).as_bytes()), Err(Malformed::TooDeep)));
        assert!(Value::parse(format!(r#""\"{}""#, "[".repeat(1000)).as_bytes()).is_ok());
        assert!(Value::parse(format!("[{}0]", "[],".repeat(1000)).as_bytes()).is_ok());
    }

    #[test]
    fn what_is_not_json_is_said_to_be_so() {
        for body in [&b"{"[..], b"{} x", b"{'a':1}", b"{\"a\":01}", b"{\"a\":\"\x01\"}", b"nul"] {
            assert!(matches!(Value::parse(body), Err(Malformed::Syntax { .. })));
        }
        assert!(matches!(Value::parse(b" \n"), Err(Malformed::Empty)));
        assert!(matches!(Value::parse(b"\"\xff\""), Err(Malformed::NotUtf8(1))));
        assert!(Value::parse(b"\xef\xbb\xbf{}").is_ok());
    }
}
