//! `x-request-id`: on every answer and every log line.
//!
//! Invariants:
//! - An id is the service's own (a UUIDv7) unless a trusted proxy sent exactly one that is log-safe: a stranger learns
//!   nothing from how an id is treated.
//! - An id that holds a configured secret is never logged: a proxy may pass on what a stranger wrote.

use std::ops::Deref;

use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Request};
use tower_http::request_id::MakeRequestId;
use uuid::Uuid;

use crate::{clock, redaction::REDACTED, secrets::CurrentSecrets};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Bytes.
const MAX_LENGTH: usize = 128;

/// The id of a request: visible ASCII.
#[derive(Clone, Debug)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The id that `SetRequestIdLayer` gave a request or an answer; empty without that layer.
    pub fn of(extensions: &Extensions) -> Self {
        let id = extensions.get::<tower_http::request_id::RequestId>();
        Self(id.map_or(HeaderValue::from_static(""), |id| id.header_value().clone()))
    }

    /// A new one, for an answer without a request.
    pub fn generate() -> Self {
        let mut text = Uuid::encode_buffer();
        let text: &str = clock::new_id().hyphenated().encode_lower(&mut text);
        Self(HeaderValue::from_str(text).expect("a UUID is visible ASCII"))
    }

    /// As it may be logged. Only an id from a proxy can hold a secret.
    pub fn redacted(self, is_from_proxy: bool, secrets: &CurrentSecrets) -> Self {
        if is_from_proxy && secrets.load().redactor.contains_secret(&self) {
            return Self(HeaderValue::from_static(REDACTED));
        }
        self
    }

    /// The same text.
    pub fn as_str(&self) -> &str {
        self
    }
}

impl Deref for RequestId {
    type Target = str;

    fn deref(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

/// Makes the ids for `SetRequestIdLayer`.
#[derive(Clone, Copy)]
pub(crate) struct MakeUuidV7;

impl MakeRequestId for MakeUuidV7 {
    fn make_request_id<B>(&mut self, _: &Request<B>) -> Option<tower_http::request_id::RequestId> {
        Some(RequestId::generate().0.into())
    }
}

/// Removes an id that must not be used: `SetRequestIdLayer` takes any that is there.
pub(crate) fn strip_untrusted(headers: &mut HeaderMap, is_from_proxy: bool) {
    let mut ids = headers.get_all(X_REQUEST_ID).iter();
    let trusted = match (ids.next(), ids.next()) {
        (None, _) => return,
        (Some(id), None) if is_from_proxy => id.to_str().ok().filter(|id| is_log_safe(id, b"")),
        _ => None,
    };
    // copied: hyper's value is a slice that keeps the whole read buffer
    match trusted.and_then(|id| HeaderValue::from_str(id).ok()) {
        Some(id) => drop(headers.insert(X_REQUEST_ID, id)),
        None => drop(headers.remove(X_REQUEST_ID)),
    }
}

/// Whether a text is short and free of anything that could break a log line or a shell. `also` are further allowed bytes.
pub(crate) fn is_log_safe(text: &str, also: &[u8]) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte) || also.contains(&byte);
    !text.is_empty() && text.len() <= MAX_LENGTH && text.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_log_safe_id_of_a_proxy_is_kept() {
        for (is_from_proxy, ids, kept) in [
            (true, &["from-the-proxy.1"][..], Some("from-the-proxy.1")),
            (false, &["from-a-stranger.1"], None),
            (true, &["one", "another"], None),
            (true, &["with space"], None),
            (true, &[""], None),
            (true, &[], None),
            (false, &[], None),
        ] {
            let mut headers = HeaderMap::new();
            for id in ids {
                headers.append(X_REQUEST_ID, HeaderValue::from_static(id));
            }
            strip_untrusted(&mut headers, is_from_proxy);
            let left: Vec<_> = headers.get_all(X_REQUEST_ID).iter().collect();
            assert_eq!(left, kept.as_slice(), "{is_from_proxy} {ids:?}");
        }
    }
}
