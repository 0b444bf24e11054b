//! Removing credentials from what is stored.
//!
//! In this order: the members that carry credentials are removed from a delivery (any spelling, any depth, every copy);
//! what remains is normalized; then every configured secret that stands as a whole word in the stored payload, or in a
//! free-text field of the booking, is replaced by `REDACTED`.
//!
//! Invariants:
//! - normalized business data (references, names, ticket numbers...) is stored as it was sent, even where it equals a
//!   secret; the stored payload is not: there the same text is replaced;
//! - a secret that could be ordinary data (see `is_redactable`) is removed with its member only, and searched for nowhere
//!   else;
//! - redacting again changes nothing.

mod booking;
mod documents;
mod members;

use std::ops::Range;

use memchr::memmem;
use secrecy::{ExposeSecret, SecretString};

pub(crate) use self::{
    documents::{drop_documents, may_hold_documents},
    members::without_members,
};
use crate::json::{Index, Layer, broken_members, layers};

pub const REDACTED: &str = "[redacted]";

/// Shorter texts occur in ordinary data.
const MIN_SECRET_CHARS: usize = 8;

/// Whether a secret is searched for: not when it has only digits or fewer than eight characters, as references, amounts and
/// ticket numbers do.
pub fn is_redactable(secret: &str) -> bool {
    secret.chars().count() >= MIN_SECRET_CHARS && !secret.bytes().all(|byte| byte.is_ascii_digit())
}

/// Finds and replaces a set of secrets.
pub struct Redactor {
    secrets: Vec<SecretString>,
}

/// A document in which secrets were replaced.
pub(crate) struct RedactedJson {
    pub(crate) text: String,
    /// Positions in the index of the keys and values in which a secret was replaced.
    pub(crate) positions: Vec<usize>,
}

impl Redactor {
    /// Ignores secrets that are not [redactable](is_redactable).
    pub fn new(secrets: impl IntoIterator<Item = SecretString>) -> Self {
        Self { secrets: secrets.into_iter().filter(|secret| is_redactable(secret.expose_secret())).collect() }
    }

    /// As a whole word, in any escaping.
    pub fn contains_secret(&self, text: &str) -> bool {
        !self.find_in(layers(text), &[]).is_empty()
    }

    /// `None` when the text holds no secret.
    pub fn redact_text(&self, text: &str) -> Option<String> {
        self.redact_broken_json(text, &[])
    }

    /// Of a text that is not valid JSON: also replaces the values of these members. `None` when there is nothing to replace.
    pub fn redact_broken_json(&self, text: &str, members: &[&str]) -> Option<String> {
        let found = self.find_in(layers(text), members);
        (!found.is_empty()).then(|| redacted(text, &found))
    }

    /// Of a document: also replaces the values of these members in JSON in its strings. `None` when there is nothing to
    /// replace.
    pub(crate) fn redact_json(&self, text: &str, index: &Index, members: &[&str]) -> Option<RedactedJson> {
        // fast path: without a backslash no string holds escaped text or JSON, and without an apostrophe none holds a quoted
        // member name, so one search over the whole document suffices
        let has_no_escapes = memchr::memchr2(b'\\', b'\'', text.as_bytes()).is_none();
        let occurs = self.secrets.iter().any(|secret| contains(text, secret));
        if has_no_escapes && !occurs {
            return None;
        }
        let (mut out, mut copied, mut positions) = (String::with_capacity(text.len()), 0, Vec::new());
        for token in index.tokens(text) {
            let raw = &text[token.range.clone()];
            let found = if token.is_escaped {
                // the first layer is the undecoded text, which is not what a reader sees
                self.find_in(layers(raw).skip(1), members)
            } else if !has_no_escapes && raw.contains('\'') {
                self.find_in(layers(raw), members)
            } else if occurs {
                self.whole_words(raw)
            } else {
                continue;
            };
            if found.is_empty() {
                continue;
            }
            out.push_str(&text[copied..token.range.start]);
            if token.is_string {
                out.push_str(&redacted(raw, &found));
            } else {
                out.extend(["\"", REDACTED, "\""]);
            }
            copied = token.range.end;
            positions.push(token.position);
        }
        out.push_str(&text[copied..]);
        (!positions.is_empty()).then_some(RedactedJson { text: out, positions })
    }

