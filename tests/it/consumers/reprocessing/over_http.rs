//! `/v1/unprocessed`: the list, one with its body, and reprocessing.

use serde_json::{Value, json};

use super::{Kept, events, id, payload, rows, says};
use crate::support::{ApiClient, Database};

#[tokio::test]
async fn unprocessed_deliveries_are_listed_newest_first_and_shown_with_their_body() {
    let database = Database::new().await;
    let (_service, api) = ApiClient::start(&database, &[]).await;
    for second in 1..=5 {
        Kept::new("booking_callback", "invalid", format!("{{\"number\": {second}, \"nul\": \"\0\"}}"))
            .store(&database, second)
            .await;
    }
    Kept::new("order_ticketed", "malformed", b"\xff\x00\xfe broken").store(&database, 6).await;
    let mut read = Vec::new();
    let mut after = String::new();
    loop {
        let page = api.get(&format!("/v1/unprocessed?limit=4{after}")).await.body;
        read.extend(page["unprocessed"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()));
        assert!(page["unprocessed"][0].get("body").is_none());
        after = format!("&after={}", page["next"].as_str().unwrap());
        if page["more"] == false {
            break;
        }
    }
    assert_eq!(read, (1..=6).rev().map(id).collect::<Vec<_>>());
    let count = async |query: &str| {
        let answer = api.get(&format!("/v1/unprocessed?{query}")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body["unprocessed"].as_array().unwrap().len()
    };
    assert_eq!(count("provider=order_ticketed").await, 1);
    assert_eq!(count("reason=invalid&environment=live").await, 5);
    assert_eq!(count("environment=test").await, 0);
    assert_eq!(count("reprocessed=true").await, 0);
    assert_eq!(count("reprocessed=false").await, 6);

    let text = api.get(&format!("/v1/unprocessed/{}", id(2))).await.body;
    assert_eq!((&text["body"], &text["body_encoding"]), (&json!("{\"number\": 2, \"nul\": \"\0\"}"), &json!("utf-8")));
    assert_eq!((&text["detail"], &text["delivery_count"]), (&json!("of another day"), &json!(1)));
    let bytes = api.get(&format!("/v1/unprocessed/{}", id(6))).await.body;
    assert_eq!((&bytes["body"], &bytes["body_encoding"]), (&json!("/wD+IGJyb2tlbg=="), &json!("base64")));
}

#[tokio::test]
async fn a_request_that_cannot_be_answered_is_an_error_with_a_code() {
    let database = Database::new().await;
    let (_service, api) = ApiClient::start(&database, &[]).await;
    for query in [
        "limit=0",
        "limit=1001",
        "reason=other",
        "environment=none",
        "after=1",
        "since=2026-05-01",
        "nothing=1",
        "reprocessed=2",
    ] {
        let answer = api.get(&format!("/v1/unprocessed?{query}")).await;
        assert_eq!((answer.status, &answer.body["error"]["code"]), (400, &json!("invalid_parameter")), "{query}");
    }
    for query in ["limit=501", "since=yesterday", "since=99999-01-01T00:00:00Z", "dry_run=perhaps", "reprocessed=true"]
    {
        let answer = api.post(&format!("/v1/unprocessed/reprocess?{query}"), Value::Null).await;
        assert_eq!((answer.status, &answer.body["error"]["code"]), (400, &json!("invalid_parameter")), "{query}");
    }
    let answer = api.get("/v1/unprocessed?provider=%00").await;
    assert_eq!((answer.status, &answer.body["error"]["code"]), (400, &json!("invalid_value")));
    for (method, path, status) in [
        ("GET", format!("/v1/unprocessed/{}", id(1)), 404),
        ("POST", format!("/v1/unprocessed/{}/reprocess", id(1)), 404),
        ("GET", "/v1/unprocessed/one".to_owned(), 400),
        ("POST", "/v1/unprocessed/one/reprocess".to_owned(), 400),
        ("DELETE", format!("/v1/unprocessed/{}", id(1)), 405),
        ("POST", "/v1/unprocessed/reprocess?since=0000-01-01T00:00:00Z".to_owned(), 200),
        ("POST", "/v1/unprocessed/reprocess?since=9999-12-31T23:59:59.999999999Z".to_owned(), 200),
    ] {
        let answer = api.ask(method, &path, None).await;
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
    }
}

#[tokio::test]
async fn a_delivery_is_reprocessed_over_http_and_a_dry_run_only_says_what_would_happen() {
    let database = Database::new().await;
    let (_service, api) = ApiClient::start(&database, &[]).await;
    Kept::new("booking_callback", "invalid", says("Pending", "B1", "")).store(&database, 1).await;
    Kept::new("order_ticketed", "refused", "no JSON").store(&database, 2).await;
    Kept::new("order_ticketed", "invalid", payload("order_ticketed", "B2").to_string()).store(&database, 3).await;
    let path = format!("/v1/unprocessed/{}/reprocess", id(1));
    let recorded = json!({
        "id": id(1), "provider": "booking_callback", "environment": "live", "outcome": "recorded", "event_id": id(1),
        "booking_ref": "B1", "revision": 1, "late": false,
    });
    assert_eq!(api.post(&format!("{path}?dry_run=true"), Value::Null).await.body, recorded);
    assert_eq!(events(&database).await.len(), 0);
    assert_eq!(api.ask("POST", &path, None).await.body, recorded);
    assert_eq!(events(&database).await.len(), 1);
    let again = api.ask("POST", &path, None).await.body;
    assert_eq!((&again["outcome"], &again["event_id"]), (&json!("already_reprocessed"), &json!(id(1))));

    let before = rows(&database).await;
    let answer = api.ask("POST", "/v1/unprocessed/reprocess?dry_run=true", None).await.body;
    let outcomes: Vec<_> = answer["reprocessed"].as_array().unwrap().iter().map(|one| one["outcome"].clone()).collect();
    assert_eq!(outcomes, ["unprocessed", "recorded"]);
    assert_eq!(rows(&database).await, before);
    let answer = api.ask("POST", "/v1/unprocessed/reprocess?limit=1", None).await.body;
    let one = &answer["reprocessed"][0];
    assert_eq!(
        (&one["outcome"], &one["reason"], &answer["more"]),
        (&json!("unprocessed"), &json!("malformed"), &json!(true))
    );
    let path = format!("/v1/unprocessed/reprocess?after={}&provider=order_ticketed", answer["next"].as_str().unwrap());
    let answer = api.ask("POST", &path, None).await.body;
    assert_eq!((&answer["reprocessed"][0]["outcome"], &answer["more"]), (&json!("recorded"), &json!(false)));
    let shown = api.get("/v1/unprocessed?reprocessed=true").await.body;
    assert_eq!(shown["unprocessed"].as_array().unwrap().len(), 2);
    assert_eq!(shown["unprocessed"][0]["event_id"], id(3));
}
