//! Taking the credentials out of what is kept.
//!
//! Two things leave a payload: the members in which a provider sends its credentials (however their keys are spelled,
//! however many copies, at any depth), and the configured secrets wherever else they occur, in any escaping. What
//! remains stays as it was sent, to the letter. Normalizing starts from the result, so that no credential can reach a
//! TicketEvent either.
//!
//! It works on the text of JSON that was checked before, and on bodies that are no JSON at all.

use std::borrow::Cow;

use memchr::memmem;
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};

use crate::json::{Document, Text};

/// What stands in the place of a secret.
pub const REDACTED: &str = "[redacted]";

/// A secret shorter than this is only replaced where it is the whole of a string: "ab" occurs in any text.
const SHORTEST_SUBSTRING: usize = 4;

/// Knows every configured credential.
pub struct Redactor {
    /// Keys, passwords and the like: replaced wherever they occur. The longest first, as one may contain another.
    secrets: Vec<SecretString>,
    /// Names that belong to credentials: replaced where they stand as a word. A name of digits alone is not among them,
    /// for it occurs in amounts and references; only the member that carries it is removed.
    names: Vec<SecretString>,
}

impl Redactor {
    /// A redactor for these secrets and names; empty ones are ignored.
    pub fn new(secrets: impl IntoIterator<Item = SecretString>, names: impl IntoIterator<Item = SecretString>) -> Self {
        let sorted = |values: Vec<SecretString>| {
            let mut values: Vec<_> = values.iter().flat_map(spellings).collect();
            values.retain(|value| !value.expose_secret().is_empty());
            values.sort_by_key(|value| std::cmp::Reverse(value.expose_secret().len()));
            values
        };
        let is_word = |name: &SecretString| !name.expose_secret().bytes().all(|byte| byte.is_ascii_digit());
        Self {
            secrets: sorted(secrets.into_iter().collect()),
            names: sorted(names.into_iter().filter(is_word).collect()),
        }
    }