    /// The ranges, in the original text, of secrets and of the values of these members in all layers.
    fn find_in<'a>(&self, layers: impl Iterator<Item = Layer<'a>>, members: &[&str]) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        for layer in layers {
            let words = self.whole_words(&layer.text).into_iter().chain(self.whole_words_ignoring_nuls(&layer.text));
            found.extend(words.map(|word| layer.origin(word)));
            let values = broken_members(&layer.text, members).into_iter().map(|member| member.range);
            found.extend(values.filter(|value| !value.is_empty()).map(|value| layer.origin(value)));
        }
        merged(found)
    }

    /// The ranges of secrets in a text without its NUL characters, which reading a field removes.
    fn whole_words_ignoring_nuls(&self, text: &str) -> Vec<Range<usize>> {
        if !text.contains('\0') {
            return Vec::new();
        }
        let (mut kept, mut origins) = (String::with_capacity(text.len()), Vec::with_capacity(text.len() + 1));
        for (at, character) in text.char_indices().filter(|(_, character)| *character != '\0') {
            kept.push(character);
            origins.resize(kept.len(), at);
        }
        origins.push(text.len());
        self.whole_words(&kept).into_iter().map(|word| origins[word.start]..origins[word.end]).collect()
    }

    /// The ranges of unescaped secrets.
    fn whole_words(&self, text: &str) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        for secret in &self.secrets {
            let secret = secret.expose_secret();
            let mut from = 0;
            while let Some(at) = memmem::find(&text.as_bytes()[from..], secret.as_bytes()) {
                let word = from + at..from + at + secret.len();
                from = word.start + 1;
                if is_whole_word(text, &word) {
                    found.push(word);
                }
            }
        }
        merged(found)
    }
}

fn contains(text: &str, secret: &SecretString) -> bool {
    memmem::find(text.as_bytes(), secret.expose_secret().as_bytes()).is_some()
}

/// Whether a range is not part of a longer sequence of letters and digits.
fn is_whole_word(text: &str, part: &Range<usize>) -> bool {
    let continues = |outside: Option<char>, inside: Option<char>| {
        outside.is_some_and(char::is_alphanumeric) && inside.is_some_and(char::is_alphanumeric)
    };
    let inside = &text[part.clone()];
    !continues(text[..part.start].chars().next_back(), inside.chars().next())
        && !continues(text[part.end..].chars().next(), inside.chars().next_back())
}

/// Sorted, with overlapping ranges merged.
fn merged(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.sort_unstable_by_key(|range| range.start);
    ranges.dedup_by(|next, before| {
        let overlaps = next.start < before.end;
        if overlaps {
            before.end = before.end.max(next.end);
        }
        overlaps
    });
    ranges
}

