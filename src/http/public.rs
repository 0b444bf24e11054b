//! The public listener: the providers' webhooks and health, nothing else.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Extension, Router,
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::any,
};
use hyper::body::Body as _;
use ipnet::IpNet;

use super::{body::Bodies, client_address::client_address, error::error, health, health::Health, request_id};
use crate::{
    providers::{Outcome, Provider},
    receive::{Endpoint, Receiver},
};

/// When to try again what could not be made durable, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("30");

struct Webhook {
    endpoint: Endpoint,
    receiver: Arc<Receiver>,
    bodies: Bodies,
    trusted_proxies: Arc<[IpNet]>,
}

/// All routes of the public listener; each endpoint with its path.
pub fn public_router(
    endpoints: Vec<(String, Endpoint)>,
    receiver: &Arc<Receiver>,
    health: Health,
    bodies: &Bodies,
    trusted_proxies: &[IpNet],
) -> Router {
    let trusted_proxies: Arc<[IpNet]> = trusted_proxies.into();
    let mut router = health::routes(health).fallback(not_found);
    for (path, endpoint) in endpoints {
        let webhook = Webhook {
            endpoint,
            receiver: Arc::clone(receiver),
            bodies: bodies.clone(),
            trusted_proxies: Arc::clone(&trusted_proxies),
        };
        router = router.route(&path, any(deliver).with_state(Arc::new(webhook)));
    }
    request_id::add_to(router)
}

async fn deliver(
    State(webhook): State<Arc<Webhook>>,
    Extension(ConnectInfo(peer)): Extension<ConnectInfo<SocketAddr>>,
    request: Request,
) -> Response {
    let Webhook { endpoint, receiver, bodies, trusted_proxies } = &*webhook;
    let (head, mut body) = request.into_parts();
    // counts for the memory until the delivery is answered
    let mut whole = None;
    let outcome = if head.method == Method::POST {
        let client = client_address(peer.ip(), &head.headers, trusted_proxies);
        let read = async { Ok(whole.insert(bodies.read(&mut body).await?).bytes.clone()) };
        receiver.receive(endpoint, client, &head.headers, read).await
    } else {
        Outcome::MethodNotAllowed
    };
    // who waits to be asked for the body has not begun to send it
    if !body.is_end_stream() && !head.headers.contains_key(header::EXPECT) {
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
        _ => {}
    }
    response
}

async fn not_found(headers: HeaderMap) -> Response {
    error(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path", &headers)
}
