//! The simplest server: axum and sqlx, one insert a request, without authentication or normalization.

use std::{env, sync::Arc};

use anyhow::Context;
use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use serde_json::Value;
use sqlx::{PgPool, postgres::PgPoolOptions, types::Json};
use tokio::net::TcpListener;
use uuid::Uuid;

/// Makes this program run as that server; the database URL follows.
pub const ARGUMENT: &str = "--single-insert-server";

const INSERT: &str = "
    insert into ticket_events (
        id, provider, account, environment, booking_ref, revision, status, pnr, airline_pnrs, passengers,
        ticket_numbers, warnings, payload, content_hash, received_at, last_received_at
    ) values ($1, $2, 'bench', 'live', $3, 1, 'ticketed', $4, $5, $6, $7, '{}', $8, $9, now(), now())";

/// Serves until it is killed.
#[tokio::main]
pub async fn serve() -> anyhow::Result<()> {
    let url = env::args().skip_while(|argument| argument != ARGUMENT).nth(1).context("a database URL is missing")?;
    let pool = PgPoolOptions::new().max_connections(16).min_connections(16).connect(&url).await?;
    let router = Router::new()
        .route("/webhooks/ticket-status-update", post(ticket_status_update))
        .route("/webhooks/booking-callback", post(booking_callback))
        .route("/webhooks/order-ticketed", post(order_ticketed))
        .with_state(Arc::new(pool));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    eprintln!("{{\"public.address\":\"{}\"}}", listener.local_addr()?);
    Ok(axum::serve(listener, router).await?)
}

async fn ticket_status_update(State(pool): State<Arc<PgPool>>, body: Bytes) -> StatusCode {
    insert(&pool, "ticket_status_update", &body, "/BookingTransactionRef", "/TicketInfoes").await
}

async fn booking_callback(State(pool): State<Arc<PgPool>>, body: Bytes) -> StatusCode {
    insert(&pool, "booking_callback", &body, "/BookingId", "/Passengers").await
}

async fn order_ticketed(State(pool): State<Arc<PgPool>>, body: Bytes) -> StatusCode {
    insert(&pool, "order_ticketed", &body, "/data/orderNo", "/data/paxTicketInfos").await
}

async fn insert(pool: &PgPool, provider: &str, body: &[u8], booking_ref: &str, passengers: &str) -> StatusCode {
    let Ok(document) = serde_json::from_slice::<Value>(body) else { return StatusCode::BAD_REQUEST };
    let inserted = sqlx::query(INSERT)
        .bind(Uuid::now_v7())
        .bind(provider)
        .bind(document.pointer(booking_ref).and_then(Value::as_str))
        .bind(document.pointer("/PNR").and_then(Value::as_str))
        .bind(["LMN456", "XYZ789"])
        .bind(document.pointer(passengers))
        .bind(["ETKT1234567890", "ETKT1234567891"])
        .bind(Json(&document))
        .bind([7_u8; 32].as_slice())
        .execute(pool)
        .await;
    inserted.map_or(StatusCode::SERVICE_UNAVAILABLE, |_| StatusCode::OK)
}
