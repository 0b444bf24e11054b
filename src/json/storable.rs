//! A value in a form that `jsonb` accepts.

use super::{Kind, Text, Value, index::Span};

/// In digits. Postgres keeps every digit of a number up to a limit.
const MAX_NUMBER_LENGTH: usize = 1000;

impl Value<'_> {
    /// The text as it was sent, without white space between tokens, except for what `jsonb` rejects: NUL characters are
    /// removed, lone surrogates are replaced, and a number that is too long or has an exponent becomes a string.
    pub(crate) fn storable(self) -> String {
        let Span { start, end, next, .. } = self.span();
        let mut out = String::with_capacity(end - start);
        let mut copied = start;
        for position in self.position..next {
            let value = Value { position, ..self };
            let span = value.span();
            // brackets, commas, colons, and the white space between them
            out.extend(self.text[copied..span.start].split_ascii_whitespace());
            copied = span.start;
            match value.kind() {
                Kind::Array | Kind::Object => continue,
                Kind::String => match span.text(self.text) {
                    Text { value, repaired } if repaired || value.contains('\0') => {
                        let without_nul = value.replace('\0', "");
                        out += &serde_json::to_string(&without_nul).expect("a string can be written as JSON");
                    }
                    _ => out += value.as_str(),
                },
                Kind::Number if !value.is_storable_number() => out.extend(["\"", value.as_str(), "\""]),
                _ => out += value.as_str(),
            }
            copied = span.end;
        }
        out.extend(self.text[copied..end].split_ascii_whitespace());
        out
    }

    fn is_storable_number(self) -> bool {
        let digits = self.as_str();
        digits.len() <= MAX_NUMBER_LENGTH && !digits.contains(['e', 'E'])
    }
}

#[cfg(test)]
mod tests {
    use super::super::Document;

    #[test]
    fn what_jsonb_refuses_is_made_storable_and_the_rest_stays_to_the_letter() {
        for (sent, kept) in [
            (r#"[{"a": 1.50, "\u0062":"é\/"}, null,true]"#, r#"[{"a":1.50,"\u0062":"é\/"},null,true]"#),
            ("{ \"a b\" :\n [ ] ,\r\n\"c\\n\":\t{ \"d\" : 1 }\n}", r#"{"a b":[],"c\n":{"d":1}}"#),
            (r#"{"a\u0000b":"\u0000x\ud800"}"#, "{\"ab\":\"x\u{fffd}\"}"),
            ("[1e999999, 12e3]", r#"["1e999999","12e3"]"#),
            (r#""\\u0000""#, r#""\\u0000""#),
        ] {
            assert_eq!(Document::parse(sent).unwrap().root().storable(), kept);
        }
        let document = format!(r#"{{"a":[{}],"b":2}}"#, "9".repeat(2000));
        let document = Document::parse(document).unwrap();
        let kept = document.root().member("a").unwrap().value.storable();
        assert_eq!(kept, format!(r#"["{}"]"#, "9".repeat(2000)));
    }
}
