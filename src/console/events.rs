//! The events, newest first, and one box that finds a booking by whatever of it somebody has at hand.

use std::sync::Arc;

use askama::Template;
use axum::{
    Extension,
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;
use time::OffsetDateTime;

use super::{
    Console,
    html::{self, StatusBadge, Time, booking_path, parse_local},
    page::{Frame, Page, Place},
    passengers::names,
    session::Session,
};
use crate::{
    api::{ApiError, extract::Query},
    feed::Question,
    store::{Content, Cursor, Direction, FeedError, Filter, Item, Items, MAX_PAGE_BYTES},
    ticket_event::Status,
};

const PAGE_ITEMS: usize = 50;

/// As the form sends it: what is empty is not asked.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct EventsQuery {
    q: String,
    provider: String,
    environment: String,
    status: String,
    /// In UTC.
    from: String,
    to: String,
    /// A cursor: only what is before it.
    before: String,
}

#[derive(Template)]
#[template(path = "events.html")]
struct EventsPage {
    frame: Frame,
    query: EventsQuery,
    rows: Vec<Row>,
    /// The address of the next page.
    older: Option<String>,
    /// Newer events appear by themselves.
    is_live: bool,
    problem: Option<String>,
}

/// An item of the feed.
struct Row {
    id: String,
    at: Time,
    provider: String,
    environment: String,
    booking_ref: String,
    path: String,
    what: What,
}

enum What {
    Revision {
        status: StatusBadge,
        previous: Option<StatusBadge>,
        revision: i32,
        late: bool,
        pnr: String,
        names: String,
        tickets: String,
        warnings: usize,
    },
    Erased,
    Overdue {
        status: Option<StatusBadge>,
    },
}

pub(super) async fn list(
    State(console): State<Arc<Console>>,
    Extension(session): Extension<Session>,
    Query(query): Query<EventsQuery>,
) -> Result<Response, ApiError> {
    if let Ok(id) = query.q.trim().parse()
        && let Some(address) = console.event_address(id).await?
    {
        return Ok(Redirect::to(&address).into_response());
    }
    let before = Some(query.before.as_str()).filter(|cursor| !cursor.is_empty());
    let before: Option<Cursor> = before.map(str::parse).transpose().map_err(FeedError::from)?;
    let (found, problem) = match query.filters() {
        Ok(filters) => (console.newest(&filters, before).await?, None),
        Err(problem) => (Items { items: Vec::new(), next: Cursor::START, more: false }, Some(problem)),
    };
    let older = found.more.then(|| query.address(&found.next.to_string()));
    Ok(Page(EventsPage {
        frame: Frame::new(Place::Events, &session),
        rows: found.items.iter().map(Row::of).collect(),
        older,
        is_live: before.is_none() && problem.is_none(),
        query,
        problem,
    })
    .into_response())
}

impl Console {
    /// The newest items that match any of the filters, before a cursor.
    async fn newest(&self, filters: &[Filter], before: Option<Cursor>) -> Result<Items, FeedError> {
        let pool = &self.api.pool;
        let mut snapshot = pool.read().await?;
        let (mut items, mut end) = (Vec::new(), None);
        for filter in filters {
            let (direction, limit) = (Direction::NewestFirst, PAGE_ITEMS as i64);
            let found = pool.find_items(&mut snapshot, filter, before, direction, limit, MAX_PAGE_BYTES, false).await?;
            items.extend(found.items);
            // what is before it was not looked at for this filter
            if found.more && end.is_none_or(|end: Cursor| end.position < found.next.position) {
                end = Some(found.next);
            }
        }
        Ok(merge(items, end))
    }
}

/// Items of several searches, each once, newest first: those up to where all of the searches have looked.
fn merge(mut items: Vec<Item>, end: Option<Cursor>) -> Items {
    items.sort_by_key(|item| std::cmp::Reverse(item.cursor.position));
    items.dedup_by_key(|item| item.cursor.position);
    items.retain(|item| end.is_none_or(|end| item.cursor.position >= end.position));
    let is_cut = items.len() > PAGE_ITEMS;
    items.truncate(PAGE_ITEMS);
    let next = match (items.last(), end) {
        (Some(last), _) if is_cut => last.cursor,
        (_, Some(end)) => end,
        _ => Cursor::START,
    };
    Items { items, next, more: is_cut || end.is_some() }
}

