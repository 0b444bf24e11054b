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
    forward::consumer_name,
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
    /// Where it sends to. What follows the host is `[redacted]`: it may be a token.
    url: String,
    /// Whether a replica works on it.
    active: bool,
    /// Null: it is not paused.
    paused: Option<Pause>,
    /// A cursor: every item up to there is delivered, skipped, or not wanted. Null: it has not begun yet.
    position: Option<String>,
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
    let mut begun = if names.is_empty() { Vec::new() } else { api.pool.forwards(&names).await? };
    let mut forwards = Vec::with_capacity(names.len());
    for (configured, consumer) in api.forwards.iter().zip(names) {
        forwards.push(match begun.iter().position(|status| status.name == consumer) {
            Some(found) => describe(&api, configured, begun.swap_remove(found)).await?,
            None => not_begun(configured),
        });
    }
    Ok(Json(Forwards { forwards }))
}

/// Pauses a forward: within two seconds it begins no request any more.
#[utoipa::path(post, path = "/v1/forwards/{name}/pause", tag = "forwards", params(("name" = String, Path)),
    responses((status = 200, body = Forward), AnyError, NotFound))]
pub(super) async fn pause(State(api): State<Arc<Api>>, Path(name): Path<String>) -> Result<Json<Forward>, ApiError> {
    let forward = find_configured(&api, &name)?;
    api.pool.pause_forward(&consumer_name(&name)).await?;
    show(&api, forward).await
}

/// Resumes a forward: within two seconds it tries everything that waits, also what would be tried again later, and what the
/// receiver wanted later (`Retry-After`).
#[utoipa::path(post, path = "/v1/forwards/{name}/resume", tag = "forwards", params(("name" = String, Path)),
    responses((status = 200, body = Forward), AnyError, NotFound))]
pub(super) async fn resume(State(api): State<Arc<Api>>, Path(name): Path<String>) -> Result<Json<Forward>, ApiError> {
    let forward = find_configured(&api, &name)?;
    api.pool.resume_forward(&consumer_name(&name)).await?;
    show(&api, forward).await
}

/// Gives up an item that cannot be delivered, which is recorded. The next item of its booking is tried. If it is being sent just
/// now and the receiver accepts it, it is delivered, and not recorded as skipped any more.
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
    let forward = find_configured(&api, &name)?;
    if !api.pool.skip_forward_item(&consumer_name(&name), id).await? {
        return Err(ApiError::not_found("no item with this id waits here: it was delivered, or was not tried yet"));
    }
    show(&api, forward).await
}

/// A forward that has begun.
async fn show(api: &Api, configured: &ConfiguredForward) -> Result<Json<Forward>, ApiError> {
    let status = api.pool.forwards(&[consumer_name(&configured.name)]).await?.pop();
    let not_begun = || ApiError::unavailable("not_begun", "this forward has not begun yet");
    Ok(Json(describe(api, configured, status.ok_or_else(not_begun)?).await?))
}

async fn describe(api: &Api, configured: &ConfiguredForward, status: ForwardStatus) -> Result<Forward, ApiError> {
    Ok(Forward {
        name: configured.name.clone(),
        url: configured.url.clone(),
        active: status.is_active,
        paused: status.paused.map(|(reason, since)| Pause { reason, since }),
        position: Some(status.position),
        lag_seconds: status.lag_seconds,
        lag_events: status.lag_events,
        blocked_bookings: status.blocked_bookings,
        blocked: api.pool.blocked_items(&status.name, MAX_LISTED).await?,
        skipped_items: status.skipped,
        skipped: api.pool.skipped_items(&status.name, MAX_LISTED).await?,
    })
}

fn not_begun(configured: &ConfiguredForward) -> Forward {
    Forward {
        name: configured.name.clone(),
        url: configured.url.clone(),
        active: false,
        paused: None,
        position: None,
        lag_seconds: 0.0,
        lag_events: 0,
        blocked_bookings: 0,
        blocked: Vec::new(),
        skipped_items: 0,
        skipped: Vec::new(),
    }
}

fn find_configured<'a>(api: &'a Api, name: &str) -> Result<&'a ConfiguredForward, ApiError> {
    let unknown = || ApiError::not_found("there is no forward of this name in the configuration");
    api.forwards.iter().find(|forward| forward.name == name).ok_or_else(unknown)
}
