//! `x-request-id`: taken from the request when it is sane, else made; on every answer and every log line.

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, Request},
};
use tower::util::MapRequestLayer;
use tower_http::{
    request_id::{MakeRequestId, PropagateRequestIdLayer, RequestId, SetRequestIdLayer},
    trace::TraceLayer,
};
use tracing::Span;
use uuid::Uuid;

const NAME: HeaderName = HeaderName::from_static("x-request-id");

const MAX_LENGTH: usize = 128;

/// Puts the id on every request and answer of these routes. One layer for all of it: each that is added to a router
/// costs every request an allocation or two.
pub(super) fn add_to(router: Router) -> Router {
    let trace = TraceLayer::new_for_http().make_span_with(span).on_request(()).on_response(()).on_failure(());
    router.layer((
        MapRequestLayer::new(without_insane),
        SetRequestIdLayer::new(NAME, MakeUuid),
        PropagateRequestIdLayer::new(NAME),
        trace,
    ))
}

/// The id of a request that came through here.
pub(super) fn of(headers: &HeaderMap) -> &str {
    headers.get(NAME).and_then(|id| id.to_str().ok()).unwrap_or_default()
}

fn span<B>(request: &Request<B>) -> Span {
    tracing::info_span!("request", id = of(request.headers()))
}

#[derive(Clone)]
struct MakeUuid;

impl MakeRequestId for MakeUuid {
    fn make_request_id<B>(&mut self, _request: &Request<B>) -> Option<RequestId> {
        HeaderValue::try_from(Uuid::now_v7().to_string()).ok().map(RequestId::new)
    }
}

fn without_insane(mut request: Request<Body>) -> Request<Body> {
    let mut ids = request.headers().get_all(NAME).iter();
    let is_fine = ids.next().is_none_or(is_sane) && ids.next().is_none();
    if !is_fine {
        request.headers_mut().remove(NAME);
    }
    request
}

/// Nothing that could break a log line or a shell.
fn is_sane(id: &HeaderValue) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte);
    !id.is_empty() && id.len() <= MAX_LENGTH && id.as_bytes().iter().all(is_plain)
}
