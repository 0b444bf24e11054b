//! The service's own error answers: for operators, and for requests that are no provider's.

use std::time::Duration;

use axum::{
    Json,
    http::{HeaderValue, StatusCode},
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::request_id::RequestId;

/// Whole seconds, rounded up.
pub(super) fn retry_after(wait: Duration) -> HeaderValue {
    HeaderValue::from(wait.as_secs() + 1)
}

/// `code` is for programs, `message` for people.
pub(super) fn error(status: StatusCode, code: &str, message: &str, id: &RequestId) -> Response {
    let body = json!({"error": {"code": code, "message": message, "request_id": id.as_str()}});
    (status, Json(body)).into_response()
}
