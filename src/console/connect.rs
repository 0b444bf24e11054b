//! What somebody has open while a provider is being connected: where to send to, a line to try, and what arrives, with the reason
//! where it is refused.

use std::{fmt::Write, sync::Arc};

use askama::Template;
use axum::{
    Extension,
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use time::{Duration, OffsetDateTime};

use super::{
    Console,
    html::{Time, booking_path},
    page::{Frame, Page, Place},
    session::Session,
};
use crate::{
    api::{ApiError, extract::Path},
    clock,
    providers::Provider,
    store::{Content, Cursor, Direction, FeedError, Filter, RefusedRequest, UnprocessedFilter},
    ticket_event::Environment,
};

/// What is shown of each kind, and in all.
const MAX_ROWS: usize = 50;

/// As long as refused requests are kept.
const SHOWN: Duration = Duration::minutes(15);

const MAX_BYTES: usize = 1024 * 1024;

#[derive(Template)]
#[template(path = "connect.html")]
struct ConnectPage {
    frame: Frame,
    /// Name, and whether it is this page's.
    providers: Vec<(&'static str, bool)>,
    name: &'static str,
    path: String,
    /// Their names and environments. Empty: it is not routed.
    accounts: Vec<(String, Environment)>,
    curl: String,
    arrivals: Vec<Arrival>,
}

/// Something that came, or was tried.
struct Arrival {
    at: OffsetDateTime,
    what: String,
    tone: &'static str,
    detail: String,
    /// Where there is more about it.
    link: Option<(String, String)>,
    client: String,
}

/// `GET /connect`
pub(super) async fn first(State(console): State<Arc<Console>>) -> Response {
    let first = console.api.provider_paths.first().map_or("", |(_, provider)| provider.name());
    Redirect::to(&format!("/connect/{first}")).into_response()
}

/// `GET /connect/{provider}`
pub(super) async fn show(
    State(console): State<Arc<Console>>,
    Extension(session): Extension<Session>,
    Path(name): Path<String>,
) -> Result<Page<impl Template>, ApiError> {
    let found = console.api.provider_paths.iter().find(|(_, provider)| provider.name() == name);
    let (path, provider) = found.ok_or_else(|| ApiError::not_found("there is no such provider"))?;
    let secrets = console.secrets.load();
    let accounts = secrets.accounts(*provider).map(|accounts| accounts.names().collect()).unwrap_or_default();
    Ok(Page(ConnectPage {
        frame: Frame::new(Place::Connect, &session),
        providers: console.api.provider_paths.iter().map(|(_, one)| (one.name(), one.name() == name)).collect(),
        name: provider.name(),
        path: path.clone(),
        accounts,
        curl: curl(*provider, path),
        arrivals: console.arrivals(provider.name()).await?,
    }))
}

impl Console {
    /// What came of a provider in the last minutes, and was refused, newest first.
    async fn arrivals(&self, provider: &str) -> Result<Vec<Arrival>, ApiError> {
        let since = clock::now() - SHOWN;
        let mut arrivals = self.recorded(provider, since).await?;
        let filter =
            UnprocessedFilter { provider: Some(provider.to_owned()), since: Some(since), ..Default::default() };
        for row in self.api.pool.unprocessed_rows(&filter, None, MAX_ROWS as i64).await? {
            arrivals.push(Arrival {
                at: row.last_received_at,
                what: format!("unprocessed: {}", row.reason.as_str().replace('_', " ")),
                tone: "bad",
                detail: row.detail,
                link: Some((format!("/unprocessed/{}", row.id), "look at it".to_owned())),
                client: String::new(),
            });
        }
        let refused = self.api.pool.refused_requests(None, MAX_ROWS as i64 * 4).await?.into_iter();
        let is_shown = |request: &RefusedRequest| request.provider.as_ref().is_none_or(|name| name == provider);
        arrivals.extend(refused.filter(|request| request.at >= since && is_shown(request)).map(Arrival::of_refused));
        arrivals.sort_by_key(|arrival| std::cmp::Reverse(arrival.at));
        arrivals.truncate(MAX_ROWS);
        Ok(arrivals)
    }

    async fn recorded(&self, provider: &str, since: OffsetDateTime) -> Result<Vec<Arrival>, FeedError> {
        let filter = Filter { provider: Some(provider.to_owned()), ..Filter::default() };
        let pool = &self.api.pool;
        let mut snapshot = pool.read().await?;
        let (from, direction, limit) = (None::<Cursor>, Direction::NewestFirst, MAX_ROWS as i64);
        let found = pool.find_items(&mut snapshot, &filter, from, direction, limit, MAX_BYTES, false).await?;
        let recorded = found.items.into_iter().filter_map(|item| match item.content {
            Content::Revision(revision) if revision.received_at >= since => Some(Arrival {
                at: revision.received_at,
                what: format!("recorded: {}", revision.status.replace('_', " ")),
                tone: "good",
                detail: revision.warnings.join("; "),
                link: Some((
                    booking_path(&revision.provider, &revision.environment, &revision.booking_ref),
                    revision.booking_ref,
                )),
                client: String::new(),
            }),
            _ => None,
        });
        Ok(recorded.collect())
    }
}

impl Arrival {
    fn of_refused(request: RefusedRequest) -> Self {
        let RefusedRequest { at, reason, detail, path, client, requests, .. } = request;
        let what = match reason.as_str() {
            "credentials_missing" => "401: no credentials",
            "credentials_malformed" => "401: credentials in a wrong form",
            "credentials_wrong" => "401: wrong credentials",
            "address_not_allowed" => "401: from an address that is not allowed",
            "malformed" => "400: the body is no JSON",
            "unsupported_encoding" => "415: an encoding that is not supported",
            "too_large" => "413: too large",
            "timed_out" => "408: the body did not come in time",
            "not_durable" => "503: it could not be made durable",
            "not_kept" => "its account is beyond its quota",
            "unrouted" => "404: a path that is no provider's",
            _ => "more that were refused",
        };
        let mut detail = detail.unwrap_or_default();
        if let Some(path) = path {
            detail = path;
        }
        if requests > 1 {
            let _ = write!(detail, " {requests} requests");
        }
        let client = client.unwrap_or_default();
        Self { at, what: what.to_owned(), tone: "bad", detail, link: None, client }
    }
}

/// A delivery to try, with credentials to fill in.
fn curl(provider: &dyn Provider, path: &str) -> String {
    let names: Vec<_> = provider.credentials().iter().map(|one| format!("YOUR-{}", one.key.to_uppercase())).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    provider.sample(&names, "TEST-1").curl(&format!("https://YOUR-PUBLIC-HOST{path}"))
}
