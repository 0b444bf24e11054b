//! The admin API: the routes under `/v1/`, for the agency's own systems. `http::admin` puts the token in front of them.
//!
//! Every answer is described by `/openapi.json`, which is made from the handlers; every error has the shape of
//! [`ApiError`].

#![allow(unused_qualifications, reason = "the macros of utoipa qualify")]

mod consumers;
mod error;
mod events;
mod extract;
mod openapi;
mod stream;
mod unprocessed;

use std::sync::Arc;

use axum::Router;
use utoipa_axum::{router::OpenApiRouter, routes};

pub use self::error::ApiError;
use crate::{feed::Feed, reprocess::Reprocessor, store::Pool};

/// What the handlers work with.
pub struct Api {
    pub pool: Pool,
    pub feed: Feed,
    pub reprocessor: Arc<Reprocessor>,
}

/// The routes, without the token.
pub fn routes(api: Arc<Api>) -> Router {
    let router = OpenApiRouter::with_openapi(openapi::description())
        .routes(routes!(events::list))
        .routes(routes!(stream::follow))
        .routes(routes!(consumers::list))
        .routes(routes!(consumers::get, consumers::put, consumers::delete))
        .routes(routes!(unprocessed::list))
        .routes(routes!(unprocessed::reprocess_all))
        .routes(routes!(unprocessed::get))
        .routes(routes!(unprocessed::reprocess));
    let (router, description) = router.with_state(api).split_for_parts();
    router
        .merge(openapi::route(description))
        .fallback(async || ApiError::not_found("there is nothing at this path"))
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
}
