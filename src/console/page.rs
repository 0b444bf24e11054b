//! What all pages share: their frame, and how errors are shown.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::Next,
    response::{Html, IntoResponse, Response},
};

use tower_http::csrf::ProtectionError;

use super::{Console, assets, session::Session};
use crate::{
    api::{ApiError, retry_after_header},
    request_id::RequestId,
};

/// A page that is written as HTML.
pub(super) struct Page<T>(pub(super) T);

impl<T: Template> IntoResponse for Page<T> {
    fn into_response(self) -> Response {
        match self.0.render() {
            Ok(html) => Html(html).into_response(),
            Err(error) => {
                tracing::error!(%error, "a page cannot be written");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    }
}

/// Where a page stands in the menu.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Overview,
    Events,
    Bookings,
    Unprocessed,
    Connect,
    None,
}

/// What stands around the content of a page.
pub(super) struct Frame {
    pub(super) place: Place,
    /// Of who is signed in.
    pub(super) name: Option<String>,
}

impl Frame {
    pub(super) fn new(place: Place, session: &Session) -> Self {
        Self { place, name: Some(session.name.clone()) }
    }

    /// For nobody in particular.
    pub(super) fn bare() -> Self {
        Self { place: Place::None, name: None }
    }

    pub(super) fn style(&self) -> &str {
        &assets::STYLE.path
    }

    pub(super) fn script(&self) -> &str {
        &assets::SCRIPT.path
    }

    pub(super) fn icon(&self) -> &str {
        &assets::ICON.path
    }

    /// The menu: path, title, and whether it is this page's.
    pub(super) fn menu(&self) -> Vec<(&'static str, &'static str, bool)> {
        [
            ("/", "Overview", Place::Overview),
            ("/events", "Events", Place::Events),
            ("/bookings", "Bookings", Place::Bookings),
            ("/unprocessed", "Unprocessed", Place::Unprocessed),
            ("/connect", "Connect", Place::Connect),
        ]
        .map(|(path, title, place)| (path, title, place == self.place))
        .to_vec()
    }
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    frame: Frame,
    status: u16,
    title: &'static str,
    message: &'a str,
    request_id: &'a str,
}

/// Writes the errors of handlers as pages.
pub(super) async fn show_errors(State(console): State<Arc<Console>>, request: Request, next: Next) -> Response {
    let id = RequestId::of(request.extensions());
    let headers = request.headers().clone();
    let mut response = next.run(request).await;
    let is_from_elsewhere = response.extensions().get::<ProtectionError>().is_some();
    let error = match response.extensions_mut().remove::<ApiError>() {
        Some(error) => error,
        None if is_from_elsewhere => ApiError::new(
            StatusCode::FORBIDDEN,
            "from_elsewhere",
            "This change did not come from a page of this console. A load balancer must keep the headers Host and Origin.",
        ),
        None if response.status() == StatusCode::METHOD_NOT_ALLOWED => ApiError::method_not_allowed(),
        None => return response,
    };
    let session = Session::of(&headers, &console.token);
    error_page(&error, session.map(|session| Frame::new(Place::None, &session)), &id)
}

/// An error as a page.
pub(super) fn error_page(error: &ApiError, frame: Option<Frame>, id: &RequestId) -> Response {
    let status = error.status();
    let title = match status {
        StatusCode::NOT_FOUND => "There is nothing here",
        StatusCode::SERVICE_UNAVAILABLE => "This cannot be shown now",
        status if status.is_client_error() => "This cannot be asked",
        _ => "Something went wrong",
    };
    let page = ErrorPage {
        frame: frame.unwrap_or_else(Frame::bare),
        status: status.as_u16(),
        title,
        message: error.message(),
        request_id: id.as_str(),
    };
    let mut response = (status, Page(page)).into_response();
    if let Some(wait) = error.wait() {
        response.headers_mut().insert(header::RETRY_AFTER, retry_after_header(wait));
    }
    response
}
