//! The layers around each listener's router, the outermost first.
//!
//! They stand around the `Router`, not on it: `Router::layer` boxes the service and its future for each request.
//!
//! Invariants:
//! - Every answer has an `x-request-id`, that of a panic too.
//! - A panic is answered and logged, and ends its own request only.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{ConnectInfo, Request},
    http::{
        HeaderName, HeaderValue, Response, StatusCode, Uri, header,
        uri::{self, PathAndQuery},
    },
};
use tower::{ServiceBuilder, layer::layer_fn};
use tower_http::{
    compression::CompressionLayer,
    request_id::{PropagateRequestIdLayer, SetRequestIdLayer},
    set_header::SetResponseHeaderLayer,
    timeout::TimeoutLayer,
    trace::TraceLayer,
};
use tracing::Span;

use super::{
    panics::{CatchPanics, PanicContext},
    server::Peer,
    service::HttpService,
    unrouted::loggable_path,
};
use crate::{
    config::plain_path,
    receive::Endpoint,
    request_id::{self, MakeUuidV7, RequestId},
    secrets::CurrentSecrets,
};

/// Beyond what any request to the admin listener takes: a page may wait for half of it.
const ADMIN_TIMEOUT: Duration = Duration::from_secs(60);

/// Four layers of tower-http are left out on purpose:
/// - trace: a span for each delivery, whose one log line has all fields of it already;
/// - timeout: it drops the handler, and would answer 408 for a delivery that is being stored;
/// - limit and decompression: they bound each body, and not the memory of all connections (tower-rs/tower-http#615);
/// - request body timeout: it limits the time of a body, not its rate (tower-rs/tower-http#623).
pub(super) fn public(
    router: Router,
    endpoints: Vec<(String, Endpoint)>,
    secrets: Arc<CurrentSecrets>,
) -> impl HttpService {
    let panics = Arc::new(PanicContext { endpoints, secrets });
    ServiceBuilder::new()
        .map_request(strip_untrusted_id)
        .layer(SetRequestIdLayer::x_request_id(MakeUuidV7))
        .layer(PropagateRequestIdLayer::x_request_id())
        .map_request(normalize_path)
        .layer(layer_fn(move |inner| CatchPanics { inner, context: Arc::clone(&panics) }))
        .service(router)
}

pub(super) fn admin(router: Router, secrets: Arc<CurrentSecrets>) -> impl HttpService {
    let panics = Arc::new(PanicContext { endpoints: Vec::new(), secrets: Arc::clone(&secrets) });
    let response_header =
        |name: HeaderName, value| SetResponseHeaderLayer::overriding(name, HeaderValue::from_static(value));
    // log lines carry their own fields here: there are no spans
    let secrets_of_answers = Arc::clone(&secrets);
    let trace = TraceLayer::new_for_http()
        .make_span_with(|_: &Request| Span::none())
        .on_request(move |request: &Request, _: &Span| {
            let id = RequestId::of(request.extensions()).redacted(true, &secrets);
            let (method, path) = (request.method().as_str(), loggable_path(request.uri(), &secrets));
            tracing::debug!(method, path, request.id = id.as_str(), "admin request");
        })
        .on_response(move |answer: &Response<_>, duration: Duration, _: &Span| {
            let id = RequestId::of(answer.extensions()).redacted(true, &secrets_of_answers);
            let duration_ms = duration.as_secs_f64() * 1000.0;
            tracing::debug!(status = answer.status().as_u16(), duration_ms, request.id = id.as_str(), "admin answer");
        })
        // a failing readiness check is no error of this listener
        .on_failure(());
    ServiceBuilder::new()
        .map_request(strip_untrusted_id)
        .layer(SetRequestIdLayer::x_request_id(MakeUuidV7))
        .layer(trace)
        .layer(PropagateRequestIdLayer::x_request_id())
        // the assets of the console have their own
        .layer(SetResponseHeaderLayer::if_not_present(header::CACHE_CONTROL, HeaderValue::from_static("no-store")))
        .layer(response_header(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(response_header(header::REFERRER_POLICY, "no-referrer"))
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, ADMIN_TIMEOUT))
        .layer(CompressionLayer::new())
        .map_request(normalize_path)
        .layer(layer_fn(move |inner| CatchPanics { inner, context: Arc::clone(&panics) }))
        .service(router)
}

/// `SetRequestIdLayer` takes any id that it finds.
fn strip_untrusted_id(mut request: Request) -> Request {
    let peer = request.extensions().get::<ConnectInfo<Peer>>();
    let is_from_proxy = peer.is_some_and(|ConnectInfo(peer)| peer.is_trusted_proxy);
    request_id::strip_untrusted(request.headers_mut(), is_from_proxy);
    request
}

/// Removes a trailing slash and doubled ones: a URL that people type has them often. tower-http's `NormalizePath` trims
/// the ends only.
fn normalize_path(mut request: Request) -> Request {
    if let Some(uri) = normalized(request.uri()) {
        *request.uri_mut() = uri;
    }
    request
}

/// `None` when it is normal already.
fn normalized(uri: &Uri) -> Option<Uri> {
    let path = plain_path(uri.path());
    if path == uri.path() {
        return None;
    }
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut parts = uri::Parts::default();
    parts.path_and_query = Some(PathAndQuery::try_from(format!("{path}{query}")).ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, routing::get};
    use http_body_util::BodyExt;
    use serde_json::Value;
    use tower::ServiceExt;

    use super::*;
    use crate::secrets::Secrets;

    async fn ask(path: &str, header: Option<(&str, &str)>) -> (Response<()>, Vec<u8>) {
        let routes = Router::new()
            .route("/panic", get(async || -> StatusCode { panic!("on purpose") }))
            .route("/long", get(async || "long ".repeat(1000)));
        let secrets = Arc::new(CurrentSecrets::from_pointee(Secrets::new(&[], None, None)));
        let mut request = Request::builder().uri(path);
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let answer = admin(routes, secrets).oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.ok().unwrap().to_bytes();
        (Response::from_parts(parts, ()), body.to_vec())
    }

    #[tokio::test]
    async fn a_panic_that_is_no_providers_is_an_internal_error() {
        let (answer, body) = ask("/panic", Some(("x-request-id", "a-strangers"))).await;
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((answer.status().as_u16(), &body["error"]["code"]), (500, &"internal".into()));
        assert_eq!(body["error"]["request_id"], answer.headers()["x-request-id"].to_str().unwrap());
        assert_ne!(body["error"]["request_id"], "a-strangers");
        assert!(!body.to_string().contains("on purpose"));
    }

    #[tokio::test]
    async fn an_answer_of_the_admin_listener_is_compressed_on_request_and_has_its_headers() {
        for path in ["/long", "/long/", "//long"] {
            let (answer, body) = ask(path, Some(("accept-encoding", "gzip"))).await;
            assert_eq!(
                (answer.status().as_u16(), answer.headers()["content-encoding"].as_bytes()),
                (200, &b"gzip"[..])
            );
            assert!(body.len() < 500, "{}", body.len());
        }
        let (answer, body) = ask("/long", None).await;
        assert_eq!((answer.headers().get("content-encoding"), body.len()), (None, 5000));
        for (name, value) in
            [("cache-control", "no-store"), ("x-content-type-options", "nosniff"), ("referrer-policy", "no-referrer")]
        {
            assert_eq!(answer.headers()[name], value);
        }
    }
}
