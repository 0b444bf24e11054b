//! The admin listener: health and metrics without a credential, everything else behind the bearer token.

use std::{net::IpAddr, num::NonZeroU32, sync::Arc, time::Duration};

use axum::{
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use secrecy::ExposeSecret;
use tokio::time::timeout;

use super::{client_address::TrustedProxies, health, layers, metrics, server::Peer, service::HttpService};
use crate::{
    addresses::{ClientLimiter, ClientPrefix},
    api::{self, Api, ApiError},
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

/// Until the answer begins; below the timeout of all requests to this listener, which has no body.
const API_TIMEOUT: Duration = Duration::from_secs(55);

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
    api: &Arc<Api>,
    secrets: Arc<CurrentSecrets>,
    settings: &ServerSettings,
) -> impl HttpService {
    let guard = Arc::new(TokenGuard {
        secrets: Arc::clone(&secrets),
        proxies: TrustedProxies::new(settings),
        metrics: Arc::clone(scrape.metrics()),
        failures: ClientLimiter::new(MAX_FAILURES_PER_MINUTE),
    });
    let guarded = api::routes(api).layer(middleware::from_fn_with_state(guard, guard_route));
    let router = health::routes(readiness).merge(metrics::routes(Arc::new(scrape))).fallback_service(guarded);
    layers::admin(router, secrets)
}

/// Lets a request with the right token through, and writes the errors of the API.
async fn guard_route(
    State(guard): State<Arc<TokenGuard>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let id = RequestId::of(request.extensions());
    if let Err(response) = guard.authenticate(request.headers(), &peer, &id) {
        return response;
    }
    let mut response = match timeout(API_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::timed_out().into_response(),
    };
    let Some(error) = response.extensions_mut().remove::<ApiError>() else { return response };
    let mut written = error.response(&id);
    if let Some(allow) = response.headers_mut().remove(header::ALLOW) {
        written.headers_mut().insert(header::ALLOW, allow);
    }
    written
}

impl TokenGuard {
    /// `Err`: the answer.
    #[expect(clippy::result_large_err, reason = "an answer of the API")]
    fn authenticate(&self, headers: &HeaderMap, peer: &Peer, id: &RequestId) -> Result<(), Response> {
        if self.is_authenticated(headers) {
            return Ok(());
        }
        Err(match self.count_failure(self.proxies.client_address(peer.address.ip(), headers)) {
            Ok(()) => {
                let message = "the bearer token of the configuration's [admin] section is needed";
                let mut response = ApiError::new(StatusCode::UNAUTHORIZED, "unauthenticated", message).response(id);
                response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                response
            }
            Err(wait) => {
                let message = "the bearer token was missing or wrong too often";
                let error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_failures", message);
                error.retry_after(wait).response(id)
            }
        })
    }

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
