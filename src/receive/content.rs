//! What a body says: decompressed, decoded, parsed.
//!
//! Nothing is refused for being written in another way than it should be: what can be read is read, and what is odd
//! leaves a warning.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};

use super::decompress::{Decompressed, TooLarge, decompress};
use crate::{
    json::{Document, Kind, Malformed, Unreadable},
    redaction::Redactor,
};

/// A body that was read.
pub struct Content<'a> {
    /// What it says.
    pub document: Result<Document<'a>, Unreadable<'a>>,
    /// What was odd about the way in which it is written.
    pub warnings: Vec<String>,
    /// Its bytes, where they are not those of its text.
    pub(super) bytes: Option<Cow<'a, [u8]>>,
}

impl<'a> Content<'a> {
    /// Reads a body of at most `limit` bytes, decompressed. Of one whose encoding is not supported nothing is known but
    /// that. `containers` are the members that hold lists or objects.
    pub fn read(body: &'a [u8], is_supported: bool, limit: usize, containers: &[&str]) -> Result<Self, TooLarge> {
        let Decompressed { bytes, is_damaged } = decompress(body, limit)?;
        // of damaged gzip also what could not be decompressed is kept
        let damaged = (is_damaged && bytes.is_empty()).then_some(Cow::Borrowed(body));
        let Text { text, bytes, warning } = decode(bytes);
        let mut warnings: Vec<_> = warning.into_iter().collect();
        let fault = match (is_supported, is_damaged) {
            (false, _) => Some(Malformed::UnsupportedEncoding),
            (true, true) => Some(Malformed::NotGzip),
            (true, false) => None,
        };
        let document = match fault {
            Some(malformed) => Err(Unreadable { malformed, text }),
            None => Document::parse(text).map(|document| unpacked(document, containers, &mut warnings)),
        };
        Ok(Self { document, warnings, bytes: damaged.or(bytes) })
    }
}

/// What is kept of a body that is no JSON: its bytes as they came, or where anything had to be replaced its text.
pub(super) fn kept(
    unreadable: &Unreadable<'_>,
    bytes: Option<&[u8]>,
    credential_members: &[&str],
    redactor: &Redactor,
) -> Vec<u8> {
    let less_secrets = |text: &str| redactor.broken_json(text, credential_members).map(String::into_bytes);
    let text = &unreadable.text;
    match (less_secrets(text), bytes) {
        (Some(kept), _) => kept,
        (None, None) => text.as_bytes().to_vec(),
        // a secret may stand in bytes that are no UTF-8 as any encoding has it
        (None, Some(bytes)) => less_secrets(&String::from_utf8_lossy(bytes))
            .or_else(|| less_secrets(&windows_1252(bytes)))
            .unwrap_or_else(|| bytes.to_vec()),
    }
}

/// A document without strings of JSON where an object or a list was meant: the body itself, and the members that hold
/// such.
fn unpacked<'a>(mut document: Document<'a>, containers: &[&str], warnings: &mut Vec<String>) -> Document<'a> {
    // each is shorter than the one around it
    while let Some(inner) = in_string(&document) {
        document = inner;
        warnings.push("the body was a string of JSON, which was unpacked".to_owned());
    }
    let (document, paths, unnamed) = document.unpacked(containers);
    warnings.extend(paths.iter().map(|path| format!("{path} was a string of JSON, which was unpacked")));
    if unnamed > 0 {
        warnings.push(format!("{unnamed} more members were strings of JSON, which were unpacked"));
    }
    document
}

/// The object in a document that is a string of JSON, or the string in it.
fn in_string(document: &Document<'_>) -> Option<Document<'static>> {
    let text = document.root().text().filter(|_| document.root().kind() == Kind::String)?;
    let inner = Document::parse(text.value.into_owned()).ok()?;
    matches!(inner.root().kind(), Kind::Object | Kind::String).then_some(inner)
}

struct Text<'a> {
    text: Cow<'a, str>,
    /// The bytes, where the text has others.
    bytes: Option<Cow<'a, [u8]>>,
    warning: Option<String>,
}

