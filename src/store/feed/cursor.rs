//! Positions in the feed, and the cursors that name them.

use std::{fmt, str::FromStr};

use serde::Serialize;

/// The place of an item in the order of the feed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Position {
    pub generation: i32,
    /// `recorded_xid`
    pub transaction: i64,
    pub sequence: i64,
}

/// Names an item that was given out, or the start of the feed. Opaque to consumers; the same text as that of
/// `ticket_feed_cursor` in SQL.
///
/// It has a part of the item's id and its time of recording, so that a position that was given to another item, by
/// point-in-time recovery, is noticed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    pub position: Position,
    /// The last four bytes of the id.
    pub id_end: u32,
    /// Microseconds since 1970.
    pub recorded_at: i64,
}

impl Cursor {
    /// Before the first item.
    pub const START: Self =
        Self { position: Position { generation: 0, transaction: 0, sequence: 0 }, id_end: 0, recorded_at: 0 };
}

impl fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { position: Position { generation, transaction, sequence }, id_end, recorded_at } = self;
        write!(formatter, "{generation}.{transaction}.{sequence}.{id_end:08x}.{recorded_at}")
    }
}

/// Of a number in a cursor: it fits into 64 bits.
const MAX_DIGITS: usize = 18;

/// A generation has at most nine digits.
const MAX_GENERATION: i64 = 1_000_000_000;

/// Not a cursor of this feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor of this feed")]
pub struct InvalidCursor;

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let mut parts = text.split('.');
        let mut number = || parts.next().filter(|part| part.len() <= MAX_DIGITS)?.parse::<i64>().ok();
        let (generation, transaction, sequence) = (number(), number(), number());
        let id_end = parts.next().and_then(|part| u32::from_str_radix(part, 16).ok());
        let recorded_at = parts.next().filter(|part| part.len() <= MAX_DIGITS).and_then(|part| part.parse().ok());
        let generation =
            generation.filter(|number| *number < MAX_GENERATION).and_then(|number| i32::try_from(number).ok());
        let (Some(generation), Some(transaction), Some(sequence), Some(id_end), Some(recorded_at)) =
            (generation, transaction, sequence, id_end, recorded_at)
        else {
            return Err(InvalidCursor);
        };
        let cursor = Self { position: Position { generation, transaction, sequence }, id_end, recorded_at };
        // each number has one spelling
        if cursor.to_string() == text && !text.contains('-') { Ok(cursor) } else { Err(InvalidCursor) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cursor_is_read_as_it_is_written(
            generation in 0..=999_999_999, transaction in 0..=999_999_999_999_999_999_i64,
            sequence in 0..=999_999_999_999_999_999_i64, id_end: u32, recorded_at in 0..=999_999_999_999_999_999_i64,
        ) {
            let position = Position { generation, transaction, sequence };
            let cursor = Cursor { position, id_end, recorded_at };
            prop_assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }

        #[test]
        fn any_other_text_is_an_error(text: String) {
            prop_assert_eq!(text.parse::<Cursor>(), Err(InvalidCursor));
        }
    }

    #[test]
    fn what_is_nearly_a_cursor_is_an_error() {
        for text in [
            "",
            "1.2.3",
            "1.2.3.00000000.4.5",
            "01.2.3.00000000.4",
            "-1.2.3.00000000.4",
            "+1.2.3.00000000.4",
            "1.2.3.+0000000.4",
            "1.2.3.0000000.4",
            "1.2.3.ABCDEF00.4",
            "9999999999.2.3.00000000.4",
            "1..3.00000000.4",
        ] {
            assert_eq!(text.parse::<Cursor>(), Err(InvalidCursor), "{text}");
        }
    }
}
