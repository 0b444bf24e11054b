//! Items as server-sent events: `id` is the cursor, `data` the item.

use std::{io::Write, ops::Range};

use bytes::Bytes;
use memchr::memchr2;

use crate::store::{Cursor, Item};

/// Written once for all readers.
pub(super) struct ServerSentEvents {
    text: Bytes,
    /// Where each event ends.
    ends: Vec<usize>,
}

impl ServerSentEvents {
    pub(super) fn of(items: &[Item]) -> Self {
        let mut text = Vec::with_capacity(1024 * items.len());
        let ends = items.iter().map(|item| {
            write_id(&mut text, item.cursor);
            write_data(&mut text, item.to_json().as_bytes());
            text.push(b'\n');
            text.len()
        });
        let ends = ends.collect();
        Self { text: text.into(), ends }
    }

    /// Some that follow one another.
    pub(super) fn range(&self, events: Range<usize>) -> Bytes {
        let end_of = |events: usize| events.checked_sub(1).map_or(0, |last| self.ends[last]);
        self.text.slice(end_of(events.start)..end_of(events.end))
    }
}

/// An event that tells a position alone.
pub(super) fn position_event(cursor: Cursor) -> Bytes {
    let mut text = Vec::new();
    write_id(&mut text, cursor);
    text.push(b'\n');
    text.into()
}

fn write_id(text: &mut Vec<u8>, cursor: Cursor) {
    writeln!(text, "id: {cursor}").expect("memory takes all");
}

/// A payload is as it was sent, with line breaks between its values: each of its lines is one of the event.
fn write_data(text: &mut Vec<u8>, mut json: &[u8]) {
    loop {
        let end = memchr2(b'\n', b'\r', json);
        text.extend_from_slice(b"data: ");
        text.extend_from_slice(&json[..end.unwrap_or(json.len())]);
        text.push(b'\n');
        let Some(end) = end else { return };
        json = &json[end + 1..];
    }
}
