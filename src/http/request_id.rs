//! `x-request-id`: on every answer and every log line. It is this service's own unless a trusted proxy has given one:
//! nothing can be learnt from how a stranger's id is treated.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

use crate::{clock, redaction::REDACTED, secrets::CurrentSecrets};

const NAME: HeaderName = HeaderName::from_static("x-request-id");

const MAX_LENGTH: usize = 128;

/// Sees to it that a request has an id, which [`of`] finds from then on, and returns it. What a trusted proxy has sent is
/// taken when it is plain.
pub(super) fn assign(headers: &mut HeaderMap, is_from_proxy: bool) -> HeaderValue {
    let mut ids = headers.get_all(NAME).iter();
    if is_from_proxy
        && let (Some(id), None) = (ids.next(), ids.next())
        && id.to_str().is_ok_and(|id| is_plain(id, b""))
    {
        return id.clone();
    }
    let mut text = Uuid::encode_buffer();
    let text: &str = clock::new_id().hyphenated().encode_lower(&mut text);
    let id = HeaderValue::from_str(text).expect("a UUID can stand in a header");
    headers.insert(NAME, id.clone());
    id
}

/// The id as it is logged: a proxy may pass on what a stranger wrote.
pub(super) fn logged<'a>(headers: &'a HeaderMap, is_from_proxy: bool, secrets: &CurrentSecrets) -> &'a str {
    let id = of(headers);
    if is_from_proxy && secrets.load().redactor.contains_secret(id) { REDACTED } else { id }
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
pub(super) fn is_plain(text: &str, also: &[u8]) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte) || also.contains(&byte);
    !text.is_empty() && text.len() <= MAX_LENGTH && text.bytes().all(is_allowed)
}
