//! Members that hold a string of JSON where a list or an object was meant.

use std::borrow::Cow;

use memchr::memmem;

use super::{Document, Index, Kind};

/// A string of JSON in a string of JSON in a string: so often it is unpacked.
const MOST: usize = 3;

/// So many of these members are named: to find the way to one takes as long as its siblings are many.
const NAMED: usize = 20;

impl Document<'_> {
    /// The document in which the strings of these members that are a list or an object in JSON are that list or object,
    /// and the paths of these members, as far as they are named, with the number of the others.
    pub(crate) fn unpacked(mut self, names: &[&str]) -> (Self, Vec<String>, usize) {
        let (mut paths, mut unnamed) = (Vec::new(), 0);
        for _ in 0..MOST {
            // a string that begins like that
            let begins = |with: &[u8]| memmem::find(self.text.as_bytes(), with).is_some();
            if !begins(b"\"[") && !begins(b"\"{") {
                break;
            }
            let Some((text, positions)) = self.unpacked_once(names) else { break };
            let Some(index) = Index::of(&text) else { break };
            let named = positions.len().min(NAMED - paths.len());
            paths.extend(positions[..named].iter().map(|position| self.index.path(&self.text, *position)));
            unnamed += positions.len() - named;
            self = Self { text: Cow::Owned(text), index };
        }
        (self, paths, unnamed)
    }

    /// `None` when there is nothing to unpack.
    fn unpacked_once(&self, names: &[&str]) -> Option<(String, Vec<usize>)> {
        let (mut text, mut copied, mut positions) = (String::new(), 0, Vec::new());
        for (key, place) in self.index.0.iter().enumerate().filter(|(_, place)| place.is_key) {
            let value = super::Value { text: &self.text, index: &self.index, position: key + 1 };
            if value.kind() != Kind::String || !names.iter().any(|name| place.is(name, &self.text)) {
                continue;
            }
            let Some(content) = value.text().filter(|content| content.value.starts_with(['[', '{'])) else { continue };
            let Ok(inner) = Document::parse(content.value) else { continue };
            text.push_str(&self.text[copied..value.place().start]);
            text.push_str(inner.as_str());
            copied = value.place().end;
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
    fn strings_of_json_become_what_they_are_and_other_strings_stay() {
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