/// `parts` are sorted and do not overlap.
fn redacted(text: &str, parts: &[Range<usize>]) -> String {
    let (mut out, mut copied) = (String::with_capacity(text.len()), 0);
    for part in parts {
        out.push_str(&text[copied..part.start]);
        out.push_str(REDACTED);
        copied = part.end;
    }
    out.push_str(&text[copied..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Document;

    fn redactor() -> Redactor {
        let secrets = ["hunter\"2é😀", "12345678", "k3y/p4rt-x", "short7!", "Zq8-Zq8-Zq8"];
        Redactor::new(secrets.map(SecretString::from))
    }

    fn json(document: &str) -> String {
        let (text, index) = Document::parse(document).unwrap().into_parts();
        redactor()
            .redact_json(&text, &index, &["Password"])
            .map_or_else(|| text.clone().into_owned(), |redacted| redacted.text)
    }

    #[test]
    fn a_secret_goes_where_it_is_a_word_and_stays_where_it_is_a_part_of_one() {
        let redacted = |text| redactor().redact_text(text);
        for (sent, kept) in [
            ("hunter\"2é😀", "[redacted]"),
            ("is hunter\"2é😀!", "is [redacted]!"),
            ("a,k3y/p4rt-x_hunter\"2é😀", "a,[redacted]_[redacted]"),
            ("Zq8-Zq8-Zq8-Zq8 and Zq8-Zq8-Zq8", "[redacted] and [redacted]"),
            ("xZq8-Zq8-Zq8-Zq8", "xZq8-[redacted]"),
            (r"\nk3y\/p4rt-x\n", r"\n[redacted]\n"),
            ("k3y/p\u{0}4rt-x", "[redacted]"),
        ] {
            assert_eq!(redacted(sent).as_deref(), Some(kept), "{sent}");
        }
        // in a longer run of letters and digits, of digits alone, too short
        for kept in ["ak3y/p4rt-x", "k3y/p4rt-x9", "k3y/p4rt-xé", "12345678", "short7!", "K3Y/P4RT-X", ""] {
            assert_eq!(redacted(kept), None, "{kept}");
        }
    }

    #[test]
    fn a_document_loses_its_secrets_in_any_escaping_and_nothing_else() {
        for (sent, kept) in [
            (r#"{"a":"is hunter\"2é😀!"}"#, r#"{"a":"is [redacted]!"}"#),
            (r#"{"a":"\u0068unter\u00222\u00e9\ud83d\ude00"}"#, r#"{"a":"[redacted]"}"#),
            (r#"{"hunter\"2é😀":[1, "k3y\/p4rt-x"] }"#, r#"{"[redacted]":[1, "[redacted]"] }"#),
            (r#"{"a":"{\"b\":\"hunter\\\"2é😀\"}"}"#, r#"{"a":"{\"b\":\"[redacted]\"}"}"#),
            (r#"{"a":"[\"\\u0068unter\\\"2\\u00E9\\uD83D\\uDE00\"]"}"#, r#"{"a":"[\"[redacted]\"]"}"#),
            (r#"{"a":"\nk3y\\\/p4rt-x\n\ud800"}"#, r#"{"a":"\n[redacted]\n\ud800"}"#),
            (r#"{"a":12345678,"b":"\u0000 12345678 short7!"}"#, r#"{"a":12345678,"b":"\u0000 12345678 short7!"}"#),
            (r#"{"a":"by k3y/p4rt-xs"}"#, r#"{"a":"by k3y/p4rt-xs"}"#),
            (r#"{"a":"k3y/p4rt-x\u0000s"}"#, r#"{"a":"[redacted]\u0000s"}"#),
            // members of JSON in a string, and in a string in that
            (
                r#"{"a":"{\"b\":\"{\\\"Password\\\":\\\"1\\\"}\"}"}"#,
                r#"{"a":"{\"b\":\"{\\\"Password\\\":\\\"[redacted]\\\"}\"}"}"#,
            ),
            (r#"{"a":"{'Password': '1'} O'Neil"}"#, r#"{"a":"{'Password': '[redacted]'} O'Neil"}"#),
            (r#"{"a":"{\"Password\":\"123\",\"b\":1}"}"#, r#"{"a":"{\"Password\":\"[redacted]\",\"b\":1}"}"#),
            (r#"{"a":"{\"password\": 123\n}"}"#, r#"{"a":"{\"password\": [redacted]\n}"}"#),
            (r#""{\"Password\":123\"""#, r#""{\"Password\":[redacted]\"""#),
        ] {
            assert_eq!(json(sent), kept);
        }
        let number = Redactor::new(["1.5e300000".into()]);
        let (text, index) = Document::parse(r#"{"a":1.5e300000}"#).unwrap().into_parts();
        assert_eq!(number.redact_json(&text, &index, &[]).unwrap().text, r#"{"a":"[redacted]"}"#);
    }

    #[test]
    fn a_text_that_is_no_json_loses_what_stands_behind_the_names_of_credentials_too() {
        let redacted = |text| redactor().redact_broken_json(text, &["ClientId", "Password"]);
        for (sent, kept) in [
            (
                r#"{"ClientId": 10001,, "PASSWORD":"12 3", "a":1"#,
                r#"{"ClientId": [redacted],, "PASSWORD":"[redacted]", "a":1"#,
            ),
            (r#"{"Password":"Password":"x","#, r#"{"Password":"[redacted]":"x","#),
            (r#"{"a": "hunter"2é😀", k3y\/p4rt-x,"#, r#"{"a": "[redacted]", [redacted],"#),
            (r#"{"Password":"k3y/p4rt-x and more"#, r#"{"Password":"[redacted]"#),
        ] {
            assert_eq!(redacted(sent).as_deref(), Some(kept), "{sent}");
        }
        assert_eq!(redacted(r#"{"a":"12345678",,"Password":"""#), None);
    }

    #[test]
    fn a_secret_that_could_be_data_is_not_redactable() {
        for (secret, is) in [("1234567", false), ("123456789012", false), ("abcdefg", false), ("äöüäöüä", false)]
        {
            assert_eq!(is_redactable(secret), is, "{secret}");
        }
        for secret in ["abcdefgh", "1234567a", "äöüäöüäö", "password", "12345678 "] {
            assert!(is_redactable(secret), "{secret}");
        }
    }
}
