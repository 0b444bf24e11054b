//! JSON in strings in JSON: a text, the text that its escapes decode to, the text that the escapes in that decode to, and
//! so on.

use std::borrow::Cow;

/// A text decoded zero or more times.
pub(crate) struct Layer<'a> {
    pub(crate) text: Cow<'a, str>,
    /// For every byte and for the end, the offset of its character in the original text; `None` for the original.
    origins: Option<Vec<usize>>,
}

impl Layer<'_> {
    /// The range in the original text of a range in this layer.
    pub(crate) fn origin(&self, part: std::ops::Range<usize>) -> std::ops::Range<usize> {
        match &self.origins {
            Some(origins) => origins[part.start]..origins[part.end],
            None => part,
        }
    }
}

/// The text itself, then layer after layer while there are escapes. Each is shorter than the one before, and as
/// backslashes double per layer, there are few.
pub(crate) fn layers(text: &str) -> impl Iterator<Item = Layer<'_>> {
    let first = Layer { text: Cow::Borrowed(text), origins: None };
    std::iter::successors(Some(first), |layer| {
        if !layer.text.contains('\\') {
            return None;
        }
        let (text, mut origins) = unescaped(&layer.text);
        if text.len() == layer.text.len() {
            return None;
        }
        if let Some(of_layer) = &layer.origins {
            for origin in &mut origins {
                *origin = of_layer[*origin];
            }
        }
        Some(Layer { text: Cow::Owned(text), origins: Some(origins) })
    })
}

/// As [`layers`], without the offsets.
pub(crate) fn layer_texts(text: &str) -> impl Iterator<Item = Cow<'_, str>> {
    std::iter::successors(Some(Cow::Borrowed(text)), |layer| {
        let text = unescaped_text(layer);
        (text.len() < layer.len()).then_some(Cow::Owned(text))
    })
}

/// Decodes escapes; an invalid one stays as it is.
pub(super) fn unescaped_text(text: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    // byte by byte: escapes may come in rows, and a search for each would cost more
    while let Some(at) = rest.bytes().position(|byte| byte == b'\\') {
        out.push_str(&rest[..at]);
        let (character, length) = next_character(&rest[at..]);
        out.push(character);
        rest = &rest[at + length..];
    }
    out.push_str(rest);
    out
}

/// As [`unescaped_text`], with the origins of [`Layer`].
fn unescaped(text: &str) -> (String, Vec<usize>) {
    let (mut out, mut origins) = (String::with_capacity(text.len()), Vec::with_capacity(text.len() + 1));
    let mut at = 0;
    while at < text.len() {
        let (character, length) = next_character(&text[at..]);
        out.push(character);
        origins.resize(out.len(), at);
        at += length;
    }
    origins.push(at);
    (out, origins)
}

/// The first decoded character, and its length in the escaped text.
pub(super) fn next_character(text: &str) -> (char, usize) {
    let first = text.chars().next().unwrap_or_default();
    if first != '\\' {
        return (first, first.len_utf8());
    }
    match text.as_bytes().get(1) {
        Some(escaped @ (b'"' | b'\\' | b'/')) => (char::from(*escaped), 2),
        Some(b'b') => ('\u{8}', 2),
        Some(b'f') => ('\u{c}', 2),
        Some(b'n') => ('\n', 2),
        Some(b'r') => ('\r', 2),
        Some(b't') => ('\t', 2),
        Some(b'u') => match (code_unit(text), text.get(6..).and_then(code_unit)) {
            (Some(high @ 0xd800..0xdc00), Some(low @ 0xdc00..0xe000)) => {
                let character = char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00));
                (character.unwrap_or(char::REPLACEMENT_CHARACTER), 12)
            }
            (Some(unit), _) => (char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER), 6),
            (None, _) => (first, 1),
        },
        _ => (first, 1),
    }
}

/// The UTF-16 code unit of a leading `\uXXXX`.
fn code_unit(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())?
}
