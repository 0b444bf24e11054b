//! `/v1/bookings`: what is expected, the state of each booking, and those that wait for somebody.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Deserializer, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    Api, ApiError,
    booking_key::{check_key, check_time, known_provider},
    error::{AnyError, ErrorBody, NotFound},
    extract::{self, Path, Query},
};
use crate::{
    bookings::{Changes, History, ListFilter},
    store::{Announced, BookingKey, BookingRevision, BookingState, Compared, ExpectedBy},
    ticket_event::Environment,
};

/// Of one `POST`.
const MAX_ANNOUNCED: usize = 1000;

/// What is expected of a booking.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Expectation {
    /// When the booking is to have a final status. Null: no deadline. Left out: as it was, for a new booking none.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, format = DateTime, required = false)]
    expected_by: Option<Option<OffsetDateTime>>,
}

/// A booking that is expected.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Announcement {
    provider: String,
    environment: Environment,
    booking_ref: String,
    /// As for one booking.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, format = DateTime, required = false)]
    expected_by: Option<Option<OffsetDateTime>>,
}

/// How many bookings are new, were changed, and were known as they are.
#[derive(Serialize, ToSchema)]
pub(super) struct AnnouncedCounts {
    announced: i64,
    changed: i64,
    unchanged: i64,
}

/// A booking and what was said about it.
#[derive(Serialize, ToSchema)]
pub(super) struct Booking {
    state: BookingState,
    /// The newest 200, in their order.
    revisions: Vec<RevisionOfBooking>,
    /// Whether there are older ones.
    truncated: bool,
}

/// A revision and what it changed.
#[derive(Serialize, ToSchema)]
pub(super) struct RevisionOfBooking {
    /// Of the event.
    id: Uuid,
    revision: i32,
    /// It waited in a spool, and was received before what stands before it: it changed nothing.
    late: bool,
    status: String,
    pnr: Option<String>,
    ticket_numbers: Vec<String>,
    /// The names of the passengers.
    passengers: Vec<String>,
    remark: Option<String>,
    warnings: Vec<String>,
    #[serde(with = "time::serde::rfc3339")]
    received_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    recorded_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    last_received_at: OffsetDateTime,
    delivery_count: i32,
    /// Compared with the revision before it that is not late; null for the first one, and for a late one.
    changes: Option<Changes>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct BookingsQuery {
    /// Only bookings whose `expected_by` has passed without a final status.
    #[param(default = false)]
    overdue: Option<bool>,
    /// Only bookings without a final status about which nothing was received for `bookings.stuck_after_minutes`.
    #[param(default = false)]
    stuck: Option<bool>,
    provider: Option<String>,
    environment: Option<Environment>,
    /// Bookings of a page, which may have fewer.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
    /// `next` of the page before.
    after: Option<String>,
}

/// A page of bookings, in the order of provider, environment and reference.
#[derive(Serialize, ToSchema)]
pub(super) struct BookingsPage {
    bookings: Vec<BookingState>,
    /// Where to go on; null at the end.
    next: Option<String>,
}

/// Announces a booking, or changes what is expected of it.
#[utoipa::path(put, path = "/v1/bookings/{provider}/{environment}/{booking_ref}", tag = "bookings",
    params(("provider" = String, Path), ("environment" = Environment, Path), ("booking_ref" = String, Path)),
    request_body = Expectation,
    responses(
        (status = 200, body = BookingState, description = "It was expected already."),
        (status = 201, body = BookingState, description = "It was announced."),
        (status = 413, body = ErrorBody, description = "The body is too large."),
        (status = 415, body = ErrorBody, description = "The body is not application/json."),
        AnyError, NotFound,
    ))]
pub(super) async fn put(
    State(api): State<Arc<Api>>,
    Path((provider, environment, booking_ref)): Path<(String, Environment, String)>,
    extract::Json(Expectation { expected_by }): extract::Json<Expectation>,
) -> Result<(StatusCode, Json<BookingState>), ApiError> {
    let key = check_key(&provider, environment, &booking_ref)?;
    let booking = (key, expectation(expected_by)?);
    let Announced { announced, .. } = api.bookings.announce(std::slice::from_ref(&booking)).await?;
    let status = if announced > 0 { StatusCode::CREATED } else { StatusCode::OK };
    // not there when it was withdrawn meanwhile
    let state = api.bookings.state(&booking.0).await?.ok_or_else(unknown)?;
    Ok((status, Json(state)))
}

/// The state of a booking, and its revisions with what each changed.
#[utoipa::path(get, path = "/v1/bookings/{provider}/{environment}/{booking_ref}", tag = "bookings",
    params(("provider" = String, Path), ("environment" = Environment, Path), ("booking_ref" = String, Path)),
    responses((status = 200, body = Booking), AnyError, NotFound))]
