//! A payload as people read it: a member a line, without the personal data that is masked, and with the place of a fault marked.

use std::sync::LazyLock;

use crate::{
    json::{Document, Kind, Malformed, Value},
    providers,
};

/// Stands for a value that is masked.
pub(super) const MASK: &str = "•••";

/// Stands for a text that is masked as a whole.
const HIDDEN: &str = "••• It is hidden as a whole: it is no JSON, and may hold identity documents or birth dates.";

const INDENTATION: &str = "  ";

/// A piece of a text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) text: String,
    /// Here is the fault.
    pub(super) is_marked: bool,
}

/// The JSON with a member a line. Numbers and texts are written as they were sent. With `is_masked` identity documents and birth
/// dates are replaced. `faults` are paths of fields: `data.paxTicketInfos[0].name`.
///
/// What is no JSON is given as it is, with the place marked where it ends to be JSON; masked as a whole if it may hold such data.
pub(super) fn pretty(json: &str, is_masked: bool, faults: &[&str]) -> Vec<Part> {
    match Document::parse(json) {
        Ok(document) => {
            let mut writer = Writer { parts: vec![Part::default()], is_masked, faults, path: String::new() };
            writer.write(document.root(), 0);
            writer.parts
        }
        Err(_) if is_masked && may_hold_documents(json) => {
            vec![Part { text: HIDDEN.to_owned(), is_marked: false }]
        }
        Err(unreadable) => broken(json, &unreadable.malformed),
    }
}

struct Writer<'a> {
    parts: Vec<Part>,
    is_masked: bool,
    faults: &'a [&'a str],
    /// Of the value that is written.
    path: String,
}

impl Writer<'_> {
    fn write(&mut self, value: Value<'_>, depth: usize) {
        let is_fault = self.faults.contains(&self.path.as_str());
        if is_fault {
            self.parts.push(Part { text: String::new(), is_marked: true });
        }
        self.write_value(value, depth);
        if is_fault {
            self.parts.push(Part::default());
        }
    }

    fn write_value(&mut self, value: Value<'_>, depth: usize) {
        if let Some(members) = value.members() {
            self.write_list(["{", "}"], members, depth, |writer, _, (key, value)| {
                writer.text(&serde_json::to_string(&key.value).unwrap_or_default());
                writer.text(": ");
                let separator = if writer.path.is_empty() { "" } else { "." };
                writer.path.push_str(separator);
                writer.path.push_str(&key.value);
                if writer.is_masked && is_masked_member(&key.value) && value.kind() != Kind::Null {
                    writer.text(MASK);
                } else {
                    writer.write(value, depth + 1);
                }
            });
        } else if let Some(elements) = value.elements() {
            self.write_list(["[", "]"], elements, depth, |writer, number, value| {
                writer.path.push_str(&format!("[{number}]"));
                writer.write(value, depth + 1);
            });
        } else if self.is_masked
            && value.kind() == Kind::String
            && value.text().is_some_and(|text| may_hold_documents(&text.value))
        {
            // JSON in a text
            self.text(MASK);
        } else {
            self.text(value.as_str());
        }
    }

    fn write_list<T>(
        &mut self,
        [open, close]: [&str; 2],
        items: impl Iterator<Item = T>,
        depth: usize,
        write_item: impl Fn(&mut Self, usize, T),
    ) {
        self.text(open);
        let mut is_empty = true;
        for (number, item) in items.enumerate() {
            self.text(if is_empty { "\n" } else { ",\n" });
            self.text(&INDENTATION.repeat(depth + 1));
            let length = self.path.len();
            write_item(self, number, item);
            self.path.truncate(length);
            is_empty = false;
        }
        if !is_empty {
            self.text("\n");
            self.text(&INDENTATION.repeat(depth));
        }
        self.text(close);
    }

    fn text(&mut self, text: &str) {
        if let Some(part) = self.parts.last_mut() {
            part.text.push_str(text);
        }
    }
}

/// The text, and in it the character at which it is no JSON any more.
fn broken(text: &str, malformed: &Malformed) -> Vec<Part> {
    let part = |text: &str, is_marked| Part { text: text.to_owned(), is_marked };
    let Malformed::Syntax { line, column } = malformed else { return vec![part(text, false)] };
    let line_start: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
    // the column counts bytes; at the end of the text the last character is marked
    let mut at = (line_start + column.saturating_sub(1)).min(text.len().saturating_sub(1));
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let end = text[at..].chars().next().map_or(at, |character| at + character.len_utf8());
    vec![part(&text[..at], false), part(&text[at..end], true), part(&text[end..], false)]
}

