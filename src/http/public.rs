//! The public listener: the providers' webhooks and health, nothing else.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use axum::{
    Extension, Router,
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header, request::Parts},
    response::{IntoResponse, Response},
    routing::any,
};
use hyper::body::Body as _;

use super::{body::Bodies, client_address::Proxies, error::error, health, health::Health, request_id};
use crate::{
    config::ServerSettings,
    providers::{Outcome, Provider},
    receive::{self, Endpoint, Origin, Receiver},
    redaction::REDACTED,
    secrets::CurrentSecrets,
    telemetry::TraceContext,
};

/// When to try again what could not be made durable, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("30");

struct Webhook {
    endpoint: Endpoint,
    receiver: Arc<Receiver>,
    bodies: Bodies,
    /// Where it leads while the provider has no account.
    nowhere: Nowhere,
}

/// All routes of the public listener; each endpoint with its path.
pub fn public_router(
    endpoints: Vec<(String, Endpoint)>,
    receiver: &Arc<Receiver>,
    health: Health,
    bodies: &Bodies,
    settings: &ServerSettings,
) -> Router {
    let proxies = Proxies::new(settings);
    let nowhere = Nowhere { secrets: Arc::clone(&receiver.secrets), proxies: proxies.clone() };
    let mut router =
        health::routes(health).merge(Router::new().fallback(not_found).with_state(Arc::new(nowhere.clone())));
    for (path, endpoint) in endpoints {
        let webhook =
            Webhook { endpoint, receiver: Arc::clone(receiver), bodies: bodies.clone(), nowhere: nowhere.clone() };
        router = router.route(&path, any(deliver).with_state(Arc::new(webhook)));
    }
    router
}

async fn deliver(
    State(webhook): State<Arc<Webhook>>,
    Extension(ConnectInfo(peer)): Extension<ConnectInfo<SocketAddr>>,
    request: Request,
) -> Response {
    let start = Instant::now();
    let Webhook { endpoint, receiver, bodies, nowhere } = &*webhook;
    if !receiver.has_accounts(endpoint.provider) {
        return nowhere.answer(peer, request.uri(), request.headers());
    }
    // all that is not named here goes now: any part of a head would keep the whole buffer it came in
    let (Parts { method, headers, .. }, mut body) = request.into_parts();
    let is_waiting = headers.contains_key(header::EXPECT);
    // is taken until the delivery is answered
    let mut memory = None;
    let outcome = if method == Method::POST {
        let origin = Origin {
            id: request_id::of(&headers).into(),
            trace: TraceContext::of(&headers, |text| receiver.secrets.load().redactor.knows(text)),
            client: nowhere.proxies.client(peer.ip(), &headers),
            start,
        };
        let read = async {
            let whole = bodies.read(&mut body).await?;
            memory = Some(whole.memory);
            Ok(whole.bytes)
        };
        receiver.receive(endpoint, receive::Request { headers, origin }, read).await
    } else {
        Outcome::MethodNotAllowed
    };
    drop(memory);
    // who waits to be asked for the body has not begun to send it
    if !body.is_end_stream() && !is_waiting {
        bodies.discard(body);
    }
    answer(endpoint.provider, &outcome)
}

fn answer(provider: &dyn Provider, outcome: &Outcome) -> Response {
    let answer = provider.answer(outcome);
    let mut response = (answer.status, answer.body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.extend(answer.header);
    match outcome {
        Outcome::MethodNotAllowed => drop(headers.insert(header::ALLOW, HeaderValue::from_static("POST"))),
        Outcome::Unavailable => drop(headers.insert(header::RETRY_AFTER, RETRY_AFTER)),
        Outcome::TooManyFailures(wait) => {
            // in whole seconds, none of them too early
            drop(headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1)));
        }
        _ => {}
    }
    response
}

/// Every other path.
#[derive(Clone)]
struct Nowhere {
    secrets: Arc<CurrentSecrets>,
    proxies: Proxies,
}

impl Nowhere {
    fn answer(&self, peer: SocketAddr, uri: &Uri, headers: &HeaderMap) -> Response {
        let knows = |path: &&str| self.secrets.load().redactor.knows(path);
        let path = Some(uri.path()).filter(|path| request_id::is_sane(path, b"/") && !knows(path));
        tracing::debug!(
            path = path.unwrap_or(REDACTED),
            request.id = request_id::of(headers),
            client.address = %self.proxies.client(peer.ip(), headers),
            "nothing at this path"
        );
        error(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path", headers)
    }
}

async fn not_found(
    State(nowhere): State<Arc<Nowhere>>,
    Extension(ConnectInfo(peer)): Extension<ConnectInfo<SocketAddr>>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    nowhere.answer(peer, &uri, &headers)
}