    /// A JSON document less the members of these names (in any case) and less every known secret.
    pub(crate) fn json<'a>(&self, document: &Document<'a>, members: &[&str]) -> Cow<'a, str> {
        let kept = without_members(document, members);
        // without a backslash a string is what it looks like, and one look at the whole is enough
        if memchr::memchr(b'\\', kept.as_bytes()).is_none() && !self.occurs_in(&kept) {
            return kept;
        }
        Cow::Owned(match kept {
            Cow::Borrowed(_) => self.without_secrets(document),
            Cow::Owned(kept) => {
                let kept = Document::parse(kept.as_bytes()).expect("taking members out leaves valid JSON");
                self.without_secrets(&kept)
            }
        })
    }

    /// A body that is no JSON, less every known secret and name, as it is and with JSON's escapes looked through as far
    /// as they make sense.
    pub fn bytes(&self, body: &[u8]) -> Vec<u8> {
        // the secrets first: a name beside one stands as a word once that is gone
        let less_secrets = replaced(body, |text, at| self.secret_at(text, at));
        replaced(&less_secrets, |text, at| self.name_at(text, at))
    }

    /// The length of the secret at this place.
    fn secret_at(&self, text: &[u8], at: usize) -> Option<usize> {
        self.substrings().find(|secret| text[at..].starts_with(secret.as_bytes())).map(str::len)
    }

    /// The length of the name that stands as a word at this place.
    fn name_at(&self, text: &[u8], at: usize) -> Option<usize> {
        let is_word = |name: &&str| {
            let neighbours = [at.checked_sub(1), at.checked_add(name.len())];
            let mut neighbours = neighbours.into_iter().flatten().filter_map(|neighbour| text.get(neighbour));
            !neighbours.any(u8::is_ascii_alphanumeric)
        };
        let names = self.names.iter().map(ExposeSecret::expose_secret);
        names.filter(|name| text[at..].starts_with(name.as_bytes())).find(is_word).map(str::len)
    }

    /// The secrets that are replaced within a text.
    fn substrings(&self) -> impl Iterator<Item = &str> {
        let secrets = self.secrets.iter().map(ExposeSecret::expose_secret);
        secrets.filter(|secret| secret.len() >= SHORTEST_SUBSTRING)
    }

    /// Whether an escape and what stands behind it spell a secret without meaning it.
    fn is_spelled_in(&self, json: &str) -> bool {
        json.contains('\\') && self.substrings().any(|secret| json.contains(secret))
    }

    /// Whether something in a text would be replaced.
    pub fn knows(&self, text: &str) -> bool {
        self.occurs_in(text) && self.redacted(text).is_some()
    }

    fn occurs_in(&self, text: &str) -> bool {
        let mut all = self.secrets.iter().chain(&self.names);
        all.any(|value| memmem::find(text.as_bytes(), value.expose_secret().as_bytes()).is_some())
    }

    /// `None` when there is nothing to replace.
    fn redacted(&self, text: &str) -> Option<String> {
        // reading a field takes NULs out of it, and with them what kept the parts of a secret apart
        if text.contains('\0')
            && let Some(redacted) = self.redacted(&text.replace('\0', ""))
        {
            return Some(redacted);
        }
        let mut result = Cow::Borrowed(text);
        for secret in &self.secrets {
            let secret = secret.expose_secret();
            if result == secret {
                return Some(REDACTED.to_owned());
            }
            if secret.len() >= SHORTEST_SUBSTRING && result.contains(secret) {
                result = Cow::Owned(result.replace(secret, REDACTED));
            }
        }
        for name in &self.names {
            if let Some(replaced) = without_word(&result, name.expose_secret()) {
                result = Cow::Owned(replaced);
            }
        }
        // JSON that stands in a string has escapes of its own
        if result.contains('\\') {
            let looked_through = self.bytes(result.as_bytes());
            if looked_through != result.as_bytes() {
                return Some(String::from_utf8(looked_through).expect("whole characters are replaced by ASCII"));
            }
        }
        match result {
            Cow::Borrowed(_) => None,
            Cow::Owned(replaced) => Some(replaced),
        }
    }

    fn without_secrets(&self, document: &Document<'_>) -> String {
        let text = document.as_str();
        let mut out = String::with_capacity(text.len());
        let mut copied = 0;
        for (leaf, value) in document.leaves() {
            let raw = &text[leaf.clone()];
            let in_quotes = |value: &str| serde_json::to_string(value).expect("a string can be written as JSON");
            let mut written = self.redacted(&value).map(|value| in_quotes(&value));
            if self.is_spelled_in(written.as_deref().unwrap_or(raw)) {
                written = Some(in_quotes(REDACTED));
            }
            if let Some(written) = written {
                out.push_str(&text[copied..leaf.start]);
                out.push_str(&written);
                copied = leaf.end;
            }
        }
        out.push_str(&text[copied..]);
        out
    }
}

/// A secret as it is, and as it stands in JSON that stands in a string: with as few escapes as can be, and in ASCII.
fn spellings(secret: &SecretString) -> Vec<SecretString> {
    let plain = secret.expose_secret();
    let quoted = Zeroizing::new(serde_json::to_string(plain).expect("a string can be written as JSON"));
    let json = &quoted[1..quoted.len() - 1];
    let mut spellings = vec![secret.clone()];
    if json != plain {
        spellings.push(json.into());
    }
    if !json.is_ascii() {
        // room for all of it, so that no copy is left behind when it grows
        let mut ascii = Zeroizing::new(String::with_capacity(6 * json.len()));
        for character in json.chars() {
            if character.is_ascii() {
                ascii.push(character);
            } else {
                ascii.extend(character.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
            }
        }
        spellings.push(ascii.as_str().into());
    }
    spellings
}

/// Less the members of these names, in any case and however they are spelled.
fn without_members<'a>(document: &Document<'a>, names: &[&str]) -> Cow<'a, str> {
    let text = document.as_str();
    let is_named = |key: Text<'_>| names.iter().any(|name| is_named(&key.value, name));
    let members = if names.is_empty() { Vec::new() } else { document.members(is_named) };
    if members.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    for member in members {
        out.push_str(&text[copied..member.start]);
        let behind = text[member.end..].trim_ascii_start();
        let behind = match behind.strip_prefix(',') {
            Some(behind) => behind.trim_ascii_start(),
            None => {
                // it was the last member: the comma before it goes too
                let kept = out.trim_ascii_end();
                out.truncate(kept.strip_suffix(',').unwrap_or(kept).len());
                behind
            }
        };
        copied = text.len() - behind.len();
    }
    out.push_str(&text[copied..]);
    Cow::Owned(out)
}

