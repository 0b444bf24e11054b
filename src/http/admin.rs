//! The admin listener: health and metrics without a credential, the API behind the bearer token, the console behind a sign-in with
//! that token.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use tokio::time::timeout;

use super::{
    client_address::{self, TrustedProxies},
    health, layers, metrics,
    server::Peer,
    service::HttpService,
};
use crate::{
    admin_token::AdminToken,
    api::{self, Api, ApiError},
    config::ServerSettings,
    console::{self, Client, Console},
    metrics::Scrape,
    readiness::Readiness,
    request_id::RequestId,
    secrets::CurrentSecrets,
    spool::Spools,
};

/// Until the answer begins; below the timeout of all requests to this listener, which has no body.
const API_TIMEOUT: Duration = Duration::from_secs(55);

struct TokenGuard {
    token: Arc<AdminToken>,
    proxies: TrustedProxies,
}

/// The routes of the admin listener within its layers.
pub fn admin_service(
    readiness: Readiness,
    scrape: Scrape,
    api: &Arc<Api>,
    secrets: Arc<CurrentSecrets>,
    settings: &ServerSettings,
) -> impl HttpService {
    let proxies = TrustedProxies::new(settings);
    let token = Arc::new(AdminToken::new(Arc::clone(&secrets), Arc::clone(scrape.metrics())));
    let spools = scrape.spools();
    let console = Arc::new(Console {
        api: Arc::clone(api),
        token: Arc::clone(&token),
        secrets: Arc::clone(&secrets),
        spooled: Box::new(move || spools.as_ref().map(Spools::records)),
    });
    let console = console::routes(&console).layer(middleware::from_fn_with_state(proxies.clone(), tell_client));
    let guard = Arc::new(TokenGuard { token, proxies });
    let guarded = api::routes(api).layer(middleware::from_fn_with_state(guard, guard_route));
    let router =
        health::routes(readiness).merge(metrics::routes(Arc::new(scrape))).merge(console).fallback_service(guarded);
    layers::admin(router, secrets)
}

/// Tells the console who asks.
async fn tell_client(
    State(proxies): State<TrustedProxies>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    let address = proxies.client_address(peer.address.ip(), request.headers());
    let is_https = peer.is_trusted_proxy && client_address::is_https(request.headers());
    request.extensions_mut().insert(Client { address, is_https });
    next.run(request).await
}

/// Lets a request with the right token through, and writes the errors of the API.
async fn guard_route(
    State(guard): State<Arc<TokenGuard>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let id = RequestId::of(request.extensions());
    if is_from_a_person(request.headers()) {
        return console::unknown_page(&guard.token, request.headers(), &id);
    }
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

/// Whether a browser asks, which has no bearer token: a wrong address is no guess at one.
fn is_from_a_person(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accepted.contains("text/html") && !headers.contains_key(header::AUTHORIZATION)
}

impl TokenGuard {
    /// `Err`: the answer.
    #[expect(clippy::result_large_err, reason = "an answer of the API")]
    fn authenticate(&self, headers: &HeaderMap, peer: &Peer, id: &RequestId) -> Result<(), Response> {
        if self.is_authenticated(headers) {
            return Ok(());
        }
        Err(match self.token.count_failure(self.proxies.client_address(peer.address.ip(), headers)) {
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
        presented.is_some_and(|(_, presented)| self.token.is(presented))
    }
}
