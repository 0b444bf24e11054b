//! The credentials that must not be stored, and the search for them in any escaping. Decodes by code of its own, not the
//! library's.

/// Redacted where they are whole words. The second begins like the digits of an escape, and is a JSON number.
pub const SECRETS: [&str; 4] = ["tsu-Key_7f3a9c\"51\\é", "9041e2773", "Pa\"ss\\wörd-41😀", "AG_TEST_cid_90c4e1"];

/// Names that belong to secrets; not redacted.
pub const NAME: &str = "agency-api";
pub const NUMBER: &str = "10001";

/// No secret is a whole word of the text: as it is, JSON-escaped, or escaped twice.
pub fn assert_none_in(text: &str) {
    let mut layer = text.to_owned();
    for _ in 0..3 {
        assert_none_unescaped(&layer);
        layer = unescaped(&layer);
    }
}

/// As [`assert_none_in`], for every string, key and number of a document.
pub fn assert_none_in_json(json: &str) {
    for (text, _) in strings(json) {
        assert_none_in(&text);
    }
    assert_none_unescaped(&without_strings(json));
}

/// With all strings emptied.
fn without_strings(json: &str) -> String {
    let mut out = String::new();
    let (mut in_string, mut escaped) = (false, false);
    for character in json.chars() {
        match character {
            '"' if !escaped => {
                in_string = !in_string;
                out.push('"');
            }
            _ if !in_string => out.push(character),
            _ => {}
        }
        escaped = in_string && character == '\\' && !escaped;
    }
    out
}

/// No key at any depth, in any case, is one of these.
pub fn assert_no_member(json: &str, names: &[&str]) {
    for (key, _) in strings(json).iter().filter(|(_, is_key)| *is_key) {
        assert!(!names.iter().any(|name| key.trim().eq_ignore_ascii_case(name)), "{key:?} is left in {json}");
    }
}

fn assert_none_unescaped(text: &str) {
    for secret in SECRETS {
        for (start, _) in text.match_indices(secret) {
            let before = text[..start].chars().next_back();
            let after = text[start + secret.len()..].chars().next();
            let goes_on = |outside: Option<char>, inside: Option<char>| {
                outside.is_some_and(char::is_alphanumeric) && inside.is_some_and(char::is_alphanumeric)
            };
            let is_word = !goes_on(before, secret.chars().next()) && !goes_on(after, secret.chars().next_back());
            assert!(!is_word, "{secret:?} is left in {text:?}");
        }
    }
}

/// The decoded strings and keys of a document, and whether each is a key.
pub fn strings(json: &str) -> Vec<(String, bool)> {
    let mut strings = Vec::new();
    let mut rest = json;
    while let Some(opening) = rest.find('"') {
        let inside = &rest[opening + 1..];
        let mut escaped = false;
        let closing = inside.find(|character| match character {
            _ if escaped => {
                escaped = false;
                false
            }
            '\\' => {
                escaped = true;
                false
            }
            character => character == '"',
        });
        let (string, behind) = inside.split_at(closing.expect("a string of valid JSON has an end"));
        rest = &behind[1..];
        strings.push((unescaped(string), rest.trim_start().starts_with(':')));
    }
    strings
}

/// Decodes JSON escapes; an invalid one stays. A lone surrogate is replaced.
fn unescaped(text: &str) -> String {
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let bytes = rest.as_bytes();
        let digits = rest.strip_prefix("\\u").and_then(|rest| rest.get(..4));
        let digits = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let (unit, length) = match (digits, bytes) {
            (Some(digits), _) => (u16::from_str_radix(digits, 16).ok(), 6),
            (None, [b'\\', b'b', ..]) => (Some(0x08), 2),
            (None, [b'\\', b'f', ..]) => (Some(0x0c), 2),
            (None, [b'\\', b'n', ..]) => (Some(0x0a), 2),
            (None, [b'\\', b'r', ..]) => (Some(0x0d), 2),
            (None, [b'\\', b't', ..]) => (Some(0x09), 2),
            (None, [b'\\', escaped @ (b'"' | b'\\' | b'/'), ..]) => (Some(u16::from(*escaped)), 2),
            _ => (None, character.len_utf8()),
        };
        match unit {
            Some(unit) => units.push(unit),
            None => units.extend_from_slice(character.encode_utf16(&mut [0; 2])),
        }
        rest = &rest[length..];
    }
    String::from_utf16_lossy(&units)
}
