//! The order of the feed, its pages and their errors.

use std::time::{Duration, Instant};

use serde_json::Value;
use sqlx::PgPool;
use tokio::time::sleep;

use super::history::serve;
use crate::support::{ApiClient, Database, PROVIDERS, Server, Service};

/// Sends the sample deliveries of all providers about these bookings.
pub(super) async fn send(service: &Service, bookings: std::ops::Range<usize>) {
    for booking in bookings {
        for provider in &PROVIDERS {
            let body = (provider.delivery)("main", &format!("B-{booking}")).to_string();
            assert_eq!(service.post(provider, body).await.status, 200);
        }
    }
}

/// The ids of all events in the order of the feed.
pub(super) async fn stored_ids(database: &Database) -> Vec<String> {
    let query = "select id::text from ticket_events order by generation, recorded_xid, sequence";
    sqlx::query_scalar(query).fetch_all(&database.pool).await.unwrap()
}

/// Waits until everything that is committed is given out: tasks in the background write, and hold it back for moments.
pub(super) async fn all_given_out(pool: &PgPool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    let query = "select seconds is not null from ticket_feed_held_back()";
    while sqlx::query_scalar::<_, bool>(query).fetch_one(pool).await.unwrap() {
        assert!(Instant::now() < deadline, "the feed stays held back");
        sleep(Duration::from_millis(5)).await;
    }
}

fn ids(events: &[Value]) -> Vec<String> {
    events.iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn pages_give_every_event_once_in_the_order_of_the_feed() {
    let database = Database::new().await;
    let (service, api) = ApiClient::start(&database, &[]).await;
    send(&service, 0..10).await;
    all_given_out(&database.pool).await;
    let (mut read, mut after) = (Vec::new(), String::new());
    loop {
        let page = api.get(&format!("/v1/events?limit=7{after}")).await.body;
        let events = page["events"].as_array().unwrap();
        read.extend(ids(events));
        after = format!("&after={}", page["next"].as_str().unwrap());
        if !page["more"].as_bool().unwrap() {
            break;
        }
        assert_eq!(events.len(), 7);
    }
    assert_eq!((read.len(), read), (30, stored_ids(&database).await));
    let page = api.get(&format!("/v1/events?limit=7{after}")).await.body;
    assert_eq!((page["events"].as_array().unwrap().len(), &page["more"]), (0, &Value::Bool(false)));
    assert_eq!(format!("&after={}", page["next"].as_str().unwrap()), after);
}

#[tokio::test]
async fn a_parameter_that_cannot_be_used_is_an_error_with_a_code() {
    let database = Database::new().await;
    let (_service, api) = ApiClient::start(&database, &[]).await;
    for (query, code) in [
        ("after=nonsense", "invalid_cursor"),
        ("after=1.2.3", "invalid_cursor"),
        ("limit=0", "invalid_parameter"),
        ("limit=1001", "invalid_parameter"),
        ("wait=31", "invalid_parameter"),
        ("status=unknown", "invalid_parameter"),
        ("nothing=1", "invalid_parameter"),
        ("after=0.0.0.00000000.0&from=now", "invalid_parameter"),
    ] {
        let answer = api.get(&format!("/v1/events?{query}")).await;
        assert_eq!((answer.status, &answer.body["error"]["code"]), (400, &code.into()), "{query}: {answer:?}");
        assert_eq!(answer.headers["x-request-id"], answer.body["error"]["request_id"].as_str().unwrap());
    }
    let answer = api.get("/v1/events?after=1.5.5.0a0b0c0d.1764142345123456").await;
    assert_eq!((answer.status, &answer.body["error"]["code"]), (410, &"history_changed".into()));
    assert_eq!(answer.body["error"]["cursor"], "0.0.0.00000000.0");
    assert_eq!(api.get("/v1/nothing").await.status, 404);
    assert_eq!(api.post("/v1/events", Value::Null).await.status, 405);
}

#[tokio::test]
async fn while_postgres_is_away_every_page_says_so_and_soon_at_once() {
    let mut server = Server::start(true).await;
    let (_service, api) = serve(server.url()).await;
    server.signal("QUIT");
    server.gone().await;
    let mut answer = api.get("/v1/events").await;
    let started = Instant::now();
    for path in ["/v1/events?wait=10", "/v1/consumers", "/v1/bookings?overdue=true"] {
        assert_eq!((answer.status, &answer.body["error"]["code"]), (503, &"database_unavailable".into()));
        answer = api.get(path).await;
    }
    assert!(started.elapsed() < Duration::from_secs(4));
    server.start_again().await;
    let deadline = Instant::now() + Duration::from_secs(20);
    while api.get("/v1/events").await.status != 200 {
        assert!(Instant::now() < deadline);
    }
}
