//! Finding members in a text that is not valid JSON, for example a body that was cut off.
//!
//! A member is recognized by its quoted name with a colon behind it, anywhere: with unbalanced quotes it is undecidable
//! what is inside a string. For JSON in a string, search each of [`super::layers`].

use std::{borrow::Cow, ops::Range};

use super::layers::{next_character, unescaped_text};

/// In bytes; bounds the search for the closing quote.
const MAX_NAME_LENGTH: usize = 128;

pub(crate) struct BrokenMember<'a> {
    /// Index in the requested names; matched ignoring case and white space around it.
    pub(crate) name: usize,
    /// Whether the spelling is equal to the name.
    pub(crate) is_exact: bool,
    /// Of the value; of a string without its quotes. An unterminated value extends to the end of the text.
    pub(crate) range: Range<usize>,
    /// The characters of a string, number or literal; `None` when it is unterminated or a container.
    pub(crate) scalar: Option<Cow<'a, str>>,
}

/// All members with these names, in the order of the text.
pub(crate) fn broken_members<'a>(text: &'a str, names: &[&str]) -> Vec<BrokenMember<'a>> {
    let mut found = Vec::new();
    if names.is_empty() {
        return found;
    }
    // a value is not searched for further members
    let mut behind_value = 0;
    // byte by byte: quotes may come in rows, and a search for each would cost more
    for (at, byte) in text.bytes().enumerate() {
        if at < behind_value || !matches!(byte, b'"' | b'\'') {
            continue;
        }
        let Some((key, behind)) = key_at(text, at) else { continue };
        if let Some(name) = names.iter().position(|name| is_spelling_of(key, name)) {
            let (range, scalar) = value_at(text, behind);
            behind_value = range.end;
            found.push(BrokenMember { name, is_exact: decoded(key) == names[name], range, scalar });
        }
    }
    found
}

/// The undecoded key whose opening quote is at `at`, and the offset of its value.
fn key_at(text: &str, at: usize) -> Option<(&str, usize)> {
    let bytes = text.as_bytes();
    let start = at + 1;
    let window = &bytes[start..bytes.len().min(start + MAX_NAME_LENGTH)];
    let end = start + window.iter().position(|byte| *byte == bytes[at])?;
    let key = &text[start..end];
    let rest = text[end + 1..].trim_ascii_start();
    let rest = rest.strip_prefix(':').or_else(|| rest.strip_prefix("=>"))?;
    Some((key, text.len() - rest.trim_ascii_start().len()))
}

/// Whether a key is this name, ignoring case, escapes and white space around it; stops at the first difference.
fn is_spelling_of(key: &str, name: &str) -> bool {
    let characters = std::iter::successors(Some(('\0', key)), |(_, rest)| {
        let (character, length) = next_character(rest);
        (!rest.is_empty()).then(|| (character, &rest[length..]))
    });
    let mut characters = characters.skip(1).map(|(character, _)| character).skip_while(|one| one.is_whitespace());
    name.chars().all(|letter| characters.next().is_some_and(|one| one.eq_ignore_ascii_case(&letter)))
        && characters.all(char::is_whitespace)
}

fn decoded(text: &str) -> Cow<'_, str> {
    if text.contains('\\') { Cow::Owned(unescaped_text(text)) } else { Cow::Borrowed(text) }
}

/// The range of the value that begins at `start`, and the characters of a scalar.
fn value_at(text: &str, start: usize) -> (Range<usize>, Option<Cow<'_, str>>) {
    let rest = &text[start..];
    let bytes = rest.as_bytes();
    match bytes {
        [quote @ (b'"' | b'\''), ..] => match end_of_string(rest, *quote) {
            Some(end) => (start + 1..start + end, Some(decoded(&rest[1..end]))),
            None => (start + 1..text.len(), None),
        },
        [b'{' | b'[', ..] => (start..start + end_of_container(bytes), None),
        _ => {
            let ends = |character: char| matches!(character, ',' | '}' | ']' | '"' | '\\') || character.is_whitespace();
            let length = rest.find(ends).unwrap_or(rest.len());
            (start..start + length, (length > 0).then(|| Cow::Borrowed(&rest[..length])))
        }
    }
}

/// The offset of the closing quote; `text` begins with the opening one.
fn end_of_string(text: &str, quote: u8) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 1;
    loop {
        let found = at + memchr::memchr2(quote, b'\\', bytes.get(at..)?)?;
        if bytes[found] == quote {
            return Some(found);
        }
        at = found + 2;
    }
}

/// The offset behind the matching bracket, or the end; brackets inside strings count too.
fn end_of_container(bytes: &[u8]) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => continue,
        }
        if depth == 0 {
            return at + 1;
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalars(text: &str) -> Vec<(usize, bool, Option<String>)> {
        let found = broken_members(text, &["ClientId", "cid"]);
        found.into_iter().map(|member| (member.name, member.is_exact, member.scalar.map(Cow::into_owned))).collect()
    }

    #[test]
    fn a_member_is_found_behind_its_quoted_name_however_broken_the_rest_is() {
        let some = |name, text: &str| vec![(name, true, Some(text.to_owned()))];
        assert_eq!(scalars(r#"{"ClientId": 10001,, "#), some(0, "10001"));
        assert_eq!(scalars(r#"{"a":"b,"cid":"x","#), some(1, "x"));
        assert_eq!(scalars(r#"{'cid': 'x y', 'b': None}"#), some(1, "x y"));
        assert_eq!(scalars(r#"{"cid" :"x\"\u0079",}"#), some(1, "x\"y"));
        assert_eq!(scalars(r#"{"c\u0069d":"x",}"#), some(1, "x"));
        assert_eq!(scalars("{\"cid\":true\n"), some(1, "true"));
        assert_eq!(scalars(r#"{"cid":"x"#), [(1, true, None)]);
        assert_eq!(scalars(r#"{" CID ":"x""#), [(1, false, Some("x".to_owned()))]);
        assert_eq!(scalars(r#"{"cid":{"a":"x"},"b":1"#), [(1, true, None)]);
        assert_eq!(scalars(r#"{"cid":"#), [(1, true, None)]);
        for none in ["", "cid", r#""cid""#, r#""cid","x":1"#, "cid=x", "\"\"\"\"'''", r#"{"acid":"x","cide":"y""#] {
            assert_eq!(scalars(none), [], "{none}");
        }
    }

    #[test]
    fn the_whole_value_is_known_also_where_it_has_no_end() {
        let value = |text: &'static str| &text[broken_members(text, &["cid"])[0].range.clone()];
        assert_eq!(value(r#"{"cid":"x","b":1"#), "x");
        assert_eq!(value(r#"{"cid":"x, "b":1"#), "x, ");
        assert_eq!(value(r#"{"cid":"x"#), "x");
        assert_eq!(value(r#"{"cid":{"a":["x"]},"b":1"#), r#"{"a":["x"]}"#);
        assert_eq!(value(r#"{"cid":[["x"],"b":1"#), r#"[["x"],"b":1"#);
        assert_eq!(value(r#"{"cid":-15e3}"#), "-15e3");
    }
}
