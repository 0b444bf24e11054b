//! The operators' listener: health and metrics for anyone who reaches it, everything else behind the bearer token.

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use super::{error::error, health, health::Health, metrics, metrics::Observer};

/// All routes of the admin listener.
pub fn admin_router(health: Health, observer: Observer, token: Option<SecretString>) -> Router {
    let rest = Router::new().fallback(guarded).with_state(token);
    health::routes(health).merge(metrics::routes(observer)).fallback_service(rest)
}

async fn guarded(State(token): State<Option<SecretString>>, headers: HeaderMap) -> Response {
    let presented = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.split_once(' '));
    let is_right = token.is_some_and(|token| {
        presented.is_some_and(|(scheme, presented)| {
            scheme.eq_ignore_ascii_case("bearer") && presented.as_bytes().ct_eq(token.expose_secret().as_bytes()).into()
        })
    });
    if is_right {
        error(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path", &headers)
    } else {
        let message = "the bearer token of the configuration's [admin] section is needed";
        let mut response = error(StatusCode::UNAUTHORIZED, "unauthenticated", message, &headers);
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        response
    }
}
