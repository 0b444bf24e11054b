//! Removing the members that carry credentials.

use crate::json::Document;

/// Removes the members with these names at any depth, ignoring case, escapes and white space around them.
pub(crate) fn without_members<'a>(document: Document<'a>, names: &[&str]) -> Document<'a> {
    if names.is_empty() {
        return document;
    }
    document.without(|key| names.iter().any(|name| is_named(&key.value, name)))
}

/// Fast path: the length rules out nearly every key.
fn is_named(key: &str, name: &str) -> bool {
    key.len() >= name.len() && key.trim().eq_ignore_ascii_case(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Index;

    #[test]
    fn members_are_removed_in_every_spelling_and_the_rest_keeps_its_exact_text() {
        for (sent, kept) in [
            (r#"{"ClientId":1,"a":2}"#, r#"{"a":2}"#),
            (r#"{ "a" : 2 , "Password" : {"x":["}",1]} }"#, r#"{ "a" : 2 }"#),
            (r#"{"P\u0061ssword":"x","password":[],"PASSWORD ":null, "a":"\u0041"}"#, r#"{"a":"\u0041"}"#),
            (r#"{"a":1,"UserName":"\"","ClientId":2}"#, r#"{"a":1}"#),
            (r#"{"a":1,"UserName":2,"b":{},"ClientId":2,"Password":[] }"#, r#"{"a":1,"b":{}}"#),
            (r#"{"UserName":"u"}"#, r"{}"),
            (r#"[{"UserName":"u","Password":[1,{"Password":2}]},[]]"#, r"[{},[]]"),
            (r#"{"b":[{"Password":1},{"c":{"Password":-1.5e3,"d":[1, 2]}}]}"#, r#"{"b":[{},{"c":{"d":[1, 2]}}]}"#),
            (r#"{"a":"Password","b":["Password"]}"#, r#"{"a":"Password","b":["Password"]}"#),
        ] {
            let document = Document::parse(sent).ok().unwrap();
            let (text, index) = without_members(document, &["ClientId", "UserName", "Password"]).into_parts();
            assert_eq!(text, kept);
            assert_eq!(index, Index::of(kept).unwrap(), "{kept}");
        }
    }
}
