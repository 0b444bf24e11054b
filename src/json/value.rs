//! A view of one value of a document.

use std::borrow::Cow;

use super::{Index, Text, index::Span};

/// One value; copying it is cheap.
#[derive(Clone, Copy)]
pub struct Value<'a> {
    pub(super) text: &'a str,
    pub(super) index: &'a Index,
    /// In the index.
    pub(super) position: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Null,
    Bool,
    Number,
    String,
    Array,
    Object,
}

/// A member of an object.
pub struct Member<'a> {
    /// Of a repeated key the last one.
    pub value: Value<'a>,
    pub is_repeated: bool,
}

impl Index {
    /// `text` is the document that the index was made of.
    pub(crate) fn root<'a>(&'a self, text: &'a str) -> Value<'a> {
        Value { text, index: self, position: 0 }
    }
}

impl<'a> Value<'a> {
    pub(super) fn span(self) -> Span {
        self.index.0[self.position]
    }

    /// The text as it was sent.
    pub(crate) fn as_str(self) -> &'a str {
        let Span { start, end, .. } = self.span();
        &self.text[start..end]
    }

    pub fn kind(self) -> Kind {
        match self.text.as_bytes()[self.span().start] {
            b'n' => Kind::Null,
            b't' | b'f' => Kind::Bool,
            b'"' => Kind::String,
            b'[' => Kind::Array,
            b'{' => Kind::Object,
            _ => Kind::Number,
        }
    }

    /// The characters of a string, or the digits of a number as they were sent; `None` for anything else.
    pub fn text(self) -> Option<Text<'a>> {
        match self.kind() {
            Kind::Number => Some(Text { value: Cow::Borrowed(self.as_str()), repaired: false }),
            Kind::String => Some(self.span().text(self.text)),
            _ => None,
        }
    }

    /// Whether it is a string that is this ASCII word when trimmed, in any case.
    pub(crate) fn is_word_ignoring_case(self, word: &str) -> bool {
        let span = self.span();
        // between the quotes; white space and escapes are allowed for up to ten times the length
        let length = (span.end - span.start).saturating_sub(2);
        if self.kind() != Kind::String || !(word.len()..=10 * word.len()).contains(&length) {
            return false;
        }
        // fast path: the first letter rules out nearly every other text
        let first = self.text.as_bytes()[span.start + 1];
        let may_match = !first.is_ascii_alphanumeric() || first.eq_ignore_ascii_case(&word.as_bytes()[0]);
        may_match && span.text(self.text).value.trim().eq_ignore_ascii_case(word)
    }

    /// The member with this key; `None` also where this is no object.
    pub fn member(self, key: &str) -> Option<Member<'a>> {
        if self.kind() != Kind::Object {
            return None;
        }
        let (spans, end) = (&self.index.0, self.span().next);
        let (mut found, mut position) = (None, self.position + 1);
        while position < end {
            let value = Value { position: position + 1, ..self };
            if spans[position].is(key, self.text) {
                found = Some(Member { value, is_repeated: found.is_some() });
            }
            position = value.span().next;
        }
        found
    }

    /// Keys and values in their order; `None` where this is no object.
    pub(crate) fn members(self) -> Option<impl Iterator<Item = (Text<'a>, Value<'a>)> + Clone> {
        let end = self.span().next;
        let (is_object, first) = (self.kind() == Kind::Object, self.position + 1);
        let next = move |position: usize| (position < end).then_some(position);
        is_object.then(|| {
            std::iter::successors(next(first), move |position| next(self.index.0[position + 1].next)).map(
                move |position| {
                    let value = Value { position: position + 1, ..self };
                    (self.index.0[position].text(self.text), value)
                },
            )
        })
    }

    /// `None` where this is no array.
    pub fn elements(self) -> Option<impl Iterator<Item = Value<'a>> + Clone> {
        let end = self.span().next;
        let value_at = move |position: usize| (position < end).then_some(Value { position, ..self });
        (self.kind() == Kind::Array)
            .then(|| std::iter::successors(value_at(self.position + 1), move |value| value_at(value.span().next)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Document;

    fn text(json: &str) -> (String, bool) {
        let document = Document::parse(json).unwrap();
        let text = document.root().text().unwrap();
        (text.value.into_owned(), text.repaired)
    }

    #[test]
    fn a_number_keeps_its_digits() {
        for digits in ["12345678901234567890123", "-3", "1.50", "1e400"] {
            assert_eq!(text(digits), (digits.to_owned(), false));
        }
    }

    #[test]
    fn a_lone_surrogate_becomes_one_replacement_character() {
        assert_eq!(text(r#""a\ud800b""#), ("a\u{fffd}b".to_owned(), true));
        assert_eq!(text(r#""\udc00\ud800""#), ("\u{fffd}\u{fffd}".to_owned(), true));
        assert_eq!(text(r#""\ud83d\ude00""#), ("😀".to_owned(), false));
        assert_eq!(text(r#""\ud83dé""#), ("\u{fffd}é".to_owned(), true));
    }

    #[test]
    fn of_a_repeated_key_the_last_counts_however_it_is_spelled() {
        let document = Document::parse(r#"{"a":{"b":0},"\u0061":2,"b":[1,{"a":3}],"\ud800":3}"#).unwrap();
        let member = |key| document.root().member(key).map(|member| (member.value.as_str(), member.is_repeated));
        assert_eq!(member("a"), Some(("2", true)));
        assert_eq!(member("b"), Some((r#"[1,{"a":3}]"#, false)));
        assert_eq!(member("c"), None);
    }
}
