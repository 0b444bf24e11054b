//! The errors of the admin API, and of requests that are no provider's: one shape, with a code for programs and a
//! message for people.

use std::time::Duration;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

use crate::{
    feed::InvalidQuestion,
    request_id::RequestId,
    store::{FeedError, StoreError},
};

/// An error answer. Its body has the id of the request, so it is written where that is known ([`Self::response`]).
#[derive(Clone, Debug)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    retry_after: Option<Duration>,
    /// Of `history_changed`: where to go on.
    cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct ErrorBody {
    error: ErrorDetail,
}

#[derive(Serialize, ToSchema)]
pub struct ErrorDetail {
    /// For programs.
    code: &'static str,
    /// For people.
    message: String,
    request_id: String,
    /// Only of `history_changed`: the cursor to go on from.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

/// The errors that every route may answer.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it describes answers")]
pub enum AnyError {
    #[response(status = 400, description = "A parameter or the body cannot be used.")]
    BadRequest(#[to_schema] ErrorBody),
    #[response(status = 401, description = "The bearer token is missing or wrong.")]
    Unauthenticated(#[to_schema] ErrorBody),
    #[response(status = 429, description = "The bearer token was missing or wrong too often.")]
    TooManyFailures(#[to_schema] ErrorBody),
    #[response(status = 500, description = "An error of the service.")]
    Internal(#[to_schema] ErrorBody),
    #[response(
        status = 503,
        description = "The database does not answer now, or is busy. Try again after Retry-After."
    )]
    Unavailable(#[to_schema] ErrorBody),
}

/// There is no such thing.
#[derive(IntoResponses)]
#[response(status = 404, description = "There is no such thing.")]
#[expect(dead_code, reason = "it describes an answer")]
pub struct NotFound(#[to_schema] ErrorBody);

/// The cursor's item is not what it was.
#[derive(IntoResponses)]
#[response(
    status = 410,
    description = "The history has changed (point-in-time recovery): go on from the cursor in the error."
)]
#[expect(dead_code, reason = "it describes an answer")]
pub struct HistoryChanged(#[to_schema] ErrorBody);

impl ApiError {
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after: None, cursor: None }
    }

    pub fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub fn not_found(message: &'static str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub fn nothing_here() -> Self {
        Self::not_found("there is nothing at this path")
    }

    pub fn timed_out() -> Self {
        Self::unavailable("timed_out", "the request took too long")
    }

    pub fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path has other methods: see Allow")
    }

    /// About an item of a list.
    pub fn of_item(self, index: usize) -> Self {
        Self { message: format!("item {index}: {}", self.message), ..self }
    }

    /// The same may succeed after `wait`.
    pub fn retry_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }

    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// For people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// After which the same may succeed.
    pub fn wait(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The answer, with the id of the request.
    pub fn response(self, id: &RequestId) -> Response {
        let Self { status, code, message, retry_after, cursor } = self;
        let error = ErrorDetail { code, message, request_id: id.as_str().to_owned(), cursor };
        let mut response = (status, Json(ErrorBody { error })).into_response();
        if let Some(wait) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, retry_after_header(wait));
        }
        response
    }
}

/// Whole seconds, rounded up.
pub fn retry_after_header(wait: Duration) -> HeaderValue {
    HeaderValue::from(wait.as_secs() + 1)
}

/// Carries the error to where the request's id is known.
impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<FeedError> for ApiError {
    fn from(error: FeedError) -> Self {
        let message = error.to_string();
        match error {
            FeedError::InvalidCursor(_) => Self::bad_request("invalid_cursor", message),
            FeedError::HistoryChanged(cursor) => {
                Self { cursor: Some(cursor), ..Self::new(StatusCode::GONE, "history_changed", message) }
            }
            FeedError::RestoredElsewhere => Self::unavailable("restored_elsewhere", message),
            FeedError::Database(error) => error.into(),
        }
    }
}

impl From<InvalidQuestion> for ApiError {
    fn from(error: InvalidQuestion) -> Self {
        Self::bad_request("invalid_parameter", error.to_string())
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(error) | StoreError::Refused(error) => error.into(),
        }
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        let code = match &error {
            sqlx::Error::Database(error) => error.code().unwrap_or_default().into_owned(),
            _ => String::new(),
        };
        match (&error, code.get(..2)) {
            (sqlx::Error::PoolTimedOut, _) => Self::unavailable("busy", "all connections to the database are in use"),
            // query canceled, by the statement timeout
            _ if code == "57014" => Self::unavailable("timed_out", "the database took too long"),
            // connection exception, insufficient resources, operator intervention, serialization failure
            (sqlx::Error::Io(_) | sqlx::Error::PoolClosed | sqlx::Error::Tls(_), _)
            | (_, Some("08" | "53" | "57" | "40")) => {
                Self::unavailable("database_unavailable", "the database does not answer")
            }
            // the tables are not there yet, the role lacks a right, or a standby is asked to write
            (_, Some("42" | "25")) => {
                tracing::error!(%error, "the database refuses a statement of the admin API");
                let message = "the database refuses the statement: its migrations are pending, or a right is missing";
                Self::unavailable("database_refuses", message)
            }
            // numbers and texts that a column cannot hold
            (_, Some("22")) => Self::bad_request("invalid_value", "a value cannot be stored or compared"),
            _ => {
                tracing::error!(%error, "a request to the admin API failed");
                Self::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "internal",
                    "an error of the service; its log has the cause",
                )
            }
        }
    }
}

impl ApiError {
    pub(super) fn unavailable(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message).retry_after(Duration::ZERO)
    }
}