/// The length is compared first, as that is cheap and nearly always differs.
fn is_named(key: &str, name: &str) -> bool {
    key.len() >= name.len() && key.trim().eq_ignore_ascii_case(name)
}

fn without_word(text: &str, word: &str) -> Option<String> {
    let mut out = String::new();
    let mut copied = 0;
    for (start, _) in text.match_indices(word) {
        let end = start + word.len();
        let before = text[..start].chars().next_back();
        let after = text[end..].chars().next();
        if [before, after].into_iter().flatten().any(char::is_alphanumeric) {
            continue;
        }
        out.push_str(&text[copied..start]);
        out.push_str(REDACTED);
        copied = end;
    }
    (copied > 0).then(|| out + &text[copied..])
}

/// A body in which what is found is replaced, whether it is found as it is or with the escapes decoded.
fn replaced(body: &[u8], length_at: impl Fn(&[u8], usize) -> Option<usize>) -> Vec<u8> {
    let characters = unescaped(body);
    let plain: Vec<u8> = characters.iter().flat_map(|(bytes, _)| bytes.iter().copied()).collect();
    let mut out = Vec::with_capacity(body.len());
    let (mut plain_at, mut body_at) = (0, 0);
    // where what was found last ends
    let (mut plain_end, mut body_end) = (0, 0);
    for (bytes, length) in &characters {
        let next = body_at + length;
        if plain_at >= plain_end && body_at >= body_end {
            let in_plain = length_at(&plain, plain_at).map(|length| plain_at + length);
            // also from within an escape
            let in_body = (body_at..next).find_map(|at| Some(at + length_at(body, at)?));
            plain_end = in_plain.unwrap_or(plain_end);
            body_end = in_body.unwrap_or(body_end);
            match in_plain.or(in_body) {
                Some(_) => out.extend_from_slice(REDACTED.as_bytes()),
                None => out.extend_from_slice(&body[body_at..next]),
            }
        }
        plain_at += bytes.len();
        body_at = next;
    }
    out
}

