//! Where a list of bookings goes on: behind a key. Opaque to whoever asks.

use crate::store::{BookingRange, BookingState};

/// Not a cursor of a list of bookings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor of a list of bookings with these filters")]
pub struct InvalidListCursor;

/// The key in hexadecimal, so that it stands in a URL as it is. No part of a key but the last has a line break.
pub(super) fn behind(booking: &BookingState) -> String {
    let key = format!("{}\n{}\n{}", booking.provider, booking.environment, booking.booking_ref);
    key.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// What is left of the ranges behind the cursor.
pub(super) fn ranges_after(
    ranges: Vec<BookingRange>,
    cursor: Option<&str>,
) -> Result<Vec<BookingRange>, InvalidListCursor> {
    let Some(cursor) = cursor else { return Ok(ranges) };
    let key = decode(cursor).ok_or(InvalidListCursor)?;
    let mut parts = key.splitn(3, '\n');
    let mut part = || parts.next().ok_or(InvalidListCursor);
    let (provider, environment, booking_ref) = (part()?, part()?, part()?);
    let is_in = |range: &BookingRange| range.provider == provider && range.environment == environment;
    let first = ranges.iter().position(is_in).ok_or(InvalidListCursor)?;
    let mut left = ranges[first..].to_vec();
    booking_ref.clone_into(&mut left[0].after);
    Ok(left)
}

fn decode(hexadecimal: &str) -> Option<String> {
    let digits: Option<Vec<_>> = hexadecimal.chars().map(|char| char.to_digit(16)).collect();
    let (pairs, rest) = digits.as_deref()?.as_chunks::<2>();
    let bytes: Option<Vec<_>> = pairs.iter().map(|[high, low]| u8::try_from(high * 16 + low).ok()).collect();
    let text = String::from_utf8(bytes?).ok()?;
    // which Postgres refuses
    (rest.is_empty() && !text.contains('\0')).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(environment: &'static str, after: &str) -> BookingRange {
        BookingRange { provider: "p", environment, after: after.to_owned() }
    }

    #[test]
    fn a_list_goes_on_in_the_range_of_its_cursor_and_anything_else_is_an_error() {
        let ranges = || vec![range("live", ""), range("test", "")];
        let hexadecimal = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(ranges_after(ranges(), None), Ok(ranges()));
        let cursor = hexadecimal("p\nlive\nÄ\n/");
        assert_eq!(ranges_after(ranges(), Some(&cursor)), Ok(vec![range("live", "Ä\n/"), range("test", "")]));
        assert_eq!(ranges_after(ranges(), Some(&hexadecimal("p\ntest\nB"))), Ok(vec![range("test", "B")]));
        for text in
            ["", "0", "zz", "ff", &hexadecimal("q\nlive\nB"), &hexadecimal("p\nlive"), &hexadecimal("p\nlive\n\0")]
        {
            assert_eq!(ranges_after(ranges(), Some(text)), Err(InvalidListCursor), "{text}");
        }
    }
}
