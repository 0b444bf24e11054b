//! Requests to a path without a route.
//!
//! A `POST` may be a delivery that is lost to a wrong URL: it is counted, listed in `refused_requests`, and logged at
//! `warn`. Strangers try all kinds of paths, so that line is limited: once a minute for each client, and [`MAX_LINES_PER_MINUTE`] for all of them.

use std::{num::NonZeroU32, sync::Arc};

use axum::{
    http::{HeaderMap, Method, Uri},
    response::Response,
};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use super::{client_address::TrustedProxies, server::Peer};
use crate::{
    activity::{Activity, Refusal, Refused},
    addresses::ClientLimiter,
    api::ApiError,
    metrics::Metrics,
    redaction::REDACTED,
    request_id::{self, RequestId},
    secrets::CurrentSecrets,
};

const MAX_LINES_PER_MINUTE: NonZeroU32 = NonZeroU32::new(600).expect("600 is not 0");

pub(super) struct Unrouted {
    pub(super) secrets: Arc<CurrentSecrets>,
    pub(super) proxies: TrustedProxies,
    metrics: Arc<Metrics>,
    activity: Arc<Activity>,
    client_lines: ClientLimiter,
    all_lines: DefaultDirectRateLimiter,
}

impl Unrouted {
    pub(super) fn new(
        secrets: Arc<CurrentSecrets>,
        proxies: TrustedProxies,
        metrics: Arc<Metrics>,
        activity: Arc<Activity>,
    ) -> Self {
        Self {
            secrets,
            proxies,
            metrics,
            activity,
            client_lines: ClientLimiter::new(NonZeroU32::MIN),
            all_lines: RateLimiter::direct(Quota::per_minute(MAX_LINES_PER_MINUTE)),
        }
    }

    pub(super) fn answer(
        &self,
        peer: &Peer,
        id: RequestId,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Response {
        let client = self.proxies.client_address(peer.address.ip(), headers);
        let path = loggable_path(uri, &self.secrets);
        let answer = ApiError::nothing_here().response(&id);
        let id = id.redacted(peer.is_trusted_proxy, &self.secrets);
        macro_rules! line {
            ($level:ident, $message:literal) => {
                tracing::$level!(
                    path,
                    method = method.as_str(),
                    request.id = id.as_str(),
                    client.address = %client,
                    $message
                )
            };
        }
        if method == Method::POST {
            self.metrics.unrouted.inc();
            self.activity.refused.push(Refused {
                provider: None,
                reason: Refusal::Unrouted,
                detail: None,
                path: Some(path),
                client: Some(client),
                request_id: id.as_str(),
            });
        }
        if method == Method::POST && self.client_lines.check(client).is_ok() && self.all_lines.check().is_ok() {
            line!(warn, "nothing at this path: a provider may have a wrong URL");
        } else {
            line!(debug, "nothing at this path");
        }
        answer
    }
}

/// Redacted when it is not log-safe or holds a secret: a credential may be part of a mistyped URL.
pub(super) fn loggable_path<'a>(uri: &'a Uri, secrets: &CurrentSecrets) -> &'a str {
    let path = Some(uri.path()).filter(|path| request_id::is_log_safe(path, b"/"));
    path.filter(|path| !secrets.load().redactor.contains_secret(path)).unwrap_or(REDACTED)
}
