//! What could not be processed: why, the body with the place of the fault, and its second chance.

use std::sync::Arc;

use askama::Template;
use axum::{
    Extension, Form,
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use serde::{Deserialize, Deserializer, de};
use uuid::Uuid;

use super::{
    Client, Console,
    html::{self, Time},
    page::{Frame, Page, Place},
    payload::{Part, pretty},
    session::Session,
};
use crate::{
    addresses::ClientPrefix,
    api::{
        ApiError,
        extract::{Path, Query},
    },
    delivery::Reason,
    receive::text_of_body,
    reprocess::{ReprocessOutcome, ReprocessedDelivery},
    store::{UnprocessedFilter, UnprocessedRow},
};

const PAGE_ROWS: usize = 50;

/// Of a press of the button.
const MAX_REPROCESSED: usize = 500;

/// As the form sends it: what is empty is any.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct UnprocessedQuery {
    provider: String,
    environment: String,
    reason: String,
    /// Also those that were reprocessed.
    all: String,
    /// The last one of the page before.
    #[serde(deserialize_with = "given")]
    after: Option<Uuid>,
}

#[derive(Template)]
#[template(path = "unprocessed.html")]
struct UnprocessedPage {
    frame: Frame,
    query: UnprocessedQuery,
    /// How many wait, by reason.
    waiting: Vec<(Reason, u64)>,
    rows: Vec<UnprocessedRow>,
    older: Option<String>,
    /// What came of a press of the button.
    results: Option<Vec<ReprocessedDelivery>>,
    /// Behind which there are more that wait.
    reprocess_next: Option<Uuid>,
}

#[derive(Template)]
#[template(path = "unprocessed_delivery.html")]
struct DeliveryPage {
    frame: Frame,
    row: UnprocessedRow,
    /// `None`: it was erased.
    body: Option<Vec<Part>>,
    is_masked: bool,
    is_utf_8: bool,
    result: Option<ReprocessOutcome>,
}

/// `GET /unprocessed`
pub(super) async fn list(
    State(console): State<Arc<Console>>,
    Extension(session): Extension<Session>,
    Query(query): Query<UnprocessedQuery>,
) -> Result<Response, ApiError> {
    console.unprocessed(&session, query, None, None).await
}

/// `POST /unprocessed/reprocess`: those that match the form and wait, up to [`MAX_REPROCESSED`], behind `after`.
pub(super) async fn reprocess_all(
    State(console): State<Arc<Console>>,
    Extension(session): Extension<Session>,
    Form(query): Form<UnprocessedQuery>,
) -> Result<Response, ApiError> {
    let filter = UnprocessedFilter { is_reprocessed: Some(false), ..query.filter() };
    tracing::info!(name = session.name, "deliveries are reprocessed from the console");
    let reprocessed = console.api.reprocessor.reprocess_waiting(&filter, query.after, MAX_REPROCESSED, false).await?;
    let next = reprocessed.next.filter(|_| reprocessed.more);
    console.unprocessed(&session, UnprocessedQuery { after: None, ..query }, Some(reprocessed.deliveries), next).await
}

/// `GET /unprocessed/{id}`
pub(super) async fn show(
    State(console): State<Arc<Console>>,
    Extension(session): Extension<Session>,
    Path(id): Path<Uuid>,
) -> Result<Response, ApiError> {
    console.unprocessed_delivery(&session, id, true, None).await
}

/// `POST /unprocessed/{id}/reveal`: with the personal data of its body.
pub(super) async fn reveal(
    State(console): State<Arc<Console>>,
    Extension(session): Extension<Session>,
    Extension(client): Extension<Client>,
    Path(id): Path<Uuid>,
) -> Result<Response, ApiError> {
    let page = console.unprocessed_delivery(&session, id, false, None).await?;
    tracing::info!(
        name = session.name,
        client.address = %ClientPrefix::of(client.address),
        delivery.id = %id,
        "personal data was shown in the console"
    );
    Ok(page)
}

/// The address of an answer to a POST, when somebody comes back to it.
pub(super) async fn show_again(Path(id): Path<Uuid>) -> Redirect {
    Redirect::to(&format!("/unprocessed/{id}"))
}

/// `POST /unprocessed/{id}/reprocess`
pub(super) async fn reprocess(
    State(console): State<Arc<Console>>,
    Extension(session): Extension<Session>,
    Path(id): Path<Uuid>,
) -> Result<Response, ApiError> {
    tracing::info!(name = session.name, delivery.id = %id, "a delivery is reprocessed from the console");
    let reprocessed = console.api.reprocessor.reprocess(id, false).await?.ok_or_else(unknown)?;
    console.unprocessed_delivery(&session, id, true, Some(reprocessed.outcome)).await
}

