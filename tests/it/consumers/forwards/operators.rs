use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use uuid::Uuid;

use super::{deliver, forward, forwarding, until, until_delivered};
use crate::support::{ApiClient, Database, Reaction, Receiver, Scrape, Service};

/// A receiver that refuses one booking with a status while it is told to.
async fn refusing(status: u16) -> (Receiver, Arc<AtomicBool>) {
    let refuses = Arc::new(AtomicBool::new(true));
    let is_refusing = Arc::clone(&refuses);
    let receiver = Receiver::start(move |received| {
        let is_bad = received.data()["booking_ref"] == "bad" && is_refusing.load(Ordering::SeqCst);
        Reaction::status(if is_bad { status } else { 200 })
    });
    (receiver.await, refuses)
}

async fn gauge(service: &Service, name: &str) -> f64 {
    Scrape::of(service).await.get(&format!("ticket_webhooks_forward_{name}"), &[("forward", "back")])
}

#[tokio::test]
async fn a_receiver_that_is_gone_pauses_the_forward_and_loses_nothing() {
    let database = Database::new().await;
    let (receiver, refuses) = refusing(410).await;
    let (service, api) = forwarding(&database.url(), &receiver, &[]).await;
    deliver(&service, "bad", "first").await;
    let paused = until(&api, |forward| forward["paused"].is_object()).await;
    assert_eq!(paused["paused"]["reason"], "gone");
    assert_eq!(gauge(&service, "paused").await, 2.0);
    deliver(&service, "good", "first").await;
    refuses.store(false, Ordering::SeqCst);
    // it would be tried again by now
    let nothing = tokio::time::timeout(Duration::from_secs(7), receiver.until(|received| received.len() > 1)).await;
    assert!(nothing.is_err(), "it is paused");
    // a restart changes nothing
    service.stop().await;
    let (service, api) = forwarding(&database.url(), &receiver, &[]).await;
    assert_eq!(forward(&api).await["paused"]["reason"], "gone");
    let resumed = api.post("/v1/forwards/back/resume", json!({})).await;
    assert_eq!((resumed.status, &resumed.body["paused"]), (200, &json!(null)));
    until_delivered(&api, &database).await;
    assert_eq!(receiver.accepted().len(), 2);
    assert_eq!(gauge(&service, "paused").await, 0.0);
}

#[tokio::test]
async fn a_forward_is_paused_and_resumed() {
    let database = Database::new().await;
    let (receiver, _) = refusing(200).await;
    let (service, api) = forwarding(&database.url(), &receiver, &[]).await;
    deliver(&service, "one", "first").await;
    until_delivered(&api, &database).await;
    let paused = api.post("/v1/forwards/back/pause", json!({})).await;
    assert_eq!((paused.status, &paused.body["paused"]["reason"]), (200, &json!("operator")));
    tokio::time::sleep(Duration::from_millis(2500)).await;
    deliver(&service, "two", "first").await;
    let nothing = tokio::time::timeout(Duration::from_secs(3), receiver.until(|received| received.len() > 1)).await;
    assert!(nothing.is_err(), "it is paused");
    assert_eq!((gauge(&service, "paused").await, gauge(&service, "lag_events").await), (1.0, 1.0));
    assert_eq!(api.post("/v1/forwards/back/resume", json!({})).await.status, 200);
    receiver.until_within(Duration::from_secs(4), |received| received.len() == 2).await;
}