/// Every character with the number of bytes that it takes in the body; one that is spelled as an escape is decoded.
fn unescaped(body: &[u8]) -> Vec<(Vec<u8>, usize)> {
    let hex = |at: usize| {
        let digits = body.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let mut characters = Vec::with_capacity(body.len());
    let mut at = 0;
    while at < body.len() {
        let low =
            |high: u32| hex(at + 6).filter(|low| (0xdc00..0xe000).contains(low) && (0xd800..0xdc00).contains(&high));
        let (bytes, length) = match (body[at], hex(at), body.get(at + 1)) {
            (b'\\', Some(high), _) => match low(high) {
                Some(low) => (char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)), 12),
                None => (char::from_u32(high).or(Some(char::REPLACEMENT_CHARACTER)), 6),
            },
            (b'\\', None, Some(escaped @ (b'"' | b'\\' | b'/'))) => (Some(char::from(*escaped)), 2),
            // what it stands for matters less than that it is no letter, which a name would not be a word beside
            (b'\\', None, Some(b'b' | b'f' | b'n' | b'r' | b't')) => (Some(' '), 2),
            _ => (None, 0),
        };
        let (bytes, length) = match bytes {
            Some(character) => (character.to_string().into_bytes(), length),
            None => (vec![body[at]], 1),
        };
        characters.push((bytes, length));
        at += length;
    }
    characters
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMBERS: &[&str] = &["ClientId", "UserName", "Password"];

    fn redactor() -> Redactor {
        let secrets = ["hunter\"2é😀", "12345678", "k3y/p4rt", "abc"].map(SecretString::from);
        Redactor::new(secrets, ["agency-api", "10001"].map(SecretString::from))
    }

    fn json(document: &str) -> String {
        redactor().json(&Document::parse(document.as_bytes()).unwrap(), MEMBERS).into_owned()
    }

    #[test]
    fn members_go_in_every_spelling_and_the_rest_stays_to_the_letter() {
        for (sent, kept) in [
            (r#"{"ClientId":1,"a":2}"#, r#"{"a":2}"#),
            (r#"{ "a" : 2 , "Password" : {"x":["}",1]} }"#, r#"{ "a" : 2 }"#),
            (r#"{"P\u0061ssword":"x","password":[],"PASSWORD ":null, "a":"\u0041"}"#, r#"{"a":"\u0041"}"#),
            (r#"{"a":1,"UserName":"\"","ClientId":2}"#, r#"{"a":1}"#),
            (r#"{"UserName":"u"}"#, r"{}"),
            (r#"{"b":[{"Password":1},{"c":{"Password":-1.5e3,"d":[1, 2]}}]}"#, r#"{"b":[{},{"c":{"d":[1, 2]}}]}"#),
            (r#"{"a":"Password","b":["Password"]}"#, r#"{"a":"Password","b":["Password"]}"#),
        ] {
            assert_eq!(json(sent), kept);
        }
    }

    #[test]
    fn secrets_go_from_every_other_place() {
        for (sent, kept) in [
            (r#"{"a":"is hunter\"2é😀!"}"#, r#"{"a":"is [redacted]!"}"#),
            (r#"{"a":"\u0068unter\u00222\u00e9\ud83d\ude00"}"#, r#"{"a":"[redacted]"}"#),
            (r#"{"a":12345678,"b":[912345678]}"#, r#"{"a":"[redacted]","b":["9[redacted]"]}"#),
            (r#"{"hunter\"2é😀":1}"#, r#"{"[redacted]":1}"#),
            (r#"{"a":"abc","b":"abcd"}"#, r#"{"a":"[redacted]","b":"abcd"}"#),
            (r#"{"a":"by agency-api.","b":"agency-apis"}"#, r#"{"a":"by [redacted].","b":"agency-apis"}"#),
            (r#"{"a":"10001","b":10001}"#, r#"{"a":"10001","b":10001}"#),
            (r#"{"a":"\ud800 \u0000"}"#, r#"{"a":"\ud800 \u0000"}"#),
            // put together when the NUL is removed
            (r#"{"a":"k3y/\u0000p4rt"}"#, r#"{"a":"[redacted]"}"#),
            // spelled by an escape and what is behind it, and not meant
            (r#"{"a":"\u12345678"}"#, r#"{"a":"[redacted]"}"#),
            (r#"{"a":"\"\\nagency-api\\n\""}"#, r#"{"a":"\"\\n[redacted]\\n\""}"#),
            (r#"{"a":"{\"b\":\"hunter\\\"2é😀\"}"}"#, r#"{"a":"{\"b\":\"[redacted]\"}"}"#),
            (r#"{"a":"[\"hunter\\\"2\\u00e9\\ud83d\\ude00\"]"}"#, r#"{"a":"[\"[redacted]\"]"}"#),
            (r#"{"a":"[\"\\u0068unter\\\"2\\u00E9\\uD83D\\uDE00\"]"}"#, r#"{"a":"[\"[redacted]\"]"}"#),
            (
                r#"{"a":"{\"b\":\"k3y\\/p4rt\", \"c\": \"\\/é\"}"}"#,
                r#"{"a":"{\"b\":\"[redacted]\", \"c\": \"\\/é\"}"}"#,
            ),
        ] {
            assert_eq!(json(sent), kept);
        }
    }

    #[test]
    fn a_body_that_is_no_json_loses_its_secrets_too() {
        let redacted = |body: &str| String::from_utf8(redactor().bytes(body.as_bytes())).unwrap();
        assert_eq!(
            redacted(r#"{"a": "hunter"2é😀", \u0031234567\u0038,, "\/"#),
            r#"{"a": "[redacted]", [redacted],, "\/"#
        );
        assert_eq!(redacted(r#"\u0068unter\"2\u00e9\ud83d\ude00 \"#), r"[redacted] \");
        assert_eq!(redacted("agency-api, agency-apis agency\\u002dapi"), "[redacted], agency-apis [redacted]");
        // as it is where the escapes hide it, and a name beside a secret
        assert_eq!(redacted(r"a\u12345678b"), "a[redacted]b");
        assert_eq!(redacted("k3y/p4rtagency-apik3y/p4rt"), "[redacted][redacted][redacted]");
        assert_eq!(redacted(r"\nagency-api \ud83dagency-api"), r"\n[redacted] \ud83d[redacted]");
        assert_eq!(redactor().bytes(b"\xff\\u12"), b"\xff\\u12");
    }
}
