//! `/v1/forwards`: how far each forward is, pausing, resuming, and giving up an item.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    Api, ApiError,
    error::{AnyError, ErrorBody, NotFound},
    extract::{self, Path},
};
use crate::{
    config::ForwardSettings,
    forward::{CONSUMER_PREFIX, consumer_name},
    store::{BlockedItem, ForwardStatus, PauseReason, SkippedItem},
};

/// Of the items that are listed.
const MAX_LISTED: i64 = 100;

/// A forward of the configuration.
pub struct ConfiguredForward {
    pub name: String,
    /// Without what may be a token.
    pub url: String,
}

impl ConfiguredForward {
    pub fn of(settings: &ForwardSettings) -> Self {
        Self { name: settings.name.clone(), url: settings.url.to_string() }
    }
}

/// A forward, and what it could not deliver.
#[derive(Serialize, ToSchema)]
pub(super) struct Forward {
    /// As in the configuration.
    name: String,
    /// Where it sends to: scheme, host and port.
    url: String,
    /// Whether a replica works on it.
    active: bool,
    /// Null: it is not paused.
    paused: Option<Pause>,
    /// A cursor: every item up to there is delivered, skipped, or not wanted.
    position: String,
    /// Since the oldest item was recorded that is not delivered; 0 when there is none.
    lag_seconds: f64,
    /// Items from that one on, counted up to 10,000.
    lag_events: i64,
    /// Bookings of which an item was tried and not delivered.
    blocked_bookings: i64,
    /// These items, the oldest 100.
    blocked: Vec<BlockedItem>,
    /// Items that were ever skipped.
    skipped_items: i64,
    /// The last 100 of them.
    skipped: Vec<SkippedItem>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Pause {
    reason: PauseReason,
    #[serde(with = "time::serde::rfc3339")]
    since: OffsetDateTime,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Forwards {
    forwards: Vec<Forward>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Skip {
    /// Of an item that waits to be delivered: see `blocked`.
    id: Uuid,
}

/// Lists the forwards of the configuration.
#[utoipa::path(get, path = "/v1/forwards", tag = "forwards", responses((status = 200, body = Forwards), AnyError))]
pub(super) async fn list(State(api): State<Arc<Api>>) -> Result<Json<Forwards>, ApiError> {
    let names: Vec<_> = api.forwards.iter().map(|forward| consumer_name(&forward.name)).collect();
    let mut forwards = Vec::with_capacity(names.len());
    if !names.is_empty() {
        for status in api.pool.forwards(&names).await? {
            forwards.push(describe(&api, status).await?);
        }
    }
    Ok(Json(Forwards { forwards }))
}

/// Pauses a forward: within two seconds it begins no request any more.
#[utoipa::path(post, path = "/v1/forwards/{name}/pause", tag = "forwards", params(("name" = String, Path)),
    responses((status = 200, body = Forward), AnyError, NotFound))]
pub(super) async fn pause(State(api): State<Arc<Api>>, Path(name): Path<String>) -> Result<Json<Forward>, ApiError> {
    let consumer = check_configured(&api, &name)?;
    let is_known = api.pool.pause_forward(&consumer).await?;
    if is_known { find(&api, &consumer).await } else { Err(not_begun()) }
}

/// Resumes a forward: within two seconds it tries everything that waits, also what would be tried again later.
#[utoipa::path(post, path = "/v1/forwards/{name}/resume", tag = "forwards", params(("name" = String, Path)),
    responses((status = 200, body = Forward), AnyError, NotFound))]
pub(super) async fn resume(State(api): State<Arc<Api>>, Path(name): Path<String>) -> Result<Json<Forward>, ApiError> {
    let consumer = check_configured(&api, &name)?;
    let is_known = api.pool.resume_forward(&consumer).await?;
    if is_known { find(&api, &consumer).await } else { Err(not_begun()) }
}

/// Gives up an item that cannot be delivered, which is recorded. The next item of its booking is tried.
#[utoipa::path(post, path = "/v1/forwards/{name}/skip", tag = "forwards", params(("name" = String, Path)),
    request_body = Skip,
    responses(
        (status = 200, body = Forward),
        (status = 413, body = ErrorBody, description = "The body is too large."),
        (status = 415, body = ErrorBody, description = "The body is not application/json."),
        AnyError, NotFound,
    ))]
pub(super) async fn skip(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    extract::Json(Skip { id }): extract::Json<Skip>,
) -> Result<Json<Forward>, ApiError> {
    let consumer = check_configured(&api, &name)?;
    if !api.pool.skip_forward_item(&consumer, id).await? {
        return Err(ApiError::not_found("no item with this id waits here: it was delivered, or was not tried yet"));
    }
    find(&api, &consumer).await
}

async fn find(api: &Api, consumer: &str) -> Result<Json<Forward>, ApiError> {
    let status = api.pool.forwards(&[consumer.to_owned()]).await?.pop().ok_or_else(not_begun)?;
    Ok(Json(describe(api, status).await?))
}

async fn describe(api: &Api, status: ForwardStatus) -> Result<Forward, ApiError> {
    let blocked = api.pool.blocked_items(&status.name, MAX_LISTED).await?;
    let skipped = api.pool.skipped_items(&status.name, MAX_LISTED).await?;
    let name = status.name.strip_prefix(CONSUMER_PREFIX).unwrap_or_default();
    let url = api.forwards.iter().find(|forward| forward.name == name).map(|forward| forward.url.clone());
    Ok(Forward {
        name: name.to_owned(),
        url: url.unwrap_or_default(),
        active: status.is_active,
        paused: status.paused.map(|(reason, since)| Pause { reason, since }),
        position: status.position,
        lag_seconds: status.lag_seconds,
        lag_events: status.lag_events,
        blocked_bookings: status.blocked_bookings,
        blocked,
        skipped_items: status.skipped,
        skipped,
    })
}

/// The name of its consumer.
fn check_configured(api: &Api, name: &str) -> Result<String, ApiError> {
    if api.forwards.iter().any(|forward| forward.name == name) {
        Ok(consumer_name(name))
    } else {
        Err(ApiError::not_found("there is no forward of this name in the configuration"))
    }
}

fn not_begun() -> ApiError {
    ApiError::unavailable("not_begun", "this forward has not begun yet")
}
