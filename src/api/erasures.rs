//! `/v1/erasures`: erasing personal data, and the record of it.

use std::{sync::Arc, time::Duration};

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    Api, ApiError,
    error::{AnyError, ErrorBody},
    extract::{self, Query},
};
use crate::{
    erase::{EraseError, How, Report, Subject, erase},
    store::{ErasureRecord, RequestedBy},
    ticket_event::Environment,
};

/// Below the timeout of a request, with a statement that takes long.
const TIMEOUT: Duration = Duration::from_secs(8);

/// Exactly one of `booking_ref`, `name`, `document` and `older_than_days`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ErasureRequest {
    #[schema(max_length = 255)]
    booking_ref: Option<String>,
    /// Only with `booking_ref`: only this provider's.
    provider: Option<String>,
    /// Only with `booking_ref`: only this environment's.
    environment: Option<Environment>,
    /// Passengers whose name has all words of this one.
    #[schema(max_length = 200)]
    name: Option<String>,
    /// The number of an identity document.
    #[schema(max_length = 200)]
    document: Option<String>,
    /// Everything that was received longer ago.
    #[schema(minimum = 1, maximum = 36500)]
    older_than_days: Option<u32>,
    /// Count, and write nothing.
    #[serde(default)]
    dry_run: bool,
}

/// What was erased, or would be.
#[derive(Serialize, ToSchema)]
pub(super) struct ErasureResult {
    /// In the record; null for a dry run.
    id: Option<Uuid>,
    /// Events from which something was erased.
    events: usize,
    /// Unprocessed deliveries whose body was erased.
    unprocessed_deliveries: usize,
    /// Whether nothing is left. If not, ask for the same again.
    finished: bool,
    dry_run: bool,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ErasuresQuery {
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<i64>,
    /// The id of the last one of the page before.
    before: Option<Uuid>,
}

/// Erasures, the newest first.
#[derive(Serialize, ToSchema)]
pub(super) struct Erasures {
    erasures: Vec<ErasureRecord>,
    more: bool,
}

/// Erases personal data.
///
/// Names, documents, birth dates, payloads and the bodies of unprocessed deliveries are emptied. The events stay in the feed,
/// and each gets an item `erased`. It answers after some seconds although something may be left: see `finished`.
#[utoipa::path(post, path = "/v1/erasures", tag = "privacy", request_body = ErasureRequest,
    responses((status = 200, body = ErasureResult), AnyError,
        (status = 409, body = ErrorBody, description = "Another transaction holds what is to be erased for long."),
        (status = 413, body = ErrorBody, description = "The body is too large."),
        (status = 415, body = ErrorBody, description = "The body is not declared as JSON.")))]
pub(super) async fn create(
    State(api): State<Arc<Api>>,
    extract::Json(request): extract::Json<ErasureRequest>,
) -> Result<Json<ErasureResult>, ApiError> {
    let dry_run = request.dry_run;
    let subject = request.subject()?;
    let deadline = Some(Instant::now() + TIMEOUT);
    let how = How { requested_by: RequestedBy::Api, is_dry_run: dry_run, deadline };
    let Report { id, events, unprocessed_deliveries, is_finished } = erase(&api.pool, &subject, how).await?;
    Ok(Json(ErasureResult { id, events, unprocessed_deliveries, finished: is_finished, dry_run }))
}

/// Lists what was erased, when, and on whose request.
#[utoipa::path(get, path = "/v1/erasures", tag = "privacy", params(ErasuresQuery),
    responses((status = 200, body = Erasures), AnyError))]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Query(query): Query<ErasuresQuery>,
) -> Result<Json<Erasures>, ApiError> {
    let limit = query.limit.unwrap_or(100);
    if !(1..=1000).contains(&limit) {
        return Err(ApiError::bad_request("invalid_parameter", "limit is to be between 1 and 1000"));
    }
    let mut erasures = api.pool.erasures(query.before, limit + 1).await?;
    let more = i64::try_from(erasures.len()).is_ok_and(|count| count > limit);
    erasures.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(Json(Erasures { erasures, more }))
}

impl ErasureRequest {
    fn subject(self) -> Result<Subject, ApiError> {
        let Self { booking_ref, provider, environment, name, document, older_than_days, .. } = self;
        let has_booking = booking_ref.is_some();
        let narrows = provider.is_some() || environment.is_some();
        let booking = booking_ref.map(|booking_ref| Subject::Booking { booking_ref, provider, environment });
        let person = name.map(Subject::Name).into_iter().chain(document.map(Subject::Document));
        let mut subjects = booking.into_iter().chain(person).chain(older_than_days.map(Subject::OlderThan));
        match (subjects.next(), subjects.next()) {
            (Some(subject), None) if has_booking || !narrows => Ok(subject),
            (Some(_), None) => {
                Err(ApiError::bad_request("invalid_body", "provider and environment go with booking_ref only"))
            }
            _ => {
                let message = "give exactly one of booking_ref, name, document and older_than_days";
                Err(ApiError::bad_request("invalid_body", message))
            }
        }
    }
}

impl From<EraseError> for ApiError {
    fn from(error: EraseError) -> Self {
        match error {
            EraseError::Invalid(message) => Self::bad_request("invalid_body", message),
            EraseError::Locked(_) => Self::new(StatusCode::CONFLICT, "locked", error.to_string()),
            EraseError::Feed(error) => error.into(),
        }
    }
}
