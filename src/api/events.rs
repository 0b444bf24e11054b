//! `GET /v1/events`: pages of the feed, and questions about events. `GET /v1/events/{id}`: one event.

use std::{sync::Arc, time::Duration};

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    Api, ApiError,
    error::{AnyError, HistoryChanged, NotFound},
    extract::{Path, Query},
};
use crate::{
    feed::{self, Question},
    store::{Cursor, FeedError, Item, Items},
    ticket_event::{Environment, Status},
};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EventsQuery {
    /// The cursor to go on from: `next` of the page before, or the `cursor` of an item.
    after: Option<String>,
    /// Where to begin without a cursor; `start` by default.
    from: Option<From>,
    /// Items of a page, which may end earlier, at 4 MiB.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<i64>,
    /// Seconds for which an empty page waits for the next item.
    #[param(minimum = 0, maximum = 30, default = 0)]
    wait: Option<u64>,
    /// What else is to be in an item.
    include: Option<Include>,
    provider: Option<String>,
    environment: Option<Environment>,
    /// Of revisions and overdue bookings; erased items match any.
    status: Option<Status>,
    booking_ref: Option<String>,
    /// Revisions with this record locator of any kind, or booking number, in any case.
    #[param(max_length = 200)]
    pnr: Option<String>,
    /// Revisions with this ticket number, with or without dashes and spaces.
    #[param(max_length = 200)]
    ticket: Option<String>,
    /// Revisions in whose passengers' names all these words occur, in any order and case, accents ignored.
    #[param(max_length = 200)]
    name: Option<String>,
    /// Revisions received then or later (RFC 3339).
    #[serde(default, with = "time::serde::rfc3339::option")]
    received_from: Option<OffsetDateTime>,
    /// Revisions received before (RFC 3339).
    #[serde(default, with = "time::serde::rfc3339::option")]
    received_to: Option<OffsetDateTime>,
}

#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum From {
    /// At the first item.
    Start,
    /// Behind the newest item.
    Now,
}

#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Include {
    Payload,
}

/// A page of the feed.
#[derive(Serialize, ToSchema)]
pub(super) struct Page {
    events: Vec<Item>,
    /// The cursor to go on from, also when the page is empty.
    next: String,
    /// Whether the next page has something now: with filters perhaps only items that do not match.
    more: bool,
}

/// Lists what happened, in the order of the feed: all of it, or what matches all the filters that are given.
#[utoipa::path(get, path = "/v1/events", tag = "feed", params(EventsQuery),
    responses((status = 200, body = Page), AnyError, HistoryChanged))]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Query(query): Query<EventsQuery>,
) -> Result<Json<Page>, ApiError> {
    let limit = within("limit", query.limit.unwrap_or(100), 1, 1000)?;
    let wait = Duration::from_secs(within("wait", query.wait.unwrap_or(0), 0, 30)?);
    let from = begin(query.after.as_deref(), query.from)?;
    let include_payload = query.include.is_some();
    let filter = query.question().filter()?;
    let page = api.feed.page(from, &filter, limit, include_payload, wait).await?;
    let Items { items, next, more } = page;
    Ok(Json(Page { events: items, next: next.to_string(), more }))
}

/// One event, with its payload.
#[utoipa::path(get, path = "/v1/events/{id}", tag = "feed", params(("id" = Uuid, Path, description = "Of the event.")),
    responses((status = 200, body = Item), AnyError, NotFound))]
pub(super) async fn get(State(api): State<Arc<Api>>, Path(id): Path<Uuid>) -> Result<Json<Item>, ApiError> {
    match api.pool.event(id).await? {
        Some(event) => Ok(Json(event)),
        None => Err(ApiError::not_found("there is no event with this id")),
    }
}

impl EventsQuery {
    fn question(self) -> Question {
        Question {
            provider: self.provider,
            environment: self.environment.map(|environment| environment.as_str().to_owned()),
            status: self.status.map(|status| status.as_str().to_owned()),
            booking_ref: self.booking_ref,
            pnr: self.pnr,
            ticket: self.ticket,
            name: self.name,
            received_from: self.received_from,
            received_to: self.received_to,
        }
    }
}

/// Where a reader begins: at the start by default.
pub(super) fn begin(after: Option<&str>, from: Option<From>) -> Result<feed::From, ApiError> {
    match (after, from) {
        (Some(cursor), None) => Ok(feed::From::After(cursor.parse().map_err(FeedError::from)?)),
        (None, Some(From::Now)) => Ok(feed::From::Now),
        (None, Some(From::Start) | None) => Ok(feed::From::After(Cursor::START)),
        (Some(_), Some(_)) => Err(ApiError::bad_request("invalid_parameter", "give either after or from, not both")),
    }
}

fn within<T: PartialOrd + std::fmt::Display>(name: &str, value: T, least: T, most: T) -> Result<T, ApiError> {
    if value < least || value > most {
        return Err(ApiError::bad_request("invalid_parameter", format!("{name} is to be between {least} and {most}")));
    }
    Ok(value)
}
