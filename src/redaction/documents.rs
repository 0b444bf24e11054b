//! Dropping identity documents (`privacy.identity_documents = "drop"`): what is kept of a delivery holds none.
//!
//! From the payload their members are removed as those of credentials are. A body that is not JSON loses the values behind
//! their names; where that is not certain, nothing of it is kept ([`may_hold_documents`]).

use super::{REDACTED, without_members};
use crate::{
    json::{Document, broken_members, layer_texts},
    ticket_event::{Booking, RawJson},
};

/// Removes the documents of a booking that was normalized before `members` were removed from its payload.
pub(crate) fn drop_documents(booking: &mut Booking, members: &[&str]) {
    for passenger in &mut booking.passengers {
        passenger.document = None;
        if let Some(ancillaries) = &mut passenger.ancillaries
            && let Ok(document) = Document::parse(ancillaries.as_str())
        {
            let (text, _) = without_members(document, members).into_parts();
            let text = text.into_owned();
            *ancillaries = RawJson::new(text);
        }
    }
}

/// Whether a text that is not JSON may hold a document although the values of `members` were replaced in it: one of the
/// names stands elsewhere than before such a value, or it is no text at all.
pub(crate) fn may_hold_documents(text: &str, members: &[&str]) -> bool {
    if text.chars().any(|character| character.is_control() && !character.is_whitespace()) {
        return true;
    }
    let Some(text) = layer_texts(text).last() else { return false };
    let lower_case = text.to_ascii_lowercase();
    let named: usize = members.iter().map(|member| lower_case.matches(&member.to_ascii_lowercase()).count()).sum();
    let found = broken_members(&text, members);
    let replaced = found.iter().filter(|member| ["", REDACTED].contains(&&text[member.range.clone()]));
    named > replaced.count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_without_documents_only_where_each_name_stands_before_a_replaced_value() {
        let may_hold = |text| may_hold_documents(text, &["cardNum", "DocumentInfo"]);
        for (text, is) in [
            (r#"{"a":1,"cardNum":"[redacted]",,"#, false),
            (r#"{"cardNum":"","b":,"#, false),
            (r#"{"a":1,,"#, false),
            (r#"{\"CARDNUM\":\"[redacted]\",,"#, false),
            (r#"{"cardNum":"[redacted]","x":{"cardNum":"1"},,"#, true),
            ("cardNum=123", true),
            ("<CardNum>123</CardNum>", true),
            (r"{cardNum: 123}", true),
            ("{\"a\":\"\u{1}\"}", true),
        ] {
            assert_eq!(may_hold(text), is, "{text}");
        }
    }
}