impl EventsQuery {
    /// One for each meaning of the text in the box.
    fn filters(&self) -> Result<Vec<Filter>, String> {
        let given = |text: &str| Some(text.trim()).filter(|text| !text.is_empty()).map(str::to_owned);
        let question = Question {
            provider: given(&self.provider),
            environment: given(&self.environment),
            status: given(&self.status),
            received_from: parse_local("from", &self.from)?,
            received_to: parse_local("to", &self.to)?,
            ..Question::default()
        };
        let Some(text) = given(&self.q) else {
            return Ok(vec![question.filter().map_err(|error| error.to_string())?]);
        };
        let base = || question.clone();
        let questions = [
            Question { booking_ref: Some(text.clone()), ..base() },
            Question { booking_ref: Some(text.to_uppercase()).filter(|upper| *upper != text), ..base() },
            Question { pnr: Some(text.clone()), ..base() },
            Question { ticket: Some(text.clone()), ..base() },
            Question { name: Some(without_titles(&text)), ..base() },
        ];
        let questions = questions.into_iter().filter(|question| {
            let Question { booking_ref, pnr, ticket, name, .. } = question;
            [booking_ref, pnr, ticket, name].into_iter().any(Option::is_some)
        });
        // a text without a digit is no ticket number
        let filters: Vec<_> = questions.map(Question::filter).collect();
        let (filters, errors): (Vec<_>, Vec<_>) = filters.into_iter().partition(Result::is_ok);
        let filters: Vec<_> = filters.into_iter().flatten().collect();
        match errors.into_iter().find_map(Result::err) {
            Some(error) if filters.is_empty() => Err(error.to_string()),
            _ => Ok(filters),
        }
    }

    /// Of the items before a cursor.
    fn address(&self, before: &str) -> String {
        let Self { q, provider, environment, status, from, to, .. } = self;
        let values = [
            ("q", q.as_str()),
            ("provider", provider),
            ("environment", environment),
            ("status", status),
            ("from", from),
            ("to", to),
            ("before", before),
        ];
        format!("/events{}", html::query(&values))
    }

    fn is_filtered(&self) -> bool {
        self.address("") != "/events"
    }

    /// What can be chosen, and whether it is.
    fn statuses(&self) -> Vec<(&'static str, bool)> {
        Status::ALL.map(|status| (status.as_str(), status.as_str() == self.status)).to_vec()
    }
}

/// A name as the table shows it begins with a title, which is not searched.
fn without_titles(name: &str) -> String {
    let is_title =
        |word: &&str| ["mr", "mrs", "ms", "miss", "mstr", "dr"].contains(&word.to_lowercase().trim_end_matches('.'));
    let words: Vec<_> = name.split_whitespace().skip_while(is_title).collect();
    if words.is_empty() { name.to_owned() } else { words.join(" ") }
}

impl Row {
    fn of(item: &Item) -> Self {
        let content = &item.content;
        let badge = |status: &String| StatusBadge(status.clone());
        let (at, what): (OffsetDateTime, _) = match content {
            Content::Revision(revision) => {
                let what = What::Revision {
                    status: badge(&revision.status),
                    previous: revision.previous_status.as_ref().filter(|before| **before != revision.status).map(badge),
                    revision: revision.revision,
                    late: revision.late,
                    pnr: revision.pnr.clone().unwrap_or_default(),
                    names: names(&revision.passengers),
                    tickets: revision.ticket_numbers.join(", "),
                    warnings: revision.warnings.len(),
                };
                (revision.received_at, what)
            }
            Content::Erased(erased) => (erased.recorded_at, What::Erased),
            Content::Overdue(overdue) => {
                (overdue.recorded_at, What::Overdue { status: overdue.status.as_ref().map(badge) })
            }
        };
        Self {
            id: content.id().to_string(),
            at: Time(at),
            provider: content.provider().to_owned(),
            environment: content.environment().to_owned(),
            booking_ref: content.booking_ref().to_owned(),
            path: booking_path(content.provider(), content.environment(), content.booking_ref()),
            what,
        }
    }
}
