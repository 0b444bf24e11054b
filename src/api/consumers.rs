//! `/v1/consumers`: named positions in the feed, for consumers that keep none themselves.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::{
    Api, ApiError,
    error::{AnyError, ErrorBody, HistoryChanged, NotFound},
    extract::{self, Path},
};
use crate::{
    forward::{CONSUMER_PREFIX, consumer_name},
    store::{self, Cursor, FeedError, MAX_CONSUMERS, SetPosition},
};

/// Positions of the service's own tasks; those of forwards are its own, too.
const RESERVED_NAMES: [&str; 3] = ["bookings", "retention", "search"];

const MAX_NAME_LENGTH: usize = 63;

/// A named position, and how far it is behind.
#[derive(Serialize, ToSchema)]
pub(super) struct Consumer {
    name: String,
    /// A cursor.
    position: String,
    #[serde(with = "time::serde::rfc3339")]
    updated_at: OffsetDateTime,
    /// Since the first item behind the position was recorded; 0 when there is none.
    lag_seconds: f64,
    /// Items behind the position, counted up to 10,000.
    lag_events: i64,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Consumers {
    consumers: Vec<Consumer>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPosition {
    /// A cursor: `next` of a page, or the `cursor` of an item.
    position: String,
    /// Whether it may be before the present position.
    #[serde(default)]
    rewind: bool,
}

impl From<store::Consumer> for Consumer {
    fn from(consumer: store::Consumer) -> Self {
        let store::Consumer { name, position, updated_at, lag_seconds, lag_events } = consumer;
        Self { name, position, updated_at, lag_seconds, lag_events }
    }
}

/// Lists the named positions.
#[utoipa::path(get, path = "/v1/consumers", tag = "feed", responses((status = 200, body = Consumers), AnyError))]
pub(super) async fn list(State(api): State<Arc<Api>>) -> Result<Json<Consumers>, ApiError> {
    let consumers = api.pool.consumers(None).await?.into_iter().map(Consumer::from).collect();
    Ok(Json(Consumers { consumers }))
}

/// One named position.
#[utoipa::path(get, path = "/v1/consumers/{name}", tag = "feed", params(("name" = String, Path, pattern = "^[a-z0-9_-]{1,63}$")),
    responses((status = 200, body = Consumer), AnyError, NotFound))]
pub(super) async fn get(State(api): State<Arc<Api>>, Path(name): Path<String>) -> Result<Json<Consumer>, ApiError> {
    check_name(&name)?;
    Ok(Json(find(&api, &name).await?))
}

/// Sets a named position, forwards only unless `rewind`.
#[utoipa::path(put, path = "/v1/consumers/{name}", tag = "feed", params(("name" = String, Path, pattern = "^[a-z0-9_-]{1,63}$")), request_body = NewPosition,
    responses(
        (status = 200, body = Consumer, description = "It was moved."),
        (status = 201, body = Consumer, description = "It is new."),
        (status = 409, body = ErrorBody, description = "It would go back, or there are too many, or the name is reserved."),
        (status = 413, body = ErrorBody, description = "The body is too large."),
        (status = 415, body = ErrorBody, description = "The body is not application/json."),
        AnyError, HistoryChanged,
    ))]
pub(super) async fn put(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    extract::Json(NewPosition { position, rewind }): extract::Json<NewPosition>,
) -> Result<(StatusCode, Json<Consumer>), ApiError> {
    check_name(&name)?;
    if name.starts_with(CONSUMER_PREFIX) {
        return Err(reserved());
    }
    check_not_reserved(&name)?;
    let cursor: Cursor = position.parse().map_err(FeedError::from)?;
    let conflict = |code, message: String| Err(ApiError::new(StatusCode::CONFLICT, code, message));
    let status = match api.pool.set_position(&name, cursor, rewind).await? {
        SetPosition::Created => StatusCode::CREATED,
        SetPosition::Moved => StatusCode::OK,
        SetPosition::WouldRewind => {
            let message = "the position is before the present one; to go back say \"rewind\": true";
            return conflict("would_rewind", message.to_owned());
        }
        SetPosition::TooMany => {
            let message = format!("there are {MAX_CONSUMERS} named positions already; delete one that is not used");
            return conflict("too_many_consumers", message);
        }
    };
    Ok((status, Json(find(&api, &name).await?)))
}

/// Deletes a named position. That of a forward that is not in the configuration any more takes with it what is recorded of the
/// forward.
#[utoipa::path(delete, path = "/v1/consumers/{name}", tag = "feed", params(("name" = String, Path, pattern = "^[a-z0-9_-]{1,63}$")),
    responses(
        (status = 204, description = "It is deleted."),
        (status = 409, body = ErrorBody, description = "The name is reserved."),
        AnyError, NotFound,
    ))]
pub(super) async fn delete(State(api): State<Arc<Api>>, Path(name): Path<String>) -> Result<StatusCode, ApiError> {
    check_name(&name)?;
    if api.forwards.iter().any(|forward| consumer_name(&forward.name) == name) {
        return Err(reserved());
    }
    check_not_reserved(&name)?;
    if api.pool.delete_consumer(&name).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    // another replica forwards with it
    find(&api, &name).await.and_then(|_| Err(reserved()))
}

async fn find(api: &Api, name: &str) -> Result<Consumer, ApiError> {
    api.pool.consumers(Some(name)).await?.pop().map(Consumer::from).ok_or_else(unknown)
}

fn unknown() -> ApiError {
    ApiError::not_found("there is no consumer of this name")
}

fn check_name(name: &str) -> Result<(), ApiError> {
    let is_valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    if name.is_empty() || name.len() > MAX_NAME_LENGTH || !name.bytes().all(is_valid) {
        let message = format!("a name has 1 to {MAX_NAME_LENGTH} of: a-z, 0-9, - and _");
        return Err(ApiError::bad_request("invalid_name", message));
    }
    Ok(())
}

fn check_not_reserved(name: &str) -> Result<(), ApiError> {
    if RESERVED_NAMES.contains(&name) {
        return Err(reserved());
    }
    Ok(())
}

fn reserved() -> ApiError {
    ApiError::new(StatusCode::CONFLICT, "reserved_name", "this position is the service's own")
}
