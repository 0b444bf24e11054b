//! The operators' listener: health and metrics for anyone who reaches it, everything else behind the bearer token.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use secrecy::ExposeSecret;

use super::{error::error, health, health::Health, metrics, metrics::Observer};
use crate::{credentials::Digest, secrets::CurrentSecrets};

/// All routes of the admin listener.
pub fn admin_router(health: Health, observer: Observer, secrets: Arc<CurrentSecrets>) -> Router {
    let rest = Router::new().fallback(guarded).with_state(secrets);
    health::routes(health).merge(metrics::routes(observer)).fallback_service(rest)
}

async fn guarded(State(secrets): State<Arc<CurrentSecrets>>, headers: HeaderMap) -> Response {
    let presented = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.split_once(' '));
    let presented = presented.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let secrets = secrets.load();
    let token = secrets.admin_token.as_ref().map(|token| Digest::of([token.expose_secret()]));
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
