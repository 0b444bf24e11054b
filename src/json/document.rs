//! A validated document.

use std::{borrow::Cow, fmt, ops::Range};

use serde_json::value::RawValue;

use super::{Index, Value};

/// Levels of nested objects and arrays; Postgres and the consumers of a payload have limits too.
pub const MAX_DEPTH: usize = 128;

/// Why a text is not valid JSON. Shown to the provider: repeats nothing of the body.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// Nothing, or only white space.
    #[error("the body is empty; JSON was expected")]
    Empty,
    /// Line and column count from 1.
    #[error("the body is not valid JSON (line {line}, column {column})")]
    Syntax { line: usize, column: usize },
    #[error("the body is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
}

/// Valid JSON and its index.
pub struct Document<'a> {
    pub(super) text: Cow<'a, str>,
    pub(super) index: Index,
}

/// A text that is not valid JSON.
pub struct Unreadable<'a> {
    pub malformed: Malformed,
    pub text: Cow<'a, str>,
}

/// Omits the text: it may hold credentials.
impl fmt::Debug for Unreadable<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Unreadable").field("malformed", &self.malformed).finish_non_exhaustive()
    }
}

impl<'a> Document<'a> {
    /// # Errors
    ///
    /// The text is not valid JSON, or nested deeper than [`MAX_DEPTH`].
    pub fn parse(text: impl Into<Cow<'a, str>>) -> Result<Self, Unreadable<'a>> {
        let text = text.into();
        match validate(&text) {
            Ok((range, index)) => Ok(Self { text: slice(text, range), index }),
            Err(malformed) => Err(Unreadable { malformed, text }),
        }
    }

    /// The text as it was sent, without the white space around it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn root(&self) -> Value<'_> {
        self.index.root(&self.text)
    }

    /// Of a valid text and its index.
    pub(crate) fn from_parts(text: impl Into<Cow<'a, str>>, index: Index) -> Self {
        Self { text: text.into(), index }
    }

    pub(crate) fn into_parts(self) -> (Cow<'a, str>, Index) {
        (self.text, self.index)
    }
}

/// The range of the document in the text, without the white space around it, and its index, relative to that range.
fn validate(text: &str) -> Result<(Range<usize>, Index), Malformed> {
    if text.trim_ascii().is_empty() {
        return Err(Malformed::Empty);
    }
    let document = serde_json::from_str::<&RawValue>(text)
        .map_err(|error| Malformed::Syntax { line: error.line(), column: error.column() })?
        .get();
    let index = Index::of(document).ok_or(Malformed::TooDeep)?;
    let start = text.len() - text.trim_ascii_start().len();
    Ok((start..start + document.len(), index))
}

fn slice(text: Cow<'_, str>, range: Range<usize>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[range]),
        Cow::Owned(mut text) => {
            text.truncate(range.end);
            text.drain(..range.start);
            Cow::Owned(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_is_bounded_and_brackets_in_strings_do_not_count() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let is_too_deep = |text: String| match Document::parse(text) {
            Ok(_) => false,
            Err(unreadable) => matches!(unreadable.malformed, Malformed::TooDeep),
        };
        assert!(Document::parse(nested(MAX_DEPTH)).is_ok());
        assert!(is_too_deep(nested(MAX_DEPTH + 1)));
        assert!(is_too_deep(nested(200_000)));
        assert!(Document::parse(format!(r#""\"{}""#, "[".repeat(1000))).is_ok());
        assert!(Document::parse(format!("[{}0]", "[],".repeat(1000))).is_ok());
    }

    #[test]
    fn a_text_that_is_not_json_is_malformed() {
        for text in ["{", "{} x", "{'a':1}", "{\"a\":01}", "{\"a\":\"\x01\"}", "nul"] {
            let Err(unreadable) = Document::parse(text) else { panic!("{text}") };
            assert!(matches!(unreadable.malformed, Malformed::Syntax { .. }));
            assert_eq!(unreadable.text, text);
        }
        assert!(matches!(Document::parse(" \n"), Err(Unreadable { malformed: Malformed::Empty, .. })));
    }

    #[test]
    fn white_space_around_a_document_is_not_part_of_it() {
        for text in [Cow::Borrowed(" {\"a\": [1]}\n"), Cow::Owned("\t{\"a\": [1]} ".to_owned())] {
            let document = Document::parse(text).unwrap();
            assert_eq!(document.as_str(), "{\"a\": [1]}");
            assert_eq!(document.root().member("a").unwrap().value.as_str(), "[1]");
        }
    }
}
