//! Replies to providers as HTTP responses.

use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};

use crate::{
    api::retry_after_header,
    providers::{Provider, Reply},
};

/// Seconds, for what could not be made durable.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("30");

/// The reply in the provider's format, with the headers that HTTP has for it.
pub(super) fn encode(provider: &dyn Provider, reply: &Reply) -> Response {
    let encoded = provider.encode(reply);
    let mut response = (encoded.status, encoded.body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.extend(encoded.header);
    match reply {
        Reply::MethodNotAllowed => drop(headers.insert(header::ALLOW, HeaderValue::from_static("POST"))),
        Reply::UnsupportedEncoding => {
            drop(headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip")));
        }
        Reply::Unavailable => drop(headers.insert(header::RETRY_AFTER, RETRY_AFTER)),
        Reply::TooManyFailures(wait) => drop(headers.insert(header::RETRY_AFTER, retry_after_header(*wait))),
        _ => {}
    }
    response
}