#[tokio::test]
async fn an_event_that_cannot_be_delivered_is_skipped_by_name_and_that_is_recorded() {
    let database = Database::new().await;
    let (receiver, _) = refusing(422).await;
    let (service, api) = forwarding(&database.url(), &receiver, &[]).await;
    deliver(&service, "bad", "first").await;
    deliver(&service, "bad", "second").await;
    deliver(&service, "good", "first").await;
    let blocked = until(&api, |forward| forward["blocked_bookings"] == 1 && receiver.accepted().len() == 1).await;
    let item = &blocked["blocked"][0];
    assert_eq!(
        (&item["booking_ref"], &item["last_outcome"], &item["attempts"]),
        (&json!("bad"), &json!("refused 422"), &json!(1))
    );
    assert_eq!(gauge(&service, "blocked_bookings").await, 1.0);
    assert!(blocked["lag_events"].as_i64().unwrap() >= 2, "the position is before it: {blocked}");
    let skipped = api.post("/v1/forwards/back/skip", json!({"id": item["id"]})).await;
    assert_eq!(skipped.status, 200);
    assert_eq!((&skipped.body["blocked_bookings"], &skipped.body["skipped_items"]), (&json!(0), &json!(1)));
    assert_eq!(skipped.body["skipped"][0]["id"], item["id"]);
    let again = api.post("/v1/forwards/back/skip", json!({"id": item["id"]})).await;
    assert_eq!((again.status, &again.body["skipped_items"]), (200, &json!(1)), "a second time changes nothing");
    // the next event of the booking is tried, and fails, too
    let next =
        until(&api, |forward| forward["blocked"][0]["id"] != item["id"] && forward["blocked_bookings"] == 1).await;
    // a restart does not bring it back
    service.stop().await;
    let (_service, api) = forwarding(&database.url(), &receiver, &[]).await;
    assert_eq!(api.post("/v1/forwards/back/skip", json!({"id": next["blocked"][0]["id"]})).await.status, 200);
    until_delivered(&api, &database).await;
    let forward = forward(&api).await;
    assert_eq!((&forward["skipped_items"], &forward["lag_events"]), (&json!(2), &json!(0)));
    let ids: Vec<_> = receiver
        .received()
        .iter()
        .filter(|one| one.data()["booking_ref"] == "bad")
        .map(|one| one.id().to_owned())
        .collect();
    assert_eq!(ids.first().map(String::as_str), item["id"].as_str());
    let left: i64 = sqlx::query_scalar("select count(*) from forward_items").fetch_one(&database.pool).await.unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn what_is_not_there_is_answered_with_an_error() {
    let database = Database::new().await;
    let (receiver, _) = refusing(200).await;
    let (service, api) = forwarding(&database.url(), &receiver, &[]).await;
    deliver(&service, "one", "first").await;
    until_delivered(&api, &database).await;
    for action in ["pause", "resume"] {
        assert_eq!(api.post(&format!("/v1/forwards/other/{action}"), json!({})).await.status, 404);
    }
    let delivered = receiver.accepted().remove(0);
    for id in [delivered, Uuid::nil().to_string()] {
        assert_eq!(api.post("/v1/forwards/back/skip", json!({"id": id})).await.status, 404);
    }
    for body in [json!({}), json!({"id": "one"}), json!({"id": Uuid::nil(), "why": ""}), json!([])] {
        assert_eq!(api.post("/v1/forwards/back/skip", body).await.status, 400);
    }
    // its position is its own, as long as it is configured
    let start = json!({"position": "0.0.0.00000000.0", "rewind": true});
    assert_eq!(api.put("/v1/consumers/forward-back", start.clone()).await.status, 409);
    assert_eq!(api.put("/v1/consumers/forward-new", start).await.status, 409);
    assert_eq!(api.delete("/v1/consumers/forward-back").await.status, 409);
    assert_eq!(api.get("/v1/consumers/forward-back").await.body["lag_events"], 0);
    service.stop().await;
    let (_service, api) = ApiClient::start(&database, &[]).await;
    assert_eq!(api.delete("/v1/consumers/forward-back").await.status, 204);
    let left: i64 = sqlx::query_scalar("select count(*) from forwards").fetch_one(&database.pool).await.unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn an_event_that_is_delivered_while_it_is_skipped_is_not_recorded_as_skipped() {
    let database = Database::new().await;
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned();
    let receiver = Receiver::start(move |received| match received.earlier {
        0 => Reaction::status(500),
        _ => Reaction::Slow(Duration::from_secs(5), answer.clone()),
    })
    .await;
    let (service, api) = forwarding(&database.url(), &receiver, &[]).await;
    deliver(&service, "one", "first").await;
    let blocked = until(&api, |forward| forward["blocked_bookings"] == 1).await;
    receiver.until(|received| received.len() == 2).await;
    let skipped = api.post("/v1/forwards/back/skip", json!({"id": blocked["blocked"][0]["id"]})).await;
    assert_eq!((skipped.status, &skipped.body["skipped_items"]), (200, &json!(1)));
    until_delivered(&api, &database).await;
    let delivered = forward(&api).await;
    assert_eq!((&delivered["skipped_items"], &delivered["skipped"]), (&json!(0), &json!([])));
    assert_eq!(receiver.accepted().len(), 1);
}

#[tokio::test]
async fn what_the_configuration_does_not_ask_for_any_more_is_not_sent_again() {
    let database = Database::new().await;
    let (receiver, refuses) = refusing(500).await;
    let (service, api) = forwarding(&database.url(), &receiver, &[]).await;
    deliver(&service, "bad", "first").await;
    deliver(&service, "bad", "second").await;
    until(&api, |forward| forward["blocked_bookings"] == 1).await;
    service.stop().await;
    let requests = receiver.received().len();
    refuses.store(false, Ordering::SeqCst);
    let other = [("TICKET_WEBHOOKS__FORWARD__BACK__STATUSES", "cancelled")];
    let (service, api) = forwarding(&database.url(), &receiver, &other).await;
    until_delivered(&api, &database).await;
    let forward = forward(&api).await;
    assert_eq!((&forward["blocked_bookings"], &forward["skipped_items"]), (&json!(0), &json!(0)));
    assert_eq!(receiver.received().len(), requests);
    let left: i64 = sqlx::query_scalar("select count(*) from forward_items").fetch_one(&database.pool).await.unwrap();
    assert_eq!(left, 0);
    assert!(service.stop().await.contains("does not ask for this item any more"));
}

#[tokio::test]
async fn a_position_with_which_another_replica_forwards_is_not_deleted() {
    let database = Database::new().await;
    let (receiver, _) = refusing(200).await;
    let (service, api) = forwarding(&database.url(), &receiver, &[]).await;
    until(&api, |forward| forward["active"] == true).await;
    let (_other, without_forwards) = ApiClient::start(&database, &[]).await;
    assert_eq!(without_forwards.delete("/v1/consumers/forward-back").await.status, 409);
    service.stop().await;
    assert_eq!(without_forwards.delete("/v1/consumers/forward-back").await.status, 204);
    assert_eq!(without_forwards.delete("/v1/consumers/forward-back").await.status, 404);
}

#[tokio::test]
async fn a_forward_is_listed_before_it_has_begun() {
    let database = Database::new().await;
    let (receiver, _) = refusing(200).await;
    let mut transaction = database.pool.begin().await.unwrap();
    sqlx::query("lock table consumers in share mode").execute(&mut *transaction).await.unwrap();
    let (_service, api) = forwarding(&database.url(), &receiver, &[]).await;
    let listed = forward(&api).await;
    assert_eq!(
        (&listed["name"], &listed["active"], &listed["position"]),
        (&json!("back"), &json!(false), &json!(null))
    );
    let paused = api.post("/v1/forwards/back/pause", json!({})).await;
    assert_eq!((paused.status, &paused.body["error"]["code"]), (503, &json!("not_begun")), "{:?}", paused.body);
    transaction.rollback().await.unwrap();
    until(&api, |forward| forward["active"] == true && forward["position"].is_string()).await;
}

#[tokio::test]
async fn a_receiver_that_asks_for_time_gets_it_from_the_next_holder_too_until_somebody_resumes() {
    let database = Database::new().await;
    let receiver = Receiver::start(|received| match received.data()["booking_ref"] == "bad" && received.earlier == 0 {
        true => Reaction::with(429, "retry-after: 3600\r\n"),
        false => Reaction::status(200),
    })
    .await;
    let (service, api) = forwarding(&database.url(), &receiver, &[]).await;
    deliver(&service, "bad", "first").await;
    until(&api, |forward| forward["blocked_bookings"] == 1).await;
    service.stop().await;
    let (service, api) = forwarding(&database.url(), &receiver, &[]).await;
    until(&api, |forward| forward["active"] == true).await;
    deliver(&service, "good", "first").await;
    let nothing = tokio::time::timeout(Duration::from_secs(5), receiver.until(|received| received.len() > 1)).await;
    assert!(nothing.is_err(), "it asked for an hour");
    assert_eq!(api.post("/v1/forwards/back/resume", json!({})).await.status, 200);
    until_delivered(&api, &database).await;
    assert_eq!(receiver.accepted().len(), 2);
}
