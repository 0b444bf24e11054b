//! What is expected: overdue and stuck bookings, announcing one by hand, and the reconciliation.

use std::sync::Arc;

use askama::Template;
use axum::{
    Extension, Form,
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;

use super::{
    Console,
    html::{self, StatusBadge, Time, booking_path, environment, parse_local},
    page::{Frame, Page, Place},
    session::Session,
};
use crate::{
    api::{ApiError, check_key, csv_answer, extract::Query, period},
    bookings::ListFilter,
    providers,
    store::{BookingState, DifferenceKind, ExpectedBy, Period, ReconciliationRow},
};

const PAGE_ROWS: usize = 50;

/// Of each kind of difference that is shown, and of one in the CSV.
const SHOWN_DIFFERENCES: i64 = 100;
const CSV_DIFFERENCES: i64 = 10_000;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct BookingsQuery {
    /// `overdue`, `stuck`, or all.
    show: String,
    provider: String,
    environment: String,
    /// `next` of the page before.
    after: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Announcement {
    provider: String,
    environment: String,
    booking_ref: String,
    /// In UTC; empty: no deadline.
    expected_by: String,
}

#[derive(Template)]
#[template(path = "bookings.html")]
struct BookingsPage {
    frame: Frame,
    query: BookingsQuery,
    rows: Vec<BookingState>,
    more: Option<String>,
    announcement: Announcement,
    problem: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ReconciliationQuery {
    provider: String,
    environment: String,
    /// In UTC.
    from: String,
    to: String,
}

#[derive(Template)]
#[template(path = "reconciliation.html")]
struct ReconciliationPage {
    frame: Frame,
    query: ReconciliationQuery,
    from: Time,
    to: Time,
    rows: Vec<ReconciliationRow>,
    is_truncated: bool,
}

/// `GET /bookings`
pub(super) async fn list(
    State(console): State<Arc<Console>>,
    Extension(session): Extension<Session>,
    Query(query): Query<BookingsQuery>,
) -> Result<Response, ApiError> {
    console.bookings(&session, query, Announcement::default(), None).await
}

/// `POST /bookings`: announces one.
pub(super) async fn announce(
    State(console): State<Arc<Console>>,
    Extension(session): Extension<Session>,
    Form(announcement): Form<Announcement>,
) -> Result<Response, ApiError> {
    let checked = (|| {
        let environment = environment(&announcement.environment).ok_or("choose an environment")?;
        let key = check_key(&announcement.provider, environment, &announcement.booking_ref);
        let key = key.map_err(|error| error.message().to_owned())?;
        let expected_by = parse_local("expected by", &announcement.expected_by)?;
        Ok::<_, String>((key, ExpectedBy::Set(expected_by)))
    })();
    let booking = match checked {
        Ok(booking) => booking,
        Err(problem) => return console.bookings(&session, BookingsQuery::default(), announcement, Some(problem)).await,
    };
    console.api.bookings.announce(std::slice::from_ref(&booking)).await?;
    let key = booking.0;
    tracing::info!(
        name = session.name,
        provider = key.provider,
        environment = key.environment,
        booking.reference = key.booking_ref,
        "a booking was announced in the console"
    );
    Ok(Redirect::to(&booking_path(&key.provider, &key.environment, &key.booking_ref)).into_response())
}

/// `GET /reconciliation`
pub(super) async fn reconciliation(
    State(console): State<Arc<Console>>,
    Extension(session): Extension<Session>,
    Query(query): Query<ReconciliationQuery>,
) -> Result<Response, ApiError> {
    let period = query.period()?;
    let (rows, is_truncated) = console.api.bookings.reconcile(&period, SHOWN_DIFFERENCES).await?;
    let frame = Frame::new(Place::Bookings, &session);
    let (from, to) = (Time(period.from), Time(period.to));
    Ok(Page(ReconciliationPage { frame, query, from, to, rows, is_truncated }).into_response())
}

/// `GET /reconciliation.csv`
pub(super) async fn csv(
    State(console): State<Arc<Console>>,
    Query(query): Query<ReconciliationQuery>,
) -> Result<Response, ApiError> {
    let (rows, _) = console.api.bookings.reconcile(&query.period()?, CSV_DIFFERENCES).await?;
    Ok(csv_answer(&rows).into_response())
}

impl Console {
    async fn bookings(
        &self,
        session: &Session,
        query: BookingsQuery,
        announcement: Announcement,
        problem: Option<String>,
    ) -> Result<Response, ApiError> {
        let filter = ListFilter {
            overdue: query.show == "overdue",
            stuck: query.show == "stuck",
            provider: providers::by_name(&query.provider).map(providers::Provider::name),
            environment: environment(&query.environment),
        };
        let after = Some(query.after.as_str()).filter(|after| !after.is_empty());
        let page = self.api.bookings.list(filter, after, PAGE_ROWS).await;
        let page = page.map_err(|error| ApiError::bad_request("invalid_cursor", error.to_string()))??;
        let more = page.next.map(|next| query.address(&query.show, &next));
        let (frame, rows) = (Frame::new(Place::Bookings, session), page.bookings);
        Ok(Page(BookingsPage { frame, query, rows, more, announcement, problem }).into_response())
    }
}

impl BookingsQuery {
    fn address(&self, show: &str, after: &str) -> String {
        let Self { provider, environment, .. } = self;
        let values = [("show", show), ("provider", provider.as_str()), ("environment", environment), ("after", after)];
        format!("/bookings{}", html::query(&values))
    }

    /// The lists: address, title, and whether it is this one.
    fn lists(&self) -> Vec<(String, &'static str, bool)> {
        [("", "All"), ("overdue", "Overdue"), ("stuck", "Stuck")]
            .map(|(show, title)| (self.address(show, ""), title, self.show == show))
            .to_vec()
    }
}

impl Announcement {}

impl ReconciliationQuery {
    fn period(&self) -> Result<Period, ApiError> {
        let time =
            |name, text| parse_local(name, text).map_err(|problem| ApiError::bad_request("invalid_parameter", problem));
        let provider = providers::by_name(&self.provider).map(providers::Provider::name);
        period(time("from", &self.from)?, time("to", &self.to)?, provider, environment(&self.environment))
    }

    fn csv_address(&self) -> String {
        let Self { provider, environment, from, to } = self;
        let values = [("provider", provider.as_str()), ("environment", environment), ("from", from), ("to", to)];
        format!("/reconciliation.csv{}", html::query(&values))
    }
}

/// What a difference means, in a few words.
fn words(kind: DifferenceKind) -> &'static str {
    match kind {
        DifferenceKind::NotTicketed => "expected, and not ticketed",
        DifferenceKind::NotExpected => "ticketed, and not expected",
        DifferenceKind::Conflict => "a final status changed",
        DifferenceKind::SharedTicketNumber => "one ticket number for several bookings",
    }
}
