//! The console: pages on the admin listener for people. They show what the admin API gives, through the same functions.
//!
//! ```text
//! browser ──▶ http::admin ──▶ headers · cross-site check ──▶ session ──▶ a page ──▶ template
//! ```
//!
//! Invariants:
//!
//! - A page is made here, with its charts. The module of the browser (`assets/console.js`) shows times in the reader's zone,
//!   reads pages again, and asks before changes; without it everything can still be seen and done.
//! - Nothing is loaded from elsewhere, and there is no inline style or script: the content policy allows neither.
//! - What providers sent is text. No template marks it as safe.
//! - Identity documents and birth dates are masked until somebody asks for them, which is logged with their name.
//! - Nothing is stored for a session.

mod assets;
mod booking;
mod bookings;
mod chart;
mod connect;
mod events;
mod html;
mod overview;
mod page;
mod passengers;
mod payload;
mod session;
mod sign_in;
mod unprocessed;

use std::{net::IpAddr, sync::Arc};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::{HeaderMap, HeaderName, HeaderValue, header},
    middleware,
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use tower_http::{csrf::CsrfLayer, set_header::SetResponseHeaderLayer};

use self::{
    page::{Frame, Place},
    session::Session,
};
use crate::{
    admin_token::AdminToken,
    api::{Api, ApiError},
    request_id::RequestId,
    secrets::CurrentSecrets,
};

/// Of a form.
const MAX_BODY_BYTES: usize = 64 * 1024;

const CONTENT_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
     form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// What the pages work with.
pub struct Console {
    pub api: Arc<Api>,
    pub token: Arc<AdminToken>,
    pub secrets: Arc<CurrentSecrets>,
    /// Deliveries in the spools of this replica; `None` without spools.
    pub spooled: Box<dyn Fn() -> Option<u64> + Send + Sync>,
}

/// Who asks, as the listener knows it: an extension of each request.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    pub address: IpAddr,
    /// To the load balancer, if one stands between.
    pub is_https: bool,
}

/// For a browser at an address that is no page: says so to who is signed in, and sends others to the sign-in.
pub fn unknown_page(token: &AdminToken, headers: &HeaderMap, id: &RequestId) -> Response {
    let mut response = match Session::of(headers, token) {
        Some(session) => page::error_page(&ApiError::nothing_here(), Some(Frame::new(Place::None, &session)), id),
        None => Redirect::to("/sign-in").into_response(),
    };
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_POLICY));
    response
}

/// The pages, behind a sign-in.
pub fn routes(console: &Arc<Console>) -> Router {
    let pages = Router::new()
        .route("/", get(overview::show))
        .route("/connect", get(connect::first))
        .route("/connect/{provider}", get(connect::show))
        .route("/events", get(events::list))
        .route("/events/{id}/reveal", get(booking::show_event).post(booking::reveal))
        .route("/bookings", get(bookings::list).post(bookings::announce))
        .route("/reconciliation", get(bookings::reconciliation))
        .route("/reconciliation.csv", get(bookings::csv))
        .route("/unprocessed", get(unprocessed::list))
        .route("/unprocessed/reprocess", get(unprocessed::list).post(unprocessed::reprocess_all))
        .route("/unprocessed/{id}", get(unprocessed::show))
        .route("/unprocessed/{id}/reprocess", get(unprocessed::show_again).post(unprocessed::reprocess))
        .route("/unprocessed/{id}/reveal", get(unprocessed::show_again).post(unprocessed::reveal))
        .route("/bookings/{provider}/{environment}/{booking_ref}", get(booking::show))
        .route_layer(middleware::from_fn_with_state(Arc::clone(console), sign_in::require));
    let header = |name: HeaderName, value| SetResponseHeaderLayer::overriding(name, HeaderValue::from_static(value));
    Router::new()
        .route("/sign-in", get(sign_in::show).post(sign_in::sign_in))
        .route("/sign-out", post(sign_in::sign_out))
        .route("/assets/{name}", get(assets::get))
        // what browsers ask for by themselves
        .route("/favicon.ico", get(async || assets::ICON.response()))
        .merge(pages)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(CsrfLayer::new())
        .layer(middleware::from_fn_with_state(Arc::clone(console), page::show_errors))
        .layer(header(header::CONTENT_SECURITY_POLICY, CONTENT_POLICY))
        .layer(header(header::X_FRAME_OPTIONS, "DENY"))
        .layer(header(HeaderName::from_static("cross-origin-opener-policy"), "same-origin"))
        .with_state(Arc::clone(console))
}
