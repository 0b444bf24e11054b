//! The public listener: the providers' webhooks and health, nothing else.

use std::{convert::Infallible, sync::Arc, time::Instant};

use axum::{
    Extension, Router,
    extract::{Request, State},
    http::{
        HeaderValue, Method, Uri, header,
        request::Parts,
        uri::{self, PathAndQuery},
    },
    response::{IntoResponse, Response},
    routing::any,
};
use hyper::body::Body as _;
use tower::{Service, ServiceExt, service_fn};

use super::{
    body::{BodyReader, discard},
    client_address::Proxies,
    error::retry_after,
    health,
    health::Health,
    request_id,
    server::Peer,
    unrouted::Unrouted,
};
use crate::{
    config::{ServerSettings, plain_path},
    providers::{Provider, Reply},
    receive::{self, Endpoint, Received, Receiver, RequestContext},
    telemetry::TraceContext,
    ticket_event::Environment,
};

/// When to try again what could not be made durable, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("30");

struct Webhook {
    endpoint: Endpoint,
    receiver: Arc<Receiver>,
    bodies: BodyReader,
    /// Where it leads while the provider has no account.
    unrouted: Arc<Unrouted>,
}

/// All routes of the public listener; each endpoint with its path.
pub fn public_router(
    endpoints: Vec<(String, Endpoint)>,
    receiver: &Arc<Receiver>,
    health: Health,
    bodies: &BodyReader,
    settings: &ServerSettings,
) -> Router {
    let secrets = Arc::clone(&receiver.secrets);
    let unrouted = Unrouted::new(secrets, Proxies::new(settings), Arc::clone(&receiver.metrics));
    let unrouted = Arc::new(unrouted);
    let mut routes = health::routes(health).merge(Router::new().fallback(not_found).with_state(Arc::clone(&unrouted)));
    for (path, endpoint) in endpoints {
        let (receiver, bodies, unrouted) = (Arc::clone(receiver), bodies.clone(), Arc::clone(&unrouted));
        let webhook = Webhook { endpoint, receiver, bodies, unrouted };
        routes = routes.route(&path, any(deliver).with_state(Arc::new(webhook)));
    }
    // only what leads nowhere is looked at again
    routes.clone().fallback_service(service_fn(move |request| plainly_routed(routes.clone(), request)))
}

/// Routes a request as if its path had no slash at its end and none twice: a URL that people type has them often.
async fn plainly_routed(mut routes: Router, mut request: Request) -> Result<Response, Infallible> {
    if let Some(uri) = plain_uri(request.uri()) {
        *request.uri_mut() = uri;
    }
    ServiceExt::<Request>::ready(&mut routes).await?.call(request).await
}

/// `None` when it is plain already.
fn plain_uri(uri: &Uri) -> Option<Uri> {
    let path = plain_path(uri.path());
    if path == uri.path() {
        return None;
    }
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut parts = uri::Parts::default();
    parts.path_and_query = Some(PathAndQuery::try_from(format!("{path}{query}")).ok()?);
    Uri::from_parts(parts).ok()
}

async fn deliver(State(webhook): State<Arc<Webhook>>, Extension(peer): Extension<Peer>, request: Request) -> Response {
    let start = Instant::now();
    let Webhook { endpoint, receiver, bodies, unrouted } = &*webhook;
    if !receiver.has_accounts(endpoint.provider) {
        return unrouted.answer(peer.address, request.method(), request.uri(), request.headers());
    }
    // all that is not named here goes now: any part of a head would keep the whole buffer it came in
    let (Parts { method, headers, .. }, mut body) = request.into_parts();
    let is_waiting = headers.contains_key(header::EXPECT);
    let Received { reply, environment } = if method == Method::POST {
        let is_from_proxy = unrouted.proxies.contain(peer.address.ip());
        let context = RequestContext {
            id: request_id::logged(&headers, is_from_proxy, &receiver.secrets).into(),
            trace: TraceContext::of(&headers, |text| receiver.secrets.load().redactor.contains_secret(text)),
            client: unrouted.proxies.client(peer.address.ip(), &headers),
            start,
        };
        let read = bodies.read(&mut body, peer.connection.state());
        receiver.receive(endpoint, receive::Request { headers, context }, read).await
    } else {
        Received { reply: Reply::MethodNotAllowed, environment: None }
    };
    let has_delivered = reply == Reply::Accepted && environment == Some(Environment::Live);
    peer.connection.state().is_answering(has_delivered);
    let mut answer = answer(endpoint.provider, &reply);
    // who waits to be asked for the body has not begun to send it
    if !body.is_end_stream() && !is_waiting && !discard(body, &peer.connection).await {
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

fn answer(provider: &dyn Provider, reply: &Reply) -> Response {
    let answer = provider.encode(reply);
    let mut response = (answer.status, answer.body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.extend(answer.header);
    match reply {
        Reply::MethodNotAllowed => drop(headers.insert(header::ALLOW, HeaderValue::from_static("POST"))),
        Reply::UnsupportedEncoding => {
            drop(headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip")));
        }
        Reply::Unavailable => drop(headers.insert(header::RETRY_AFTER, RETRY_AFTER)),
        Reply::TooManyFailures(wait) => drop(headers.insert(header::RETRY_AFTER, retry_after(*wait))),
        _ => {}
    }
    response
}

async fn not_found(
    State(unrouted): State<Arc<Unrouted>>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Response {
    unrouted.answer(peer.address, request.method(), request.uri(), request.headers())
}
