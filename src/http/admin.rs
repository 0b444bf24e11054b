//! The operators' listener: health and metrics for anyone who reaches it, everything else behind the bearer token.

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use secrecy::{ExposeSecret, SecretString};

use super::{error::error, health, health::Health, metrics, metrics::Observer};
use crate::credentials::Digest;

/// All routes of the admin listener.
pub fn admin_router(health: Health, observer: Observer, token: Option<SecretString>) -> Router {
    let token = token.map(|token| Digest::of([token.expose_secret()]));
    let rest = Router::new().fallback(guarded).with_state(token);
    health::routes(health).merge(metrics::routes(observer)).fallback_service(rest)
}

async fn guarded(State(token): State<Option<Digest>>, headers: HeaderMap) -> Response {
    let presented = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.split_once(' '));
    let presented = presented.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let is_right = token.zip(presented).is_some_and(|(token, (_, presented))| token.is(&Digest::of([presented])));
    if is_right {
        error(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path", &headers)
    } else {
        let message = "the bearer token of the configuration's [admin] section is needed";
        let mut response = error(StatusCode::UNAUTHORIZED, "unauthenticated", message, &headers);
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        response
    }
}
