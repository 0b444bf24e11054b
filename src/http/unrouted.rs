//! Requests to a path at which there is nothing.
//!
//! A `POST` to one may be a delivery that is lost because somebody typed a wrong URL: it is counted, and there is a line
//! about it, once a minute for each client, for strangers ask for all kinds of paths.

use std::{net::SocketAddr, num::NonZeroU32, sync::Arc};

use axum::{
    http::{HeaderMap, Method, StatusCode, Uri},
    response::Response,
};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use super::{client_address::Proxies, error::error, request_id};
use crate::{addresses::ClientLimiter, metrics::Metrics, redaction::REDACTED, secrets::CurrentSecrets};

/// Lines in the log about all clients together, a minute.
const LINES: NonZeroU32 = NonZeroU32::new(600).expect("it is not 0");

/// Answers, counts and logs them.
pub(super) struct Unrouted {
    pub(super) secrets: Arc<CurrentSecrets>,
    pub(super) proxies: Proxies,
    metrics: Arc<Metrics>,
    lines: ClientLimiter,
    all_lines: DefaultDirectRateLimiter,
}

impl Unrouted {
    pub(super) fn new(secrets: Arc<CurrentSecrets>, proxies: Proxies, metrics: Arc<Metrics>) -> Self {
        Self {
            secrets,
            proxies,
            metrics,
            lines: ClientLimiter::new(NonZeroU32::MIN),
            all_lines: RateLimiter::direct(Quota::per_minute(LINES)),
        }
    }

    pub(super) fn answer(&self, peer: SocketAddr, method: &Method, uri: &Uri, headers: &HeaderMap) -> Response {
        let client = self.proxies.client(peer.ip(), headers);
        let redactor = &self.secrets.load().redactor;
        let path = Some(uri.path()).filter(|path| request_id::is_plain(path, b"/") && !redactor.contains_secret(path));
        let id = request_id::logged(headers, self.proxies.contain(peer.ip()), &self.secrets);
        macro_rules! line {
            ($level:ident, $message:literal) => {
                tracing::$level!(
                    path = path.unwrap_or(REDACTED),
                    method = method.as_str(),
                    request.id = id,
                    client.address = %client,
                    $message
                )
            };
        }
        if method == Method::POST {
            self.metrics.unrouted.increment(1);
        }
        if method == Method::POST && self.lines.check(client).is_ok() && self.all_lines.check().is_ok() {
            line!(warn, "nothing at this path: a provider may have a wrong URL");
        } else {
            line!(debug, "nothing at this path");
        }
        error(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path", headers)
    }
}
