//! Paths of values for warnings: `data.paxTicketInfos[0].name`.

use super::Index;

/// In bytes; longer keys are not shown.
const MAX_SHOWN_KEY: usize = 40;

impl Index {
    /// The path of the value at a position; of a key, that of its object. A key that is not a short ASCII word is shown as
    /// `?`, because keys are the sender's text.
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

fn shown_key(key: &str) -> &str {
    let is_shown = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !key.is_empty() && key.len() <= MAX_SHOWN_KEY && key.bytes().all(is_shown) { key } else { "?" }
}
