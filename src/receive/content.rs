//! The content of a body: decompressed, decoded to text, parsed.
//!
//! Reading is lenient: what can be read is read, and every deviation leaves a warning.

use std::{borrow::Cow, fmt};

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};

use super::{
    body::CollectedBody,
    gzip::{Decompressed, TooLarge, decompress},
};
use crate::{
    json::{Document, Kind, Malformed},
    providers::Reply,
    redaction::{self, Redactor},
};

pub struct Content<'a> {
    pub document: Result<Document<'a>, UnreadableBody<'a>>,
    pub warnings: Vec<String>,
    /// The bytes of a text that is not their exact decoding.
    pub(super) bytes: Option<Cow<'a, [u8]>>,
}

/// A body that is not JSON, as far as its text could be decoded.
pub struct UnreadableBody<'a> {
    pub(super) fault: Fault,
    pub(super) text: Cow<'a, str>,
}

/// Why a body is not JSON.
#[derive(Debug)]
pub(super) enum Fault {
    UnsupportedEncoding,
    DamagedGzip,
    NotJson(Malformed),
}

/// Omits the text: it may hold credentials.
impl fmt::Debug for UnreadableBody<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("UnreadableBody").field("fault", &self.fault).finish_non_exhaustive()
    }
}

impl From<&Fault> for Reply {
    fn from(fault: &Fault) -> Self {
        match fault {
            Fault::UnsupportedEncoding => Self::UnsupportedEncoding,
            Fault::DamagedGzip => Self::Malformed("the body is not valid gzip".to_owned()),
            Fault::NotJson(malformed) => Self::Malformed(malformed.to_string()),
        }
    }
}

impl<'a> Content<'a> {
    /// `is_encoding_supported` is by the `Content-Encoding` header; `limit` is of the decompressed bytes;
    /// `structured_members` are those of the provider.
    ///
    /// # Errors
    ///
    /// The decompressed body is larger than the limit.
    pub fn read(
        body: &'a CollectedBody,
        is_encoding_supported: bool,
        limit: usize,
        structured_members: &[&str],
    ) -> Result<Self, TooLarge> {
        let Decompressed { bytes, is_damaged } = decompress(body.as_bytes(), body.coding(), limit)?;
        // when nothing could be decompressed, the compressed bytes are kept
        let compressed = (is_damaged && bytes.is_empty()).then_some(Cow::Borrowed(body.as_bytes()));
        let Text { text, bytes, warning } = decode(bytes);
        let mut warnings: Vec<_> = warning.into_iter().collect();
        let fault = match (is_encoding_supported, is_damaged) {
            (false, _) => Some(Fault::UnsupportedEncoding),
            (true, true) => Some(Fault::DamagedGzip),
            (true, false) => None,
        };
        let document = match fault {
            Some(fault) => Err(UnreadableBody { fault, text }),
            None => match Document::parse(text) {
                Ok(document) => Ok(unpacked(document, structured_members, &mut warnings)),
                Err(json) => Err(UnreadableBody { fault: Fault::NotJson(json.malformed), text: json.text }),
            },
        };
        Ok(Self { document, warnings, bytes: compressed.or(bytes) })
    }
}

/// What is stored of a body that is not JSON: its bytes as they came, or its text where a secret was replaced.
pub(super) fn redacted(
    unreadable: &UnreadableBody<'_>,
    bytes: Option<&[u8]>,
    credential_members: &[&str],
    redactor: &Redactor,
) -> Vec<u8> {
    let redact = |text: &str| redactor.redact_broken_json(text, credential_members).map(String::into_bytes);
    let text = &unreadable.text;
    match (redact(text), bytes) {
        (Some(redacted), _) => redacted,
        (None, None) => text.as_bytes().to_vec(),
        // bytes that are not UTF-8 may hold a secret in another encoding than the one they were decoded by
        (None, Some(bytes)) => redact(&String::from_utf8_lossy(bytes))
            .or_else(|| redact(&windows_1252(bytes)))
            .unwrap_or_else(|| bytes.to_vec()),
    }
}

/// Whether what [`redacted`] gave may hold documents, whose members are `members`.
pub(super) fn may_hold_documents(body: &[u8], members: &[&str]) -> bool {
    !members.is_empty() && redaction::may_hold_documents(&decode(Cow::Borrowed(body)).text, members)
}

/// Unpacks strings of JSON: the body itself, and the members that hold arrays or objects.
fn unpacked<'a>(mut document: Document<'a>, structured_members: &[&str], warnings: &mut Vec<String>) -> Document<'a> {
    // ends: each is shorter than the one around it
    while let Some(inner) = json_in_string(&document) {
        document = inner;
        warnings.push("the body was a string of JSON, which was unpacked".to_owned());
    }
    let (document, paths, others) = document.unpacked(structured_members);
    warnings.extend(paths.iter().map(|path| format!("{path} was a string of JSON, which was unpacked")));
    if others > 0 {
        warnings.push(format!("{others} more members were strings of JSON, which were unpacked"));
    }
    document
}

/// The object or string in a document that is a string of JSON.
fn json_in_string(document: &Document<'_>) -> Option<Document<'static>> {
    let text = document.root().text().filter(|_| document.root().kind() == Kind::String)?;
    let inner = Document::parse(text.value.into_owned()).ok()?;
    matches!(inner.root().kind(), Kind::Object | Kind::String).then_some(inner)
}

/// The text of a body that was stored: read as it was when it arrived.
pub fn text_of_body(body: &[u8]) -> Cow<'_, str> {
    decode(Cow::Borrowed(body)).text
}

struct Text<'a> {
    text: Cow<'a, str>,
    /// Where the text is not their exact decoding.
    bytes: Option<Cow<'a, [u8]>>,
    warning: Option<String>,
}

/// Decodes any bytes: as UTF-16 by its byte order mark, as UTF-8, as broken UTF-8 when any multi-byte sequence is valid, else
/// as Windows-1252, in which every byte is a character.
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
        let text = String::from_utf8_lossy(without_byte_order_mark(&bytes)).into_owned();
        (text, "the body was not valid UTF-8; what is broken in it was replaced")
    } else {
        (windows_1252(&bytes).into_owned(), "the body was read as windows-1252")
    };
    Text { text: Cow::Owned(text), bytes: Some(bytes), warning: Some(warning.to_owned()) }
}

/// Without a byte order mark. `Err` returns bytes that are not UTF-8.
fn valid_utf_8(bytes: Cow<'_, [u8]>) -> Result<Cow<'_, str>, Cow<'_, [u8]>> {
    match bytes {
        Cow::Borrowed(bytes) => match std::str::from_utf8(without_byte_order_mark(bytes)) {
            Ok(text) => Ok(Cow::Borrowed(text)),
            Err(_) => Err(Cow::Borrowed(bytes)),
        },
        Cow::Owned(bytes) => match String::from_utf8(bytes) {
            Ok(mut text) => {
                let mark = text.len() - without_byte_order_mark(text.as_bytes()).len();
                text.drain(..mark);
                Ok(Cow::Owned(text))
            }
            Err(error) => Err(Cow::Owned(error.into_bytes())),
        },
    }
}

fn without_byte_order_mark(bytes: &[u8]) -> &[u8] {
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
    fn bytes_are_decoded_by_their_most_likely_encoding() {
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
