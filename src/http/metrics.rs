//! `GET /metrics`. [`Scrape`] makes the page.

use std::sync::Arc;

use axum::{Router, extract::State, http::header, response::IntoResponse, routing::get};

use crate::metrics::{CONTENT_TYPE, Scrape};

pub(super) fn routes(scrape: Arc<Scrape>) -> Router {
    Router::new().route("/metrics", get(page)).with_state(scrape)
}

async fn page(State(scrape): State<Arc<Scrape>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], scrape.page().await)
}
