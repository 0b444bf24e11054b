//! Forwards: each event to the agency's own system, signed, in the order of its booking, until it says yes.

/// Over https.
mod certificates;
/// Everything breaks, at random.
mod chaos;
/// `ticket-webhooks forward`.
mod command;
/// The requests and what the receiver may answer.
mod delivery;
/// A booking that cannot be delivered, pausing, resuming and skipping.
mod operators;
/// Taking over, stopping, reloading.
mod replicas;

use serde_json::Value;
use tokio::task::spawn_blocking;

use crate::support::{ADMIN_TOKEN, ApiClient, Command, Database, Receiver, Service, provider, settings};

/// A service that forwards to a receiver from the start, with these variables.
async fn forwarding(url: &str, receiver: &Receiver, variables: &[(&str, &str)]) -> (Service, ApiClient) {
    let mut all = settings(url);
    all.extend(receiver.settings());
    all.push(("TICKET_WEBHOOKS__ADMIN__TOKEN".to_owned(), ADMIN_TOKEN.to_owned()));
    all.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let command = Command::new(&["serve"]).envs(&all);
    let service = spawn_blocking(move || Service::over(command.start())).await.unwrap();
    let api = ApiClient::of(&service.admin).await;
    (service, api)
}

/// A whole answer of the receiver.
fn answer(status: u16) -> String {
    format!("HTTP/1.1 {status} Status\r\ncontent-length: 0\r\n\r\n")
}

/// Delivers an event about a booking of `booking_callback`. Each `remark` is another revision.
async fn deliver(service: &Service, booking: &str, remark: &str) {
    let provider = provider("booking_callback");
    let mut body = (provider.delivery)("main", booking);
    body["Remark"] = remark.into();
    let answer = service.post(provider, body.to_string()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// The forward as the API describes it.
async fn forward(api: &ApiClient) -> Value {
    api.get("/v1/forwards").await.body["forwards"][0].clone()
}

/// Waits until a condition holds for the forward.
async fn until(api: &ApiClient, condition: impl Fn(&Value) -> bool) -> Value {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(40);
    loop {
        let forward = forward(api).await;
        if condition(&forward) {
            return forward;
        }
        assert!(std::time::Instant::now() < deadline, "the condition never held: {forward:#}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// Waits until everything is recorded as delivered.
async fn until_delivered(api: &ApiClient, database: &Database) {
    let newest = "select ticket_feed_last_cursor(ticket_feed_generation(), pg_snapshot_xmax(pg_current_snapshot()))";
    let newest: String = sqlx::query_scalar(newest).fetch_one(&database.pool).await.unwrap();
    until(api, |forward| forward["position"] == newest.as_str()).await;
}
