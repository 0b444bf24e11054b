//! Checks the keys of bookings that are asked for, and times, before they get to the database.

use time::OffsetDateTime;

use super::ApiError;
use crate::{payload::MAX_REFERENCE_CHARS, providers, store::BookingKey, ticket_event::Environment};

/// The end of the year 9999, in seconds since 1970.
const MAX_TIMESTAMP: i64 = 253_402_300_799;

/// The key of a booking, with the reference as deliveries have it.
pub fn check_key(provider: &str, environment: Environment, booking_ref: &str) -> Result<BookingKey, ApiError> {
    let provider = known_provider(provider)?.to_owned();
    let booking_ref = booking_ref.trim();
    if booking_ref.is_empty() || booking_ref.contains('\0') || booking_ref.chars().count() > MAX_REFERENCE_CHARS {
        let message = format!(
            "a booking reference has 1 to {MAX_REFERENCE_CHARS} characters, not counting white space around it, and no NUL"
        );
        return Err(ApiError::bad_request("invalid_booking_ref", message));
    }
    Ok(BookingKey { provider, environment: environment.as_str().to_owned(), booking_ref: booking_ref.to_owned() })
}

/// The name of a provider of this program.
pub(super) fn known_provider(name: &str) -> Result<&'static str, ApiError> {
    providers::by_name(name).map(providers::Provider::name).ok_or_else(|| {
        let message = format!("there is no such provider; known are {}", providers::listed_names());
        ApiError::bad_request("unknown_provider", message)
    })
}

/// A time that the database and the answers can hold.
pub(super) fn check_time(name: &str, time: OffsetDateTime) -> Result<OffsetDateTime, ApiError> {
    if !(0..=MAX_TIMESTAMP).contains(&time.unix_timestamp()) {
        return Err(ApiError::bad_request("invalid_time", format!("{name} is to be between the years 1970 and 9999")));
    }
    Ok(time)
}
