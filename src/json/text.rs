//! Decoding a string of JSON. A lone surrogate is replaced: no string of Rust or Postgres can hold one.

use std::{borrow::Cow, fmt};

use serde::de::{self, Deserialize, Deserializer, Visitor};

/// A decoded string.
pub struct Text<'a> {
    /// The characters; U+FFFD stands for every lone surrogate.
    pub value: Cow<'a, str>,
    /// Whether something had to be replaced.
    pub repaired: bool,
}

/// Decodes a string's text, quotes included.
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

/// Decodes a string's text, quotes included: to UTF-8, and every lone surrogate to three bytes that are none.
pub(super) fn decode_bytes(quoted: &str) -> Cow<'_, [u8]> {
    let Decoded(bytes) = serde_json::from_str(quoted).expect("the text is a valid JSON string");
    bytes
}

/// A string read as bytes, which is how `serde_json` lets lone surrogates through.
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
