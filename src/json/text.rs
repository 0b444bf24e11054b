//! Decoding strings. A lone surrogate is replaced: neither a Rust string nor Postgres can hold one.

use std::{borrow::Cow, fmt};

use serde::de::{self, Deserialize, Deserializer, Visitor};

pub struct Text<'a> {
    /// With U+FFFD for every lone surrogate.
    pub value: Cow<'a, str>,
    /// Whether a surrogate was replaced.
    pub repaired: bool,
}

/// `quoted` is a valid JSON string with its quotes.
pub(super) fn decode(quoted: &str) -> Text<'_> {
    match decode_bytes(quoted) {
        Cow::Borrowed(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Text { value: Cow::Borrowed(text), repaired: false },
            Err(_) => replaced(bytes),
        },
        Cow::Owned(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Text { value: Cow::Owned(text), repaired: false },
            Err(error) => replaced(error.as_bytes()),
        },
    }
}

/// As [`decode`], but a lone surrogate becomes three bytes of invalid UTF-8.
pub(super) fn decode_bytes(quoted: &str) -> Cow<'_, [u8]> {
    let Decoded(bytes) = serde_json::from_str(quoted).expect("the text is a valid JSON string");
    bytes
}

/// Deserialized as bytes: only so does `serde_json` accept lone surrogates.
struct Decoded<'a>(Cow<'a, [u8]>);

impl<'de> Deserialize<'de> for Decoded<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl<'de> Visitor<'de> for Bytes {
            type Value = Cow<'de, [u8]>;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string")
            }
            fn visit_borrowed_bytes<E: de::Error>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(bytes))
            }
            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                Ok(Cow::Owned(bytes.to_owned()))
            }
        }
        deserializer.deserialize_bytes(Bytes).map(Decoded)
    }
}

fn replaced(bytes: &[u8]) -> Text<'static> {
    let mut value = String::with_capacity(bytes.len());
    let mut broken = 0;
    for chunk in bytes.utf8_chunks() {
        value.push_str(chunk.valid());
        // `utf8_chunks` yields the three bytes of a surrogate one by one
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
