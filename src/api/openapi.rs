//! `GET /openapi.json`: what the API answers, made from the handlers.

use std::sync::Arc;

use axum::{Json, Router, routing::get};
use utoipa::{
    OpenApi,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};

use super::error::{ErrorBody, ErrorDetail};

/// The parts that stand in no handler.
#[derive(OpenApi)]
#[openapi(
    info(title = "ticket-webhooks", description = "What the agency's own systems ask of the service."),
    security(("token" = [])),
    components(schemas(ErrorBody, ErrorDetail)),
    tags(
        (name = "feed", description = "Every item once, in an order that never changes."),
        (name = "bookings", description = "What is expected, the state of each booking, and what does not fit."),
        (name = "unprocessed", description = "What could not be processed, and its second chance."),
        (name = "forwards", description = "The events, sent on to the agency's own systems."),
        (name = "privacy", description = "Erasing personal data.")
    )
)]
struct Description;

pub(super) fn description() -> utoipa::openapi::OpenApi {
    let mut description = Description::openapi();
    let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("admin.token")).build();
    let components = description.components.get_or_insert_default();
    components.add_security_scheme("token", SecurityScheme::Http(token));
    description
}

pub(super) fn route(description: utoipa::openapi::OpenApi) -> Router {
    let description = Arc::new(description);
    Router::new().route("/openapi.json", get(async move || Json(Arc::clone(&description))))
}
