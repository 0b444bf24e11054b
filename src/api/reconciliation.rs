//! `GET /v1/reconciliation`: the differences between what was expected and what came, as JSON or CSV.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};
use utoipa::{IntoParams, ToSchema};

use super::{
    Api, ApiError,
    booking_key::{check_time, known_provider},
    csv::Csv,
    error::AnyError,
    extract::{self, Query},
};
use crate::{
    clock,
    store::{Period, ReconciliationRow},
    ticket_event::Environment,
};

const DEFAULT_PERIOD: Duration = Duration::days(7);

const MAX_PERIOD: Duration = Duration::days(92);

/// The names of the columns, in the order of [`cells`].
const COLUMNS: [&str; 10] = [
    "kind",
    "provider",
    "environment",
    "booking_ref",
    "status",
    "previous_status",
    "ticket_number",
    "expected_by",
    "event_id",
    "at",
];

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ReconciliationQuery {
    provider: Option<String>,
    environment: Option<Environment>,
    /// Bookings announced and events recorded at this time or later. Seven days before `to` when it is left out.
    #[serde(default, with = "time::serde::rfc3339::option")]
    from: Option<OffsetDateTime>,
    /// And before this time, at most 92 days later. Now when it is left out.
    #[serde(default, with = "time::serde::rfc3339::option")]
    to: Option<OffsetDateTime>,
    /// Rows of each kind.
    #[param(minimum = 1, maximum = 10000, default = 1000)]
    limit: Option<i64>,
}

/// The differences between what was expected and what came.
#[derive(Serialize, ToSchema)]
pub(super) struct Reconciliation {
    #[serde(with = "time::serde::rfc3339")]
    from: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    to: OffsetDateTime,
    /// By kind.
    differences: Vec<ReconciliationRow>,
    /// There may be more differences: ask for a shorter time.
    truncated: bool,
}

/// Compares the bookings that were announced in a time with the events that were recorded in it.
///
/// With `Accept: text/csv` the rows are given as CSV, in which a cell that a spreadsheet would take for a formula begins with
/// an apostrophe; `x-truncated` says whether there may be more.
#[utoipa::path(get, path = "/v1/reconciliation", tag = "bookings", params(ReconciliationQuery),
    responses(
        (status = 200, content((Reconciliation = "application/json"), (String = "text/csv"))),
        AnyError,
    ))]
pub(super) async fn get(
    State(api): State<Arc<Api>>,
    Query(query): Query<ReconciliationQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let limit = extract::within("limit", query.limit.unwrap_or(1000), 1, 10_000)?;
    let period = query.period()?;
    let (differences, truncated) = api.bookings.reconcile(&period, limit).await?;
    if wants_csv(&headers) {
        let truncated = [("x-truncated", if truncated { "true" } else { "false" })];
        return Ok((truncated, csv_answer(&differences)).into_response());
    }
    Ok(Json(Reconciliation { from: period.from, to: period.to, differences, truncated }).into_response())
}

impl ReconciliationQuery {
    fn period(&self) -> Result<Period, ApiError> {
        let time = |name, time: Option<OffsetDateTime>| time.map(|time| check_time(name, time)).transpose();
        let (to, from) = (time("to", self.to)?, time("from", self.from)?);
        let period = period(from, to, None, self.environment)?;
        Ok(Period { provider: self.provider.as_deref().map(known_provider).transpose()?, ..period })
    }
}

/// Seven days before `to` and now where they are left out.
///
/// # Errors
///
/// `from` is not before `to`, or by more than 92 days.
pub fn period(
    from: Option<OffsetDateTime>,
    to: Option<OffsetDateTime>,
    provider: Option<&'static str>,
    environment: Option<Environment>,
) -> Result<Period, ApiError> {
    let to = to.unwrap_or_else(clock::now);
    let default = || to.checked_sub(DEFAULT_PERIOD).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let from = from.unwrap_or_else(|| default().max(OffsetDateTime::UNIX_EPOCH));
    if from >= to || to - from > MAX_PERIOD {
        let message = format!("from is to be before to, by at most {} days", MAX_PERIOD.whole_days());
        return Err(ApiError::bad_request("invalid_parameter", message));
    }
    Ok(Period { from, to, provider, environment: environment.map(Environment::as_str) })
}

/// The rows as a file of CSV, with a line of the names of the columns.
pub fn csv_answer(rows: &[ReconciliationRow]) -> impl IntoResponse + use<> {
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"reconciliation.csv\""),
    ];
    let mut csv = Csv::new(&COLUMNS);
    for row in rows {
        csv.row(&cells(row));
    }
    (headers, csv.into_text())
}

/// `text/csv` is named, and is not refused by a quality of 0.
fn wants_csv(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let is_csv = parts.next().is_some_and(|media_type| media_type.eq_ignore_ascii_case("text/csv"));
        is_csv && !parts.any(|part| ["q=0", "q=0.0", "q=0.00", "q=0.000"].contains(&part))
    })
}

fn cells(row: &ReconciliationRow) -> [String; 10] {
    let time = |time: Option<OffsetDateTime>| time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default();
    [
        row.kind.as_str().to_owned(),
        row.provider.clone(),
        row.environment.clone(),
        row.booking_ref.clone(),
        row.status.clone().unwrap_or_default(),
        row.previous_status.clone().unwrap_or_default(),
        row.ticket_number.clone().unwrap_or_default(),
        time(row.expected_by),
        row.event_id.map(|id| id.to_string()).unwrap_or_default(),
        time(Some(row.at)),
    ]
}
