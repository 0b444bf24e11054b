//! The operators' listener: health and metrics for anyone who reaches it, everything else behind the bearer token.

use std::{net::IpAddr, num::NonZeroU32, sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use secrecy::ExposeSecret;

use super::{
    client_address::Proxies,
    error::{error, retry_after},
    health, metrics,
    server::Peer,
};
use crate::{
    addresses::{ClientLimiter, ClientPrefix},
    config::ServerSettings,
    credentials::Digest,
    metrics::{Metrics, Scrape},
    readiness::Readiness,
    secrets::CurrentSecrets,
};

/// Wrong or missing tokens of one client, a minute (see [`ClientLimiter`]); what is beyond is answered 429 and not logged. The right token is
/// never refused.
const FAILURES: NonZeroU32 = NonZeroU32::new(10).expect("it is not 0");

/// Checks the token.
struct Guard {
    secrets: Arc<CurrentSecrets>,
    proxies: Proxies,
    metrics: Arc<Metrics>,
    failures: ClientLimiter,
}

/// All routes of the admin listener.
pub fn admin_router(
    readiness: Readiness,
    scrape: Scrape,
    secrets: Arc<CurrentSecrets>,
    settings: &ServerSettings,
) -> Router {
    let guard = Guard {
        secrets,
        proxies: Proxies::new(settings),
        metrics: Arc::clone(scrape.metrics()),
        failures: ClientLimiter::new(FAILURES),
    };
    let rest = Router::new().fallback(guarded).with_state(Arc::new(guard));
    health::routes(readiness).merge(metrics::routes(Arc::new(scrape))).fallback_service(rest)
}

async fn guarded(State(guard): State<Arc<Guard>>, Extension(peer): Extension<Peer>, headers: HeaderMap) -> Response {
    if guard.is_right(&headers) {
        return error(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path", &headers);
    }
    match guard.failed(guard.proxies.client(peer.address.ip(), &headers)) {
        Ok(()) => {
            let message = "the bearer token of the configuration's [admin] section is needed";
            let mut response = error(StatusCode::UNAUTHORIZED, "unauthenticated", message, &headers);
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            response
        }
        Err(wait) => {
            let message = "the bearer token was missing or wrong too often";
            let mut response = error(StatusCode::TOO_MANY_REQUESTS, "too_many_failures", message, &headers);
            response.headers_mut().insert(header::RETRY_AFTER, retry_after(wait));
            response
        }
    }
}

impl Guard {
    fn is_right(&self, headers: &HeaderMap) -> bool {
        let presented = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.split_once(' '));
        let presented = presented.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let secrets = self.secrets.load();
        let token = secrets.admin_token.as_ref().map(|token| Digest::of([token.expose_secret()]));
        token.zip(presented).is_some_and(|(token, (_, presented))| token.is(&Digest::of([presented])))
    }

    /// Counts a failure and logs it. `Err` when the client has failed too often; the time until another one is heard.
    fn failed(&self, client: IpAddr) -> Result<(), Duration> {
        self.metrics.admin_authentication_failures.inc();
        self.failures.check(client)?;
        tracing::warn!(client.address = %ClientPrefix::of(client), "the admin token was missing or wrong");
        Ok(())
    }
}
