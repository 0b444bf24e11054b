//! The admin API: the routes under `/v1/`, for the agency's own systems. `http::admin` puts the token in front of them.
//!
//! Every answer is described by `/openapi.json`, which is made from the handlers; every error has the shape of
//! [`ApiError`].

#![allow(unused_qualifications, reason = "the macros of utoipa qualify")]

mod booking_key;
mod bookings;
mod consumers;
mod csv;
mod erasures;
mod error;
mod events;
pub(crate) mod extract;
mod forwards;
mod openapi;
mod providers;
mod reconciliation;
mod stream;
mod unprocessed;

use std::sync::Arc;

use axum::Router;
use tokio::sync::Semaphore;
use utoipa_axum::{router::OpenApiRouter, routes};

pub use self::{
    booking_key::check_key,
    error::{ApiError, retry_after_header},
    forwards::ConfiguredForward,
    reconciliation::{csv_answer, period},
};
use crate::{bookings::Bookings, feed::Feed, providers::Provider, reprocess::Reprocessor, store::Pool};

/// Streams at once, of the 256 connections of the admin listener.
pub const MAX_STREAMS: usize = 200;

/// What the handlers work with.
pub struct Api {
    pub pool: Pool,
    pub feed: Feed,
    pub bookings: Bookings,
    pub reprocessor: Arc<Reprocessor>,
    /// Those of the configuration.
    pub forwards: Vec<ConfiguredForward>,
    /// One for each stream: other requests find a connection, too.
    pub streams: Arc<Semaphore>,
    /// The routes of the public listener, for the description.
    pub provider_paths: Vec<(String, &'static dyn Provider)>,
}

/// The routes, without the token.
pub fn routes(api: &Arc<Api>) -> Router {
    let router = OpenApiRouter::with_openapi(openapi::description())
        .routes(routes!(events::list))
        .routes(routes!(events::get))
        .routes(routes!(stream::follow))
        .routes(routes!(consumers::list))
        .routes(routes!(consumers::get, consumers::put, consumers::delete))
        .routes(routes!(bookings::list, bookings::post))
        .routes(routes!(bookings::get, bookings::put, bookings::delete))
        .routes(routes!(reconciliation::get))
        .routes(routes!(unprocessed::list))
        .routes(routes!(unprocessed::reprocess_all))
        .routes(routes!(unprocessed::get))
        .routes(routes!(unprocessed::reprocess))
        .routes(routes!(erasures::list, erasures::create))
        .routes(routes!(forwards::list))
        .routes(routes!(forwards::pause))
        .routes(routes!(forwards::resume))
        .routes(routes!(forwards::skip));
    let (router, mut description) = router.with_state(Arc::clone(api)).split_for_parts();
    providers::describe(&mut description, &api.provider_paths);
    router
        .merge(openapi::route(description))
        .fallback(async || ApiError::nothing_here())
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
}