/// Words of members that other systems name so; in lower case, letters and digits only.
const MASKED_WORDS: [&str; 10] =
    ["birth", "passport", "document", "nationalid", "identity", "idnumber", "idcard", "cardnum", "cardno", "cardexp"];

/// Whole names.
const MASKED_NAMES: [&str; 3] = ["dob", "idno", "docno"];

/// By its name, however that is written.
fn is_masked_member(key: &str) -> bool {
    let key = plain(key);
    MASKED_NAMES.contains(&key.as_str()) || holds_masked_word(&key)
}

/// Whether a text may hold such members: JSON in a text, a form, XML, or what is broken.
fn may_hold_documents(text: &str) -> bool {
    text.contains(['{', '<', '=', '&', '%', ':', '"']) && holds_masked_word(&plain(text))
}

fn holds_masked_word(plain_text: &str) -> bool {
    static OF_PROVIDERS: LazyLock<Vec<String>> = LazyLock::new(|| {
        providers::document_members().iter().chain(providers::birth_date_members()).map(|name| plain(name)).collect()
    });
    let words = MASKED_WORDS.into_iter().chain(OF_PROVIDERS.iter().map(String::as_str));
    words.into_iter().any(|word| plain_text.contains(word))
}

/// Its letters and digits in lower case; wide forms are written as plain ones.
fn plain(text: &str) -> String {
    let narrow = |character: char| match character {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(character) - 0xfee0).unwrap_or(character),
        character => character,
    };
    text.chars().map(narrow).filter(|character| character.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(parts: &[Part]) -> String {
        parts.iter().map(|part| if part.is_marked { format!("<{}>", part.text) } else { part.text.clone() }).collect()
    }

    #[test]
    fn a_payload_is_written_as_it_was_sent() {
        let json = r#"{"a":1.50,"b":[],"c":{},"d":[12345678901234567890123,"\ud800é\n"],"<script>":null,"birthday":"19910101"}"#;
        let expected = r#"{
  "a": 1.50,
  "b": [],
  "c": {},
  "d": [
    12345678901234567890123,
    "\ud800é\n"
  ],
  "<script>": null,
  "birthday": "19910101"
}"#;
        assert_eq!(text(&pretty(json, false, &[])), expected);
        assert_eq!(text(&pretty(json, true, &[])), expected.replace("\"19910101\"", MASK));
    }

    #[test]
    fn documents_are_masked_wherever_they_stand() {
        let json = r#"{"p":[{"cardNum":"E1234","CARDNUM":5,"DocumentInfo":{"n":"E1234"},"cardType":null}],
            "packed":"{\"DocumentNumber\":\"E1234\"}"}"#;
        let shown = text(&pretty(json, true, &[]));
        assert!(!shown.contains("E1234") && !shown.contains('5'), "{shown}");
        assert!(shown.contains("\"cardType\": null"), "{shown}");
        assert_eq!(text(&pretty(&json[..60], true, &[])), HIDDEN, "what is broken is masked as a whole");
        for name in
            ["DateOfBirth", "dob", "PassportNo", "document_number", "Document No", "ＤocumentNumber", "nationalId"]
        {
            let json = format!(r#"{{"{name}":"E1234","remark":"a document, please"}}"#);
            let shown = text(&pretty(&json, true, &[]));
            assert!(!shown.contains("E1234") && shown.contains("please"), "{shown}");
        }
    }

    #[test]
    fn the_place_of_a_fault_is_marked() {
        let json = r#"{"a":{"b":[1,{"c":"x"}]}}"#;
        assert!(text(&pretty(json, true, &["a.b[1].c"])).contains(r#""c": <"x">"#));
        assert!(text(&pretty(json, true, &["a"])).contains("\"a\": <{\n"));
        for (broken, marked) in
            [("{\"a\":1,\n é}", "{\"a\":1,\n <é>}"), ("{\"a\":", "{\"a\"<:>"), ("é", "<é>"), ("", "")]
        {
            assert_eq!(text(&pretty(broken, false, &[])), marked);
        }
    }
}
