//! The canonical form of a value, for content hashes.
//!
//! Invariants:
//! - texts that differ only in white space, escapes or the order of members have equal forms;
//! - all other texts have different forms: a number counts with its digits, copies of a member in their order, and so
//!   does a lone surrogate;
//! - it never changes: stored hashes are compared with new ones.

use super::{Index, Value, index::Span};

struct Writer<'a> {
    index: &'a Index,
    text: &'a str,
    out: Vec<u8>,
    /// Positions in the index of the keys of all open objects; a stack.
    keys: Vec<usize>,
}

impl Value<'_> {
    /// `except` names members that are left out at the top level.
    pub(crate) fn canonical(self, except: &[&str]) -> Vec<u8> {
        let out = Vec::with_capacity(self.as_str().len());
        let mut writer = Writer { index: self.index, text: self.text, out, keys: Vec::with_capacity(32) };
        writer.value(self.position, except);
        writer.out
    }
}

impl Writer<'_> {
    fn value(&mut self, position: usize, except: &[&str]) {
        let Span { start, end, .. } = self.index.0[position];
        match self.text.as_bytes()[start] {
            b'{' => self.object(position, except),
            b'[' => self.array(position),
            b'"' => self.string(position),
            _ => {
                self.out.extend_from_slice(&self.text.as_bytes()[start..end]);
                // ends the number
                self.out.push(b',');
            }
        }
    }

    /// Prefixed with its length, so that `["ab", ""]` and `["a", "b"]` differ.
    fn string(&mut self, position: usize) {
        let bytes = self.index.0[position].bytes(self.text);
        self.out.push(b'"');
        // base 255: one byte for nearly every string
        let mut length = bytes.len();
        while length >= 255 {
            self.out.push(255);
            length -= 255;
        }
        self.out.push(u8::try_from(length).expect("it is below 255"));
        self.out.extend_from_slice(&bytes);
    }

    fn array(&mut self, position: usize) {
        self.out.push(b'[');
        let (mut element, end) = (position + 1, self.index.0[position].next);
        while element < end {
            self.value(element, &[]);
            element = self.index.0[element].next;
        }
        self.out.push(b']');
    }

    fn object(&mut self, position: usize, except: &[&str]) {
        let (index, text) = (self.index, self.text);
        let (first, end) = (self.keys.len(), index.0[position].next);
        let mut key = position + 1;
        while key < end {
            if !except.iter().any(|name| index.0[key].is(name, text)) {
                self.keys.push(key);
            }
            key = index.0[key + 1].next;
        }
        // must be stable: copies of a member keep their order
        self.keys[first..].sort_by(|a, b| index.0[*a].compare(index.0[*b], text));
        self.out.push(b'{');
        for at in first..self.keys.len() {
            let key = self.keys[at];
            self.string(key);
            self.value(key + 1, &[]);
        }
        self.out.push(b'}');
        self.keys.truncate(first);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Document;

    fn canonical(json: &str) -> Vec<u8> {
        Document::parse(json).unwrap().root().canonical(&["volatile"])
    }

    #[test]
    fn white_space_escapes_and_the_order_of_members_make_no_difference() {
        let one = canonical(r#"{"a":"é/😀","b":[1,{"c":null,"d":true}],"":0}"#);
        for other in [
            r#"{"b":[1,{"d":true,"c":null}],"":0,"a":"é/😀"}"#,
            "{ \"\" : 0 ,\n\"a\":\t\"é/😀\", \"b\": [ 1 , {\"c\": null , \"d\": true} ] }",
            r#"{"\u0061":"\u00e9\/\ud83d\ude00","b":[1,{"\u0063":null,"d":true}],"":0}"#,
            r#"{"a":"é/😀","b":[1,{"c":null,"d":true}],"":0,"volatile":1,"vol\u0061tile":{}}"#,
        ] {
            assert_eq!(canonical(other), one, "{other}");
        }
    }

    #[test]
    fn everything_else_makes_a_difference() {
        let all = [
            "{}",
            "[]",
            "null",
            "\"\"",
            "\"null\"",
            "1",
            "1.0",
            "10",
            "\"1\"",
            "[1,0]",
            "[10]",
            "[[1],0]",
            "[[1,0]]",
            r#"{"a":1}"#,
            r#"{"A":1}"#,
            r#"{"a":1,"a":2}"#,
            r#"{"a":2,"a":1}"#,
            r#"{"a":"1"}"#,
            r#"{"a":[1]}"#,
            r#"{"a":{"volatile":1}}"#,
            r#"{"a":{}}"#,
            r#"{"a":null}"#,
            r#"["a","b"]"#,
            r#"["ab",""]"#,
            r#"["ab"]"#,
            r#""\ud800""#,
            r#""\ud801""#,
            r#""\ufffd""#,
            r#""\u0000""#,
        ];
        for (n, one) in all.iter().enumerate() {
            for other in &all[n + 1..] {
                assert_ne!(canonical(one), canonical(other), "{one} {other}");
            }
        }
    }
}
