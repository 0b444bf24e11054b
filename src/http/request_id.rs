//! `x-request-id`: taken from the request when it is sane, else made; on every answer and every log line.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

use crate::redaction::Redactor;

const NAME: HeaderName = HeaderName::from_static("x-request-id");

const MAX_LENGTH: usize = 128;

/// Sees to it that a request has an id, which [`of`] finds from then on, and returns it.
pub(super) fn assign(headers: &mut HeaderMap, redactor: &Redactor) -> HeaderValue {
    let mut ids = headers.get_all(NAME).iter();
    if let (Some(id), None) = (ids.next(), ids.next())
        && id.to_str().is_ok_and(|id| is_sane(id, b"") && !redactor.knows(id))
    {
        return id.clone();
    }
    let mut text = Uuid::encode_buffer();
    let text: &str = Uuid::now_v7().hyphenated().encode_lower(&mut text);
    let id = HeaderValue::from_str(text).expect("a UUID can stand in a header");
    headers.insert(NAME, id.clone());
    id
}

/// Puts the id on an answer.
pub(super) fn put(headers: &mut HeaderMap, id: HeaderValue) {
    headers.insert(NAME, id);
}

/// The id of a request that came through here.
pub(super) fn of(headers: &HeaderMap) -> &str {
    headers.get(NAME).and_then(|id| id.to_str().ok()).unwrap_or_default()
}

/// Nothing that could break a log line or a shell; some characters more may be fine.
pub(super) fn is_sane(text: &str, also: &[u8]) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte) || also.contains(&byte);
    !text.is_empty() && text.len() <= MAX_LENGTH && text.bytes().all(is_plain)
}
