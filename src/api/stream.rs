//! `GET /v1/events/stream`: the feed as server-sent events.

use std::{convert::Infallible, sync::Arc};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    Api, ApiError, MAX_STREAMS,
    error::{AnyError, HistoryChanged},
    events::{From, Include, begin},
    extract::Query,
};
use crate::{
    feed::{self, Question},
    ticket_event::{Environment, Status},
};

/// The cursor of the last event that a client has seen; a browser sends it by itself.
const LAST_EVENT_ID: &str = "last-event-id";

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct StreamQuery {
    /// The cursor to go on from; `Last-Event-ID` goes before it.
    after: Option<String>,
    /// Where to begin without a cursor; `start` by default.
    #[param(inline)]
    from: Option<From>,
    #[param(inline)]
    include: Option<Include>,
    provider: Option<String>,
    #[param(inline)]
    environment: Option<Environment>,
    /// Of revisions and overdue bookings; erased items match any.
    #[param(inline)]
    status: Option<Status>,
    booking_ref: Option<String>,
}

/// Streams what happened and what happens, in the order of the feed.
///
/// `data` is an item, `id` its cursor. Every 15 seconds without an item an `id` alone tells the position. A client that is too
/// slow is disconnected, and resumes.
#[utoipa::path(get, path = "/v1/events/stream", tag = "feed",
    params(StreamQuery, ("last-event-id" = Option<String>, Header, description = "The cursor to resume from.")),
    responses((status = 200, body = String, content_type = "text/event-stream"), AnyError, HistoryChanged))]
pub(super) async fn follow(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    Query(query): Query<StreamQuery>,
) -> Result<Response, ApiError> {
    let resumed = headers.get(LAST_EVENT_ID).map(|cursor| cursor.to_str().unwrap_or_default());
    let from = match resumed {
        Some(cursor) => begin(Some(cursor), None)?,
        None => begin(query.after.as_deref(), query.from)?,
    };
    let include_payload = query.include.is_some();
    let question = Question {
        provider: query.provider,
        environment: query.environment.map(|environment| environment.as_str().to_owned()),
        status: query.status.map(|status| status.as_str().to_owned()),
        booking_ref: query.booking_ref,
        ..Question::default()
    };
    let filter = question.filter()?;
    let permit = Arc::clone(&api.streams).try_acquire_owned().map_err(|_| {
        let message = format!("there are {MAX_STREAMS} streams already");
        ApiError::unavailable("busy", message)
    })?;
    let stream = feed::Stream::open(api.feed.clone(), from, filter, include_payload).await?;
    let events = stream::unfold((stream, permit), async |(mut stream, permit)| {
        Some((Ok::<_, Infallible>(stream.next().await?), (stream, permit)))
    });
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];
    Ok((headers, Body::from_stream(events)).into_response())
}