pub(super) async fn get(
    State(api): State<Arc<Api>>,
    Path((provider, environment, booking_ref)): Path<(String, Environment, String)>,
) -> Result<Json<Booking>, ApiError> {
    let key = check_key(&provider, environment, &booking_ref)?;
    let History { state, revisions, is_truncated } = api.bookings.history(&key).await?.ok_or_else(unknown)?;
    let revisions = revisions.into_iter().map(RevisionOfBooking::from).collect();
    Ok(Json(Booking { state, revisions, truncated: is_truncated }))
}

/// Withdraws a booking: it is no longer expected. Its revisions stay.
#[utoipa::path(delete, path = "/v1/bookings/{provider}/{environment}/{booking_ref}", tag = "bookings",
    params(("provider" = String, Path), ("environment" = Environment, Path), ("booking_ref" = String, Path)),
    responses((status = 204, description = "It was expected, and no longer is."), AnyError, NotFound))]
pub(super) async fn delete(
    State(api): State<Arc<Api>>,
    Path((provider, environment, booking_ref)): Path<(String, Environment, String)>,
) -> Result<StatusCode, ApiError> {
    let key = check_key(&provider, environment, &booking_ref)?;
    if api.bookings.withdraw(&key).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(ApiError::not_found("this booking is not expected"))
    }
}

/// Announces up to 1,000 bookings, all of them or none.
#[utoipa::path(post, path = "/v1/bookings", tag = "bookings", request_body = Vec<Announcement>,
    responses(
        (status = 200, body = AnnouncedCounts),
        (status = 413, body = ErrorBody, description = "The body is too large."),
        (status = 415, body = ErrorBody, description = "The body is not application/json."),
        AnyError,
    ))]
pub(super) async fn post(
    State(api): State<Arc<Api>>,
    extract::Json(announcements): extract::Json<Vec<Announcement>>,
) -> Result<Json<AnnouncedCounts>, ApiError> {
    if announcements.len() > MAX_ANNOUNCED {
        let message = format!("at most {MAX_ANNOUNCED} bookings can be announced at once: send several lists");
        return Err(ApiError::bad_request("too_many_bookings", message));
    }
    let mut keys = std::collections::HashSet::<BookingKey>::new();
    let mut bookings = Vec::with_capacity(announcements.len());
    for (index, announcement) in announcements.into_iter().enumerate() {
        let Announcement { provider, environment, booking_ref, expected_by } = announcement;
        let checked = || {
            let key = check_key(&provider, environment, &booking_ref)?;
            Ok((key, expectation(expected_by)?))
        };
        let booking = checked().map_err(|error: ApiError| error.of_item(index))?;
        if !keys.insert(booking.0.clone()) {
            let error = ApiError::bad_request("repeated_booking", "the booking stands in the list twice");
            return Err(error.of_item(index));
        }
        bookings.push(booking);
    }
    let Announced { announced, changed, unchanged } = api.bookings.announce(&bookings).await?;
    Ok(Json(AnnouncedCounts { announced, changed, unchanged }))
}

/// Lists the bookings that are expected or have events.
#[utoipa::path(get, path = "/v1/bookings", tag = "bookings", params(BookingsQuery),
    responses((status = 200, body = BookingsPage), AnyError))]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Query(query): Query<BookingsQuery>,
) -> Result<Json<BookingsPage>, ApiError> {
    let limit = extract::within("limit", query.limit.unwrap_or(100), 1, 1000)?;
    let filter = ListFilter {
        overdue: query.overdue.unwrap_or(false),
        stuck: query.stuck.unwrap_or(false),
        provider: query.provider.as_deref().map(known_provider).transpose()?,
        environment: query.environment,
    };
    let page = api.bookings.list(filter, query.after.as_deref(), limit).await;
    let page = page.map_err(|error| ApiError::bad_request("invalid_cursor", error.to_string()))??;
    Ok(Json(BookingsPage { bookings: page.bookings, next: page.next }))
}

impl From<(BookingRevision, Option<Changes>)> for RevisionOfBooking {
    fn from((revision, changes): (BookingRevision, Option<Changes>)) -> Self {
        let Compared { status, pnr, ticket_numbers, names } = revision.content;
        Self {
            id: revision.id,
            revision: revision.revision,
            late: revision.late,
            status,
            pnr,
            ticket_numbers,
            passengers: names,
            remark: revision.remark,
            warnings: revision.warnings,
            received_at: revision.received_at,
            recorded_at: revision.recorded_at,
            last_received_at: revision.last_received_at,
            delivery_count: revision.delivery_count,
            changes,
        }
    }
}

fn expectation(expected_by: Option<Option<OffsetDateTime>>) -> Result<ExpectedBy, ApiError> {
    match expected_by {
        None => Ok(ExpectedBy::Keep),
        Some(time) => Ok(ExpectedBy::Set(time.map(|time| check_time("expected_by", time)).transpose()?)),
    }
}

fn unknown() -> ApiError {
    ApiError::not_found("this booking is neither expected nor has any event")
}

/// Tells null from left out.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<OffsetDateTime>>, D::Error> {
    time::serde::rfc3339::option::deserialize(deserializer).map(Some)
}
