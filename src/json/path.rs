//! Naming a value or key of a document by the members and elements that lead to it.

use super::Index;

/// Keys of more bytes are not shown.
const SHOWN_KEY: usize = 40;

impl Index {
    /// How the value or key at a position is reached: `data.paxTicketInfos[0].name`. Of a key it is the object that has
    /// it. A member whose key is no plain word is named `?`, for a key may hold anything.
    pub(crate) fn path(&self, text: &str, position: usize) -> String {
        let mut path = String::new();
        let mut container = 0;
        while self.0[container].next > position && container < position {
            let is_object = text.as_bytes()[self.0[container].start] == b'{';
            let (mut child, mut number) = (container + 1, 0);
            let value_of = |child: usize| if is_object { child + 1 } else { child };
            while self.0[value_of(child)].next <= position {
                child = self.0[value_of(child)].next;
                number += 1;
            }
            if is_object && child == position {
                break;
            }
            if is_object {
                let separator = if path.is_empty() { "" } else { "." };
                path = format!("{path}{separator}{}", shown_key(&self.0[child].text(text).value));
            } else {
                path = format!("{path}[{number}]");
            }
            container = value_of(child);
        }
        path
    }
}

/// A key as it may be shown.
fn shown_key(key: &str) -> &str {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !key.is_empty() && key.len() <= SHOWN_KEY && key.bytes().all(is_plain) { key } else { "?" }
}
