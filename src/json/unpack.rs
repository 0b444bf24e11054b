//! Members that hold an array or object as JSON in a string.

use std::borrow::Cow;

use memchr::memmem;

use super::{Document, Index, Kind};

/// Levels of JSON in strings in strings.
const MAX_UNPACKED_LEVELS: usize = 3;

/// Finding a path takes time linear in the number of siblings.
const MAX_PATHS: usize = 20;

impl Document<'_> {
    /// Respans JSON strings in the members with these names by the array or object in them. Also returns the paths of the
    /// first [`MAX_PATHS`] of these members, and the number of the others.
    pub(crate) fn unpacked(mut self, names: &[&str]) -> (Self, Vec<String>, usize) {
        let (mut paths, mut unnamed) = (Vec::new(), 0);
        for _ in 0..MAX_UNPACKED_LEVELS {
            // fast path: no string begins like an array or object
            let contains = |with: &[u8]| memmem::find(self.text.as_bytes(), with).is_some();
            if !contains(b"\"[") && !contains(b"\"{") {
                break;
            }
            let Some((text, positions)) = self.unpacked_once(names) else { break };
            let Some(index) = Index::of(&text) else { break };
            let named = positions.len().min(MAX_PATHS - paths.len());
            paths.extend(positions[..named].iter().map(|position| self.index.path(&self.text, *position)));
            unnamed += positions.len() - named;
            self = Self { text: Cow::Owned(text), index };
        }
        (self, paths, unnamed)
    }

    /// `None` when there is nothing to unpack.
    fn unpacked_once(&self, names: &[&str]) -> Option<(String, Vec<usize>)> {
        let (mut text, mut copied, mut positions) = (String::new(), 0, Vec::new());
        for (key, span) in self.index.0.iter().enumerate().filter(|(_, span)| span.is_key) {
            let value = super::Value { text: &self.text, index: &self.index, position: key + 1 };
            if value.kind() != Kind::String || !names.iter().any(|name| span.is(name, &self.text)) {
                continue;
            }
            let Some(content) = value.text().filter(|content| content.value.starts_with(['[', '{'])) else { continue };
            let Ok(inner) = Document::parse(content.value) else { continue };
            text.push_str(&self.text[copied..value.span().start]);
            text.push_str(inner.as_str());
            copied = value.span().end;
            positions.push(key + 1);
        }
        text.push_str(&self.text[copied..]);
        (!positions.is_empty()).then_some((text, positions))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_in_the_strings_of_named_members_is_unpacked_and_other_strings_stay() {
        let (document, paths, unnamed) = Document::parse(
            r#"{"data":"{\"list\":\"[1, \\\"2\\\"]\",\"note\":\"[1]\"}","list":"[","other":"{}","x":["list"]}"#,
        )
        .unwrap()
        .unpacked(&["data", "list"]);
        assert_eq!(
            document.as_str(),
            r#"{"data":{"list":[1, "2"],"note":"[1]"},"list":"[","other":"{}","x":["list"]}"#
        );
        assert_eq!(paths, ["data", "data.list"]);
        assert_eq!(unnamed, 0);
        assert_eq!(document.index, Index::of(document.as_str()).unwrap());
    }
}
