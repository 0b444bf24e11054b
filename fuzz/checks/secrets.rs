//! The credentials that must not be kept, and the search for them in every spelling in which they could be.
//!
//! Texts are decoded here by other code than the library's.

/// What is replaced where it stands as a word. The second begins as the digits of an escape do, and is a number in JSON.
pub const SECRETS: [&str; 4] = ["tsu-Key_7f3a9c\"51\\é", "9041e2773", "Pa\"ss\\wörd-41😀", "AG_TEST_cid_90c4e1"];

/// The names that go with secrets, and are none.
pub const NAME: &str = "agency-api";
pub const NUMBER: &str = "10001";

/// No secret stands in a text as a word, neither as it is, nor in the escapes of JSON, nor in those of JSON in JSON.
pub fn assert_none_in(text: &str) {
    let mut layer = text.to_owned();
    for _ in 0..3 {
        assert_none_as_it_is(&layer);
        layer = unescaped(&layer);
    }
}

/// The same of every string and key of JSON, and of its numbers.
pub fn assert_none_in_json(json: &str) {
    for (text, _) in strings(json) {
        assert_none_in(&text);
    }
    assert_none_as_it_is(&without_strings(json));
}

/// JSON with all its strings empty.
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

/// No key of JSON, at any depth and in any case, is one of these.
pub fn assert_no_member(json: &str, names: &[&str]) {
    for (key, _) in strings(json).iter().filter(|(_, is_key)| *is_key) {
        assert!(!names.iter().any(|name| key.trim().eq_ignore_ascii_case(name)), "{key:?} is left in {json}");
    }
}

fn assert_none_as_it_is(text: &str) {
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

/// The strings of a JSON document, keys included, decoded; and whether each is a key.
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

/// A text with the escapes of JSON decoded, as far as they are some; what is none stays. A lone surrogate is lost.
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
