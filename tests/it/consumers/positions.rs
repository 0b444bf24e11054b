//! Named positions.

use serde_json::{Value, json};

use super::pages::{all_given_out, send};
use crate::support::{ApiClient, Database, Scrape};

async fn cursor(api: &ApiClient, query: &str) -> String {
    api.get(&format!("/v1/events?{query}")).await.body["next"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_named_position_goes_forwards_unless_told_otherwise() {
    let database = Database::new().await;
    let (service, api) = ApiClient::start(&database, &[]).await;
    send(&service, 0..2).await;
    all_given_out(&database.pool).await;
    let (early, late) = (cursor(&api, "limit=2").await, cursor(&api, "limit=5").await);
    assert_eq!(api.get("/v1/consumers/back-office").await.status, 404);
    let created = api.put("/v1/consumers/back-office", json!({"position": early})).await;
    assert_eq!((created.status, &created.body["lag_events"]), (201, &json!(4)));
    let moved = api.put("/v1/consumers/back-office", json!({"position": late})).await;
    assert_eq!((moved.status, &moved.body["lag_events"]), (200, &json!(1)));
    assert!(moved.body["lag_seconds"].as_f64().unwrap() > 0.0);
    assert_eq!(api.put("/v1/consumers/back-office", json!({"position": late})).await.status, 200, "the same again");
    let refused = api.put("/v1/consumers/back-office", json!({"position": early})).await;
    assert_eq!((refused.status, &refused.body["error"]["code"]), (409, &json!("would_rewind")));
    let back = api.put("/v1/consumers/back-office", json!({"position": early, "rewind": true})).await;
    assert_eq!((back.status, &back.body["position"]), (200, &json!(early)));
    let all = api.get("/v1/consumers").await.body;
    assert_eq!(all["consumers"].as_array().unwrap().iter().filter(|one| one["name"] == "back-office").count(), 1);
    let lag = Scrape::of(&service).await.get("ticket_webhooks_consumer_lag_events", &[("consumer", "back-office")]);
    assert_eq!(lag, 4.0);
    assert_eq!(api.delete("/v1/consumers/back-office").await.status, 204);
    assert_eq!(api.delete("/v1/consumers/back-office").await.status, 404);
}

#[tokio::test]
async fn a_position_that_cannot_be_is_refused() {
    let database = Database::new().await;
    let (_service, api) = ApiClient::start(&database, &[]).await;
    let start = json!({"position": "0.0.0.00000000.0"});
    for (name, body, status, code) in [
        ("Back%20office", start.clone(), 400, "invalid_name"),
        ("%00", start.clone(), 400, "invalid_name"),
        ("one", json!({"position": "nonsense"}), 400, "invalid_cursor"),
        ("one", json!({}), 400, "invalid_body"),
        ("one", json!({"position": "0.0.0.00000000.0", "rewind": "yes"}), 400, "invalid_body"),
        ("one", json!({"position": "1.5.5.0a0b0c0d.1764142345123456"}), 410, "history_changed"),
        ("search", start.clone(), 409, "reserved_name"),
    ] {
        let answer = api.put(&format!("/v1/consumers/{name}"), body).await;
        assert_eq!((answer.status, &answer.body["error"]["code"]), (status, &Value::from(code)), "{name}");
    }
    for number in 0..60 {
        let status = api.put(&format!("/v1/consumers/c{number}"), start.clone()).await.status;
        assert!(status == 201 || (status == 409 && number > 45), "{number}: {status}");
    }
}
