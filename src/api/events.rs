//! `GET /v1/events`: pages of the feed.

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Api, ApiError,
    error::{AnyError, HistoryChanged},
    extract::Query,
};
use crate::{
    feed,
    store::{Cursor, FeedError, Filter, Item, Items},
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
    limit: Option<u16>,
    /// Seconds for which an empty page waits for the next item.
    #[param(minimum = 0, maximum = 30, default = 0)]
    wait: Option<u16>,
    /// What else is to be in an item.
    include: Option<Include>,
    provider: Option<String>,
    environment: Option<Environment>,
    /// Of revisions and overdue bookings; erased items match any.
    status: Option<Status>,
    booking_ref: Option<String>,
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

/// Lists what happened, in the order of the feed.
#[utoipa::path(get, path = "/v1/events", tag = "feed", params(EventsQuery),
    responses((status = 200, body = Page), AnyError, HistoryChanged))]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Query(query): Query<EventsQuery>,
) -> Result<Json<Page>, ApiError> {
    let limit = within("limit", query.limit.unwrap_or(100), 1..=1000)?.into();
    let wait = Duration::from_secs(within("wait", query.wait.unwrap_or(0), 0..=30)?.into());
    let from = begin(query.after.as_deref(), query.from)?;
    let page = api.feed.page(from, &query.filter(), limit, query.include.is_some(), wait).await?;
    let Items { items, next, more } = page;
    Ok(Json(Page { events: items, next: next.to_string(), more }))
}

impl EventsQuery {
    fn filter(&self) -> Filter {
        Filter {
            provider: self.provider.clone(),
            environment: self.environment.map(|environment| environment.as_str().to_owned()),
            status: self.status.map(|status| status.as_str().to_owned()),
            booking_ref: self.booking_ref.clone(),
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

pub(super) fn within(name: &str, value: u16, range: RangeInclusive<u16>) -> Result<u16, ApiError> {
    if range.contains(&value) {
        return Ok(value);
    }
    let message = format!("{name} is to be between {} and {}", range.start(), range.end());
    Err(ApiError::bad_request("invalid_parameter", message))
}
