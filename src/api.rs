//! The admin API: the routes under `/v1/`, for the agency's own systems. `http::admin` puts the token in front of them.
//!
//! Every answer is described by `/openapi.json`, which is made from the handlers; every error has the shape of
//! [`ApiError`].

#![allow(unused_qualifications, reason = "the macros of utoipa qualify")]

mod booking_key;
mod bookings;
mod csv;
mod error;
mod events;
mod extract;
mod openapi;
mod reconciliation;

use std::sync::Arc;

use axum::Router;
use utoipa_axum::{router::OpenApiRouter, routes};

pub use self::error::ApiError;
use crate::{bookings::Bookings, feed::Feed, store::Pool};

/// What the handlers work with.
pub struct Api {
    pub pool: Pool,
    pub feed: Feed,
    pub bookings: Bookings,
}

/// The routes, without the token.
pub fn routes(api: Arc<Api>) -> Router {
    let router = OpenApiRouter::with_openapi(openapi::description())
        .routes(routes!(events::list))
        .routes(routes!(bookings::list, bookings::post))
        .routes(routes!(bookings::get, bookings::put, bookings::delete))
        .routes(routes!(reconciliation::get));
    let (router, description) = router.with_state(api).split_for_parts();
    router
        .merge(openapi::route(description))
        .fallback(async || ApiError::not_found("there is nothing at this path"))
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
}
