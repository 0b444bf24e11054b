//! `/v1/unprocessed`: what could not be processed, and its second chance.

use std::sync::Arc;

use axum::{Json, extract::State};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    Api, ApiError,
    error::{AnyError, NotFound},
    extract::{Path, Query, within},
};
use crate::{
    delivery::Reason,
    reprocess::ReprocessedDelivery,
    store::{UnprocessedFilter, UnprocessedRow},
    ticket_event::Environment,
};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    provider: Option<String>,
    environment: Option<Environment>,
    reason: Option<Reason>,
    /// Only those that were reprocessed (true), or wait (false).
    reprocessed: Option<bool>,
    /// The `next` of the page before.
    after: Option<Uuid>,
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u16>,
}

/// Unprocessed deliveries without their bodies.
#[derive(Serialize, ToSchema)]
pub(super) struct UnprocessedPage {
    unprocessed: Vec<UnprocessedRow>,
    /// For `after`; null when the page is empty.
    next: Option<Uuid>,
    more: bool,
}

/// Lists unprocessed deliveries, the newest first.
#[utoipa::path(get, path = "/v1/unprocessed", tag = "unprocessed", params(ListQuery),
    responses((status = 200, body = UnprocessedPage), AnyError))]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Query(query): Query<ListQuery>,
) -> Result<Json<UnprocessedPage>, ApiError> {
    let limit = usize::from(within("limit", query.limit.unwrap_or(100), 1, 1000)?);
    let ListQuery { provider, environment, reason, reprocessed: is_reprocessed, after, .. } = query;
    let filter = UnprocessedFilter { provider, environment, reason, is_reprocessed, since: None };
    let mut unprocessed = api.pool.unprocessed_rows(&filter, after, limit as i64 + 1).await?;
    let more = unprocessed.len() > limit;
    unprocessed.truncate(limit);
    let next = unprocessed.last().map(|row| row.id);
    Ok(Json(UnprocessedPage { unprocessed, next, more }))
}

/// An unprocessed delivery with its body.
#[derive(Serialize, ToSchema)]
pub(super) struct WithBody {
    #[serde(flatten)]
    row: UnprocessedRow,
    /// As it was sent, without the credentials.
    body: String,
    body_encoding: BodyEncoding,
}

/// How `body` shows the bytes.
#[derive(Serialize, ToSchema)]
enum BodyEncoding {
    /// They are text in UTF-8, and `body` is that text.
    #[serde(rename = "utf-8")]
    Utf8,
    #[serde(rename = "base64")]
    Base64,
}

/// Gives one unprocessed delivery, with its body.
#[utoipa::path(get, path = "/v1/unprocessed/{id}", tag = "unprocessed", params(("id" = Uuid, Path)),
    responses((status = 200, body = WithBody), AnyError, NotFound))]
pub(super) async fn get(State(api): State<Arc<Api>>, Path(id): Path<Uuid>) -> Result<Json<WithBody>, ApiError> {
    let (row, body) = api.pool.unprocessed_row(id).await?.ok_or_else(no_such_delivery)?;
    let (body, body_encoding) = match String::from_utf8(body) {
        Ok(text) => (text, BodyEncoding::Utf8),
        Err(error) => (STANDARD.encode(error.as_bytes()), BodyEncoding::Base64),
    };
    Ok(Json(WithBody { row, body, body_encoding }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ReprocessQuery {
    /// Only says what would become of it.
    #[param(default = false)]
    dry_run: Option<bool>,
}

/// Runs an unprocessed delivery through today's code again.
#[utoipa::path(post, path = "/v1/unprocessed/{id}/reprocess", tag = "unprocessed",
    params(("id" = Uuid, Path), ReprocessQuery),
    responses((status = 200, body = ReprocessedDelivery), AnyError, NotFound))]
pub(super) async fn reprocess(
    State(api): State<Arc<Api>>,
    Path(id): Path<Uuid>,
    Query(query): Query<ReprocessQuery>,
) -> Result<Json<ReprocessedDelivery>, ApiError> {
    let reprocessed = api.reprocessor.reprocess(id, query.dry_run.unwrap_or_default()).await?;
    reprocessed.map(Json).ok_or_else(no_such_delivery)
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ReprocessAllQuery {
    provider: Option<String>,
    environment: Option<Environment>,
    reason: Option<Reason>,
    /// Received then or later.
    #[serde(default, with = "time::serde::rfc3339::option")]
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<OffsetDateTime>,
    /// The `next` of the answer before.
    after: Option<Uuid>,
    #[param(minimum = 1, maximum = 500, default = 100)]
    limit: Option<u16>,
    /// Only says what would become of each, by itself.
    #[param(default = false)]
    dry_run: Option<bool>,
}

/// What became of several deliveries, in the order of receipt.
#[derive(Serialize, ToSchema)]
pub(super) struct ReprocessedPage {
    reprocessed: Vec<ReprocessedDelivery>,
    /// For `after`; null when there was none.
    next: Option<Uuid>,
    more: bool,
}

/// Reprocesses the deliveries that wait, the oldest first, up to `limit` and for about ten seconds.
#[utoipa::path(post, path = "/v1/unprocessed/reprocess", tag = "unprocessed", params(ReprocessAllQuery),
    responses((status = 200, body = ReprocessedPage), AnyError))]
pub(super) async fn reprocess_all(
    State(api): State<Arc<Api>>,
    Query(query): Query<ReprocessAllQuery>,
) -> Result<Json<ReprocessedPage>, ApiError> {
    let limit = usize::from(within("limit", query.limit.unwrap_or(100), 1, 500)?);
    let ReprocessAllQuery { provider, environment, reason, since, after, dry_run, .. } = query;
    let filter = UnprocessedFilter { provider, environment, reason, is_reprocessed: Some(false), since };
    let dry_run = dry_run.unwrap_or_default();
    let page = api.reprocessor.reprocess_waiting(&filter, after, limit, dry_run).await?;
    Ok(Json(ReprocessedPage { reprocessed: page.deliveries, next: page.next, more: page.more }))
}

fn no_such_delivery() -> ApiError {
    ApiError::not_found("there is no unprocessed delivery with this id")
}