impl Console {
    async fn unprocessed(
        &self,
        session: &Session,
        query: UnprocessedQuery,
        results: Option<Vec<ReprocessedDelivery>>,
        reprocess_next: Option<Uuid>,
    ) -> Result<Response, ApiError> {
        let pool = &self.api.pool;
        let mut rows = pool.unprocessed_rows(&query.filter(), query.after, PAGE_ROWS as i64 + 1).await?;
        let has_more = rows.len() > PAGE_ROWS;
        rows.truncate(PAGE_ROWS);
        let older = rows.last().filter(|_| has_more).map(|row| query.address(&row.id.to_string()));
        let counts = pool.count_waiting().await?;
        let waiting = Reason::ALL.into_iter().zip(counts).filter(|(_, count)| *count > 0).collect();
        let frame = Frame::new(Place::Unprocessed, session);
        Ok(Page(UnprocessedPage { frame, query, waiting, rows, older, results, reprocess_next }).into_response())
    }

    async fn unprocessed_delivery(
        &self,
        session: &Session,
        id: Uuid,
        is_masked: bool,
        result: Option<ReprocessOutcome>,
    ) -> Result<Response, ApiError> {
        let (row, body) = self.api.pool.unprocessed_row(id).await?.ok_or_else(unknown)?;
        let (text, is_utf_8) = (text_of_body(&body), std::str::from_utf8(&body).is_ok());
        let body = row.erased_at.is_none().then(|| pretty(&text, is_masked, &faults(&row.detail)));
        let frame = Frame::new(Place::Unprocessed, session);
        Ok(Page(DeliveryPage { frame, row, body, is_masked, is_utf_8, result }).into_response())
    }
}

/// The fields that a detail names: `BookingId is required; Status must be …`.
fn faults(detail: &str) -> Vec<&str> {
    let fields = detail.split("; ").filter_map(|fault| {
        let (field, _) = fault.split_once(" is required").or_else(|| fault.split_once(" must be "))?;
        Some(field).filter(|field| !field.contains(' '))
    });
    fields.collect()
}

impl UnprocessedQuery {
    fn filter(&self) -> UnprocessedFilter {
        UnprocessedFilter {
            provider: Some(self.provider.clone()).filter(|provider| !provider.is_empty()),
            environment: html::environment(&self.environment),
            reason: Reason::ALL.into_iter().find(|reason| reason.as_str() == self.reason),
            is_reprocessed: self.all.is_empty().then_some(false),
            since: None,
        }
    }

    fn address(&self, after: &str) -> String {
        let Self { provider, environment, reason, all, .. } = self;
        let values = [
            ("provider", provider.as_str()),
            ("environment", environment),
            ("reason", reason),
            ("all", all),
            ("after", after),
        ];
        format!("/unprocessed{}", html::query(&values))
    }

    fn is_filtered(&self) -> bool {
        self.address("") != "/unprocessed"
    }

    fn reasons(&self) -> Vec<(&'static str, bool)> {
        Reason::ALL.map(|reason| (reason.as_str(), reason.as_str() == self.reason)).to_vec()
    }
}

/// What a reason means, in a sentence.
fn meaning(reason: Reason) -> &'static str {
    match reason {
        Reason::Malformed => "The body is not JSON.",
        Reason::Invalid => "A field that is needed is missing or cannot be used.",
        Reason::NoTicket => "It has no ticket number, which this notification needs.",
        Reason::UnknownBooking => {
            "Its booking is not expected, and this provider may report expected bookings only. Announce it."
        }
        Reason::UnsupportedType => "It is another kind of notification, not about tickets.",
        Reason::Refused => "The database does not take it as it is.",
    }
}

/// What came of reprocessing, in a sentence, and the colour of it.
fn sentence(outcome: &ReprocessOutcome) -> (String, &'static str) {
    match outcome {
        ReprocessOutcome::Recorded { booking_ref, revision, .. } => {
            (format!("It was recorded: revision {revision} of {booking_ref}."), "good")
        }
        ReprocessOutcome::Duplicate { booking_ref, revision, .. } => {
            (format!("It repeats revision {revision} of {booking_ref}, and was counted there."), "good")
        }
        ReprocessOutcome::Unprocessed { reason, detail } => {
            (format!("It still cannot be processed ({}): {detail}", reason.as_str().replace('_', " ")), "bad")
        }
        ReprocessOutcome::AlreadyReprocessed { .. } => ("It was reprocessed before.".to_owned(), "over"),
    }
}

/// An empty text is none.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Uuid>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let id = Some(text.trim()).filter(|text| !text.is_empty()).map(str::parse).transpose();
    id.map_err(|_| de::Error::custom("expected the id of a delivery"))
}

/// How many had each outcome.
fn totals(results: &[ReprocessedDelivery]) -> String {
    let count = |is: fn(&ReprocessOutcome) -> bool| results.iter().filter(|result| is(&result.outcome)).count();
    let recorded = count(|outcome| matches!(outcome, ReprocessOutcome::Recorded { .. }));
    let repeated = count(|outcome| matches!(outcome, ReprocessOutcome::Duplicate { .. }));
    let unprocessed = count(|outcome| matches!(outcome, ReprocessOutcome::Unprocessed { .. }));
    format!("{recorded} recorded, {repeated} repeat what is recorded, {unprocessed} still cannot be processed.")
}

fn unknown() -> ApiError {
    ApiError::not_found("there is no unprocessed delivery with this id")
}