/// Bytes as text, whatever they are: UTF-8 as a rule, UTF-16 where they begin like that, broken UTF-8 where at least a
/// part of it is whole, else Windows-1252, in which every byte is a character.
fn decode(bytes: Cow<'_, [u8]>) -> Text<'_> {
    let (text, warning) = match Encoding::for_bom(&bytes) {
        Some((encoding, mark)) if encoding != UTF_8 => {
            let (text, is_broken) = encoding.decode_without_bom_handling(&bytes[mark..]);
            let broken = if is_broken { "; what is broken in it was replaced" } else { "" };
            (text.into_owned(), format!("the body was read as {}{broken}", encoding.name()))
        }
        _ => match valid_utf_8(bytes) {
            Ok(text) => return Text { text, bytes: None, warning: None },
            Err(bytes) => return decode_broken(bytes),
        },
    };
    Text { text: Cow::Owned(text), bytes: Some(bytes), warning: Some(warning) }
}

fn decode_broken(bytes: Cow<'_, [u8]>) -> Text<'_> {
    let (text, warning) = if bytes.utf8_chunks().any(|chunk| !chunk.valid().is_ascii()) {
        let text = String::from_utf8_lossy(without_mark(&bytes)).into_owned();
        (text, "the body was not valid UTF-8; what is broken in it was replaced")
    } else {
        (windows_1252(&bytes).into_owned(), "the body was read as windows-1252")
    };
    Text { text: Cow::Owned(text), bytes: Some(bytes), warning: Some(warning.to_owned()) }
}

/// The text without a byte order mark before it, or the bytes where they are no UTF-8.
fn valid_utf_8(bytes: Cow<'_, [u8]>) -> Result<Cow<'_, str>, Cow<'_, [u8]>> {
    match bytes {
        Cow::Borrowed(bytes) => match std::str::from_utf8(without_mark(bytes)) {
            Ok(text) => Ok(Cow::Borrowed(text)),
            Err(_) => Err(Cow::Borrowed(bytes)),
        },
        Cow::Owned(bytes) => match String::from_utf8(bytes) {
            Ok(mut text) => {
                let mark = text.len() - without_mark(text.as_bytes()).len();
                text.drain(..mark);
                Ok(Cow::Owned(text))
            }
            Err(error) => Err(Cow::Owned(error.into_bytes())),
        },
    }
}

fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

fn windows_1252(bytes: &[u8]) -> Cow<'_, str> {
    WINDOWS_1252.decode_without_bom_handling(bytes).0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(bytes: &[u8]) -> (String, Option<String>) {
        let Text { text, warning, .. } = decode(Cow::Borrowed(bytes));
        let owned = decode(Cow::Owned(bytes.to_vec()));
        assert_eq!((&text, &warning), (&owned.text, &owned.warning));
        (text.into_owned(), warning)
    }

    #[test]
    fn bytes_are_read_as_what_they_most_likely_are() {
        for (bytes, text, warning) in [
            (&b"{\"a\":1}"[..], "{\"a\":1}", None),
            ("é€😀".as_bytes(), "é€😀", None),
            (b"\xef\xbb\xbf{}", "{}", None),
            (b"\xff\xfe{\0}\0", "{}", Some("the body was read as UTF-16LE")),
            (b"\xfe\xff\0{\0}", "{}", Some("the body was read as UTF-16BE")),
            (
                b"\xfe\xff\0{\xd8\0",
                "{\u{fffd}",
                Some("the body was read as UTF-16BE; what is broken in it was replaced"),
            ),
            (b"M\xfcller \x80", "Müller €", Some("the body was read as windows-1252")),
            (
                b"M\xc3\xbcller M\xfcller",
                "Müller M\u{fffd}ller",
                Some("the body was not valid UTF-8; what is broken in it was replaced"),
            ),
            (b"", "", None),
        ] {
            assert_eq!(decoded(bytes), (text.to_owned(), warning.map(str::to_owned)));
        }
    }
}
