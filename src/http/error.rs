//! Errors in the words of this service, for callers who are no provider.

use std::time::Duration;

use axum::{
    Json,
    http::{HeaderMap, HeaderValue, StatusCode},
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::request_id;

/// When to try again, in whole seconds, none of them too early.
pub(super) fn retry_after(wait: Duration) -> HeaderValue {
    HeaderValue::from(wait.as_secs() + 1)
}

/// An answer with a code for programs and a message for people.
pub(super) fn error(status: StatusCode, code: &str, message: &str, headers: &HeaderMap) -> Response {
    let request_id = request_id::of(headers);
    let body = json!({"error": {"code": code, "message": message, "request_id": request_id}});
    (status, Json(body)).into_response()
}
