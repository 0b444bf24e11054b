//! The admin listener: health and metrics without a credential, everything else behind the bearer token.
//!
//! It has no other route yet, so the right token is answered 404.

use std::{net::IpAddr, num::NonZeroU32, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use secrecy::ExposeSecret;

use super::{
    client_address::TrustedProxies,
    error::{error, retry_after},
    health, layers, metrics,
    server::Peer,
    service::HttpService,
};
use crate::{
    addresses::{ClientLimiter, ClientPrefix},
    config::ServerSettings,
    credentials::Digest,
    metrics::{Metrics, Scrape},
    readiness::Readiness,
    request_id::RequestId,
    secrets::CurrentSecrets,
};

/// For each client (see [`ClientLimiter`]). Failures beyond it are answered 429 and not logged; the right token always
/// passes.
const MAX_FAILURES_PER_MINUTE: NonZeroU32 = NonZeroU32::new(10).expect("10 is not 0");

struct TokenGuard {
    secrets: Arc<CurrentSecrets>,
    proxies: TrustedProxies,
    metrics: Arc<Metrics>,
    failures: ClientLimiter,
}

/// The routes of the admin listener within its layers.
pub fn admin_service(
    readiness: Readiness,
    scrape: Scrape,
    secrets: Arc<CurrentSecrets>,
    settings: &ServerSettings,
) -> impl HttpService {
    let guard = TokenGuard {
        secrets: Arc::clone(&secrets),
        proxies: TrustedProxies::new(settings),
        metrics: Arc::clone(scrape.metrics()),
        failures: ClientLimiter::new(MAX_FAILURES_PER_MINUTE),
    };
    let rest = Router::new().fallback(guarded).with_state(Arc::new(guard));
    let router = health::routes(readiness).merge(metrics::routes(Arc::new(scrape))).fallback_service(rest);
    layers::admin(router, secrets)
}

async fn guarded(
    State(guard): State<Arc<TokenGuard>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
) -> Response {
    let (headers, id) = (request.headers(), RequestId::of(request.extensions()));
    if guard.is_authenticated(headers) {
        return error(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path", &id);
    }
    match guard.count_failure(guard.proxies.client_address(peer.address.ip(), headers)) {
        Ok(()) => {
            let message = "the bearer token of the configuration's [admin] section is needed";
            let mut response = error(StatusCode::UNAUTHORIZED, "unauthenticated", message, &id);
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            response
        }
        Err(wait) => {
            let message = "the bearer token was missing or wrong too often";
            let mut response = error(StatusCode::TOO_MANY_REQUESTS, "too_many_failures", message, &id);
            response.headers_mut().insert(header::RETRY_AFTER, retry_after(wait));
            response
        }
    }
}

impl TokenGuard {
    fn is_authenticated(&self, headers: &HeaderMap) -> bool {
        let presented = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.split_once(' '));
        let presented = presented.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let secrets = self.secrets.load();
        let token = secrets.admin_token.as_ref().map(|token| Digest::of([token.expose_secret()]));
        token.zip(presented).is_some_and(|(token, (_, presented))| token.is(&Digest::of([presented])))
    }

    /// Counts and logs a failed authentication. `Err` when the client has failed too often, with the time to wait.
    fn count_failure(&self, client: IpAddr) -> Result<(), Duration> {
        self.metrics.admin_authentication_failures.inc();
        self.failures.check(client)?;
        tracing::warn!(client.address = %ClientPrefix::of(client), "the admin token was missing or wrong");
        Ok(())
    }
}
