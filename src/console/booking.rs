//! A booking: its state, its passengers, and what each revision changed. Personal data that is masked is shown when somebody asks
//! for it, which is logged.

use std::sync::Arc;

use askama::Template;
use axum::{
    Extension,
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;
use uuid::Uuid;

use super::{
    Client, Console,
    html::{self, StatusBadge, Time},
    page::{Frame, Page, Place},
    passengers::Passenger,
    payload::{Part, pretty},
    session::Session,
};
use crate::{
    addresses::ClientPrefix,
    api::{
        ApiError, check_key,
        extract::{Path, Query},
    },
    bookings::{Changes, Difference, History},
    store::{BookingKey, BookingRevision, BookingState, Content, Revision},
    ticket_event::Environment,
};

#[derive(Template)]
#[template(path = "booking.html")]
struct BookingPage {
    frame: Frame,
    key: BookingKey,
    state: BookingState,
    status: Option<StatusBadge>,
    /// The newest first.
    revisions: Vec<ShownRevision>,
    is_truncated: bool,
    /// The event whose passengers and payload are shown: the newest that is not late, or the one that was asked for.
    event: Option<Event>,
}

impl BookingPage {
    /// It updates by itself, unless it is the answer to somebody who asked for personal data.
    fn is_live(&self) -> bool {
        self.event.as_ref().is_none_or(|event| event.is_masked)
    }

    /// Those of earlier revisions only.
    fn earlier_tickets(&self) -> Vec<&str> {
        let present = self.state.ticket_numbers.as_deref().unwrap_or_default();
        let earlier = self.state.all_ticket_numbers.iter().filter(|ticket| !present.contains(ticket));
        earlier.map(String::as_str).take(20).collect()
    }
}

struct ShownRevision {
    id: Uuid,
    revision: i32,
    late: bool,
    status: StatusBadge,
    received_at: Time,
    delivery_count: i32,
    last_received_at: Time,
    remark: Option<String>,
    warnings: Vec<String>,
    changes: Vec<String>,
}

struct Event {
    id: Uuid,
    revision: i32,
    /// `None`: this version cannot read them.
    passengers: Option<Vec<Passenger>>,
    /// `None`: it was erased.
    payload: Option<Vec<Part>>,
    account: String,
    is_masked: bool,
}

#[derive(Default, Deserialize)]
pub(super) struct BookingQuery {
    /// Whose passengers and payload are shown; by default those of the newest revision that is not late.
    event: Option<Uuid>,
}

/// `GET /bookings/{provider}/{environment}/{booking_ref}`
pub(super) async fn show(
    State(console): State<Arc<Console>>,
    Extension(session): Extension<Session>,
    Path((provider, environment, booking_ref)): Path<(String, Environment, String)>,
    Query(query): Query<BookingQuery>,
) -> Result<Response, ApiError> {
    let key = check_key(&provider, environment, &booking_ref)?;
    let history = console.api.bookings.history(&key).await?.ok_or_else(unknown)?;
    let event = match query.event.or(history.state.event_id) {
        Some(id) => console.event(id, true).await?.filter(|(_, of)| *of == key).map(|(event, _)| event),
        None => None,
    };
    Ok(page(&session, key, history, event).into_response())
}

/// An event by its id: the page of its booking that shows it.
pub(super) async fn show_event(
    State(console): State<Arc<Console>>,
    Path(id): Path<Uuid>,
) -> Result<Redirect, ApiError> {
    let address = console.event_address(id).await?.ok_or_else(unknown)?;
    Ok(Redirect::to(&address))
}

/// `POST /events/{id}/reveal`: the booking with the personal data of one of its events.
pub(super) async fn reveal(
    State(console): State<Arc<Console>>,
    Extension(session): Extension<Session>,
    Extension(client): Extension<Client>,
    Path(id): Path<Uuid>,
) -> Result<Response, ApiError> {
    let (event, key) = console.event(id, false).await?.ok_or_else(unknown)?;
    let history = console.api.bookings.history(&key).await?.ok_or_else(unknown)?;
    tracing::info!(
        name = session.name,
        client.address = %ClientPrefix::of(client.address),
        event.id = %id,
        provider = key.provider,
        environment = key.environment,
        booking.reference = key.booking_ref,
        "personal data was shown in the console"
    );
    Ok(page(&session, key, history, Some(event)).into_response())
}

fn page(session: &Session, key: BookingKey, history: History, event: Option<Event>) -> Page<impl Template + use<>> {
    let History { state, revisions, is_truncated } = history;
    Page(BookingPage {
        frame: Frame::new(Place::None, session),
        status: state.status.clone().map(StatusBadge),
        key,
        state,
        revisions: revisions.into_iter().rev().map(ShownRevision::of).collect(),
        is_truncated,
        event,
    })
}

impl Console {
    /// The page that shows an event.
    pub(super) async fn event_address(&self, id: Uuid) -> Result<Option<String>, ApiError> {
        let content = self.api.pool.event(id).await?.map(|item| item.content);
        Ok(content.map(|content| {
            let path = html::booking_path(content.provider(), content.environment(), content.booking_ref());
            format!("{path}?event={id}")
        }))
    }

    /// An event, and its booking.
    async fn event(&self, id: Uuid, is_masked: bool) -> Result<Option<(Event, BookingKey)>, ApiError> {
        let Some(item) = self.api.pool.event(id).await? else { return Ok(None) };
        let Content::Revision(revision) = item.content else { return Ok(None) };
        let Revision { provider, environment, booking_ref, passengers, payload, account, revision, .. } = *revision;
        let event = Event {
            id,
            revision,
            passengers: Passenger::list(&passengers, is_masked),
            payload: payload
                .filter(|payload| payload.get() != "null")
                .map(|payload| pretty(payload.get(), is_masked, &[])),
            account,
            is_masked,
        };
        Ok(Some((event, BookingKey { provider, environment, booking_ref })))
    }
}

impl ShownRevision {
    fn of((revision, changes): (BookingRevision, Option<Changes>)) -> Self {
        Self {
            id: revision.id,
            revision: revision.revision,
            late: revision.late,
            status: StatusBadge(revision.content.status),
            received_at: Time(revision.received_at),
            delivery_count: revision.delivery_count,
            last_received_at: Time(revision.last_received_at),
            remark: revision.remark,
            warnings: revision.warnings,
            changes: changes.map(|changes| sentences(&changes)).unwrap_or_default(),
        }
    }
}

/// What changed, a line each.
fn sentences(changes: &Changes) -> Vec<String> {
    let Changes { status, pnr, ticket_numbers, passengers } = changes;
    let words = |text: &Option<String>| text.as_ref().map_or("none".to_owned(), |text| text.replace('_', " "));
    let mut sentences = Vec::new();
    for (name, change) in [("status", status), ("record locator", pnr)] {
        if let Some(change) = change {
            sentences.push(format!("{name}: {} → {}", words(&change.from), words(&change.to)));
        }
    }
    for (name, difference) in [("tickets", ticket_numbers), ("passengers", passengers)] {
        let Some(Difference { added, removed }) = difference else { continue };
        for (sign, texts) in [("+", added), ("−", removed)] {
            if !texts.is_empty() {
                sentences.push(format!("{name}: {sign} {}", texts.join(", ")));
            }
        }
    }
    sentences
}

fn unknown() -> ApiError {
    ApiError::not_found("Nothing is known of this booking: it is not expected, and no delivery about it came.")
}
