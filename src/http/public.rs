//! The public listener: the providers' webhooks and health, nothing else.

use std::{sync::Arc, time::Instant};

use axum::{
    Router,
    extract::{ConnectInfo, Request, State},
    http::{HeaderValue, Method, header, request::Parts},
    response::Response,
    routing::any,
};
use hyper::body::Body as _;

use super::{
    body::{BodyReader, discard},
    client_address::TrustedProxies,
    health, layers,
    reply::encode,
    server::Peer,
    service::HttpService,
    unrouted::Unrouted,
};
use crate::{
    config::ServerSettings,
    providers::Reply,
    readiness::Readiness,
    receive::{self, Endpoint, Received, Receiver, RequestContext},
    request_id::RequestId,
    telemetry::TraceContext,
    ticket_event::Environment,
};

struct Webhook {
    endpoint: Endpoint,
    receiver: Arc<Receiver>,
    bodies: BodyReader,
    /// Answers while the provider has no account.
    unrouted: Arc<Unrouted>,
}

/// The routes of the public listener within its layers; each endpoint with its path.
pub fn public_service(
    endpoints: Vec<(String, Endpoint)>,
    receiver: &Arc<Receiver>,
    readiness: Readiness,
    bodies: &BodyReader,
    settings: &ServerSettings,
) -> impl HttpService {
    let (secrets, proxies) = (Arc::clone(&receiver.secrets), TrustedProxies::new(settings));
    let unrouted =
        Arc::new(Unrouted::new(secrets, proxies, Arc::clone(&receiver.metrics), Arc::clone(&receiver.activity)));
    let mut routes =
        health::routes(readiness).merge(Router::new().fallback(not_found).with_state(Arc::clone(&unrouted)));
    for (path, endpoint) in endpoints.clone() {
        let (receiver, bodies, unrouted) = (Arc::clone(receiver), bodies.clone(), Arc::clone(&unrouted));
        let webhook = Webhook { endpoint, receiver, bodies, unrouted };
        routes = routes.route(&path, any(deliver).with_state(Arc::new(webhook)));
    }
    layers::public(routes, endpoints, Arc::clone(&receiver.secrets))
}

async fn deliver(
    State(webhook): State<Arc<Webhook>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
) -> Response {
    let start = Instant::now();
    let Webhook { endpoint, receiver, bodies, unrouted } = &*webhook;
    let id = RequestId::of(request.extensions());
    if !receiver.has_accounts(endpoint.provider) {
        return unrouted.answer(&peer, id, request.method(), request.uri(), request.headers());
    }
    // the rest of the head is dropped here: any part of it would keep hyper's read buffer
    let (Parts { method, headers, .. }, mut body) = request.into_parts();
    let expects_continue = headers.contains_key(header::EXPECT);
    let Received { reply, environment } = if method == Method::POST {
        let context = RequestContext {
            id: id.redacted(peer.is_trusted_proxy, &receiver.secrets),
            trace: TraceContext::of(&headers, |text| receiver.secrets.load().redactor.contains_secret(text)),
            client: unrouted.proxies.client_address(peer.address.ip(), &headers),
            start,
        };
        let read = bodies.read(&mut body, peer.connection.state());
        receiver.receive(endpoint, receive::Request { headers, context }, read).await
    } else {
        Received { reply: Reply::MethodNotAllowed, environment: None }
    };
    let delivered_live = reply == Reply::Accepted && environment == Some(Environment::Live);
    peer.connection.state().begin_answering(delivered_live);
    let mut answer = encode(endpoint.provider, &reply);
    // a client that waits for `100 Continue` has not begun its body
    if !body.is_end_stream() && !expects_continue && !discard(body, &peer.connection).await {
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

async fn not_found(
    State(unrouted): State<Arc<Unrouted>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
) -> Response {
    unrouted.answer(&peer, RequestId::of(request.extensions()), request.method(), request.uri(), request.headers())
}
