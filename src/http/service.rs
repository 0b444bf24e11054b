//! What a listener serves, without its concrete type.

use std::convert::Infallible;

use axum::{BoxError, body::HttpBody, extract::Request, response::Response};
use tower::Service;

/// What a listener serves: a router within its layers.
pub trait HttpService:
    Service<Request, Response = Response<Self::ResponseBody>, Error = Infallible, Future: Send> + Clone + Send + 'static
{
    /// Depends on the layers.
    type ResponseBody: HttpBody<Data: Send, Error: Into<BoxError>> + Send + 'static;
}

impl<S, B> HttpService for S
where
    S: Service<Request, Response = Response<B>, Error = Infallible, Future: Send> + Clone + Send + 'static,
    B: HttpBody<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    type ResponseBody = B;
}
