use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;

use super::{deliver, forwarding, until_delivered};
use crate::{
    consumers::pages::all_given_out,
    support::{ApiClient, Database, PROVIDERS, Reaction, Receiver, Scrape, provider},
};

#[tokio::test]
async fn every_event_is_sent_once_as_the_feed_gives_it() {
    let database = Database::new().await;
    let receiver = Receiver::start(|_| Reaction::status(200)).await;
    let (service, api) = forwarding(&database.url(), &receiver, &[]).await;
    for provider in &PROVIDERS {
        for account in ["main", "other"] {
            let body = (provider.delivery)(account, "Bücher-1").to_string();
            let request = service.request("POST", provider.path).body(body);
            let request = (provider.authorization)(account)
                .into_iter()
                .fold(request, |request, value| request.header("authorization", value.as_bytes()));
            assert_eq!(request.send().await.unwrap().status(), 200);
        }
    }
    let received = receiver.until(|received| received.len() >= 6).await;
    until_delivered(&api, &database).await;
    let feed = api.get("/v1/events?from=start").await.body["events"].clone();
    for item in feed.as_array().unwrap() {
        let one = received.iter().find(|one| one.id() == item["id"]).unwrap();
        assert_eq!(one.data(), item);
        assert_eq!(one.body, json!({"type": "revision", "timestamp": item["recorded_at"], "data": item}));
        assert_eq!(one.headers[":line"], "POST /tickets?token=in-the-url HTTP/1.1");
        assert_eq!(one.headers["content-type"], "application/json");
        let now = time::OffsetDateTime::now_utc().unix_timestamp();
        let timestamp: i64 = one.headers["webhook-timestamp"].parse().unwrap();
        assert!((now - 30..=now + 1).contains(&timestamp), "{timestamp}");
        // what signs is verified by the reference library in .ci/forward-check
        assert!(one.headers["webhook-signature"].starts_with("v1,"));
        assert!(item.get("payload").is_none());
    }
    assert_eq!(receiver.received().len(), 6, "each once");
    let scrape = Scrape::of(&service).await;
    let delivered = [("forward", "back"), ("outcome", "delivered")];
    assert_eq!(scrape.get("ticket_webhooks_forward_attempts_total", &delivered), 6.0);
    assert_eq!(scrape.get("ticket_webhooks_forward_lag_events", &[("forward", "back")]), 0.0);
    assert_eq!(scrape.get("ticket_webhooks_consumer_lag_events", &[("consumer", "forward-back")]), 0.0);
    let log = service.stop().await;
    assert!(log.contains("\"message\":\"forwarded\""), "{log}");
    for personal in ["Mehta", "Jane", "zhang", "in-the-url", "whsec_", "098-2412345678", "123458"] {
        assert!(!log.contains(personal), "{personal}: {log}");
    }
}

#[tokio::test]
async fn nothing_but_2xx_is_a_yes() {
    let database = Database::new().await;
    let elsewhere = Receiver::start(|_| Reaction::status(200)).await;
    let redirect = format!("location: {}\r\n", elsewhere.url);
    let reactions = [
        ("301", Reaction::with(301, &redirect), "redirected 301"),
        ("302", Reaction::with(302, &redirect), "redirected 302"),
        ("303", Reaction::with(303, "location: http://169.254.169.254/latest/meta-data\r\n"), "redirected 303"),
        ("307", Reaction::with(307, &redirect), "redirected 307"),
        ("304", Reaction::status(304), "redirected 304"),
        ("400", Reaction::status(400), "refused 400"),
        ("404", Reaction::status(404), "refused 404"),
        ("500", Reaction::status(500), "failed 500"),
        ("503", Reaction::status(503), "failed 503"),
        ("hang", Reaction::Hang, "timed_out"),
        ("close", Reaction::Close, "broken"),
        ("garbage", Reaction::Answer("200 OK\r\n\r\n".to_owned()), "broken"),
        ("endless-head", Reaction::EndlessHead, "broken"),
        ("endless-500", Reaction::Endless(500), "failed 500"),
    ];
    let by_booking = reactions.clone();
    let receiver = Receiver::start(move |received| {
        let booking = received.data()["booking_ref"].as_str().unwrap();
        match by_booking.iter().find(|(name, ..)| *name == booking) {
            Some((_, reaction, _)) => reaction.clone(),
            None if booking == "endless-200" => Reaction::Endless(200),
            None => Reaction::status(204),
        }
    })
    .await;
    let (service, api) = forwarding(&database.url(), &receiver, &[]).await;
    for (name, ..) in &reactions {
        deliver(&service, name, "first").await;
    }
    deliver(&service, "endless-200", "first").await;
    deliver(&service, "good", "first").await;
    receiver.until(|received| received.iter().any(|one| one.data()["booking_ref"] == "good")).await;
    let forward = super::until(&api, |forward| {
        forward["blocked_bookings"] == reactions.len()
            && forward["blocked"].as_array().unwrap().iter().all(|item| item["last_outcome"] != "")
    })
    .await;
    for (name, _, outcome) in &reactions {
        let blocked = forward["blocked"].as_array().unwrap();
        let item = blocked.iter().find(|item| item["booking_ref"] == *name).unwrap();
        assert_eq!(item["last_outcome"], *outcome, "{name}");
    }
    assert_eq!(receiver.accepted().len(), 2);
    assert!(elsewhere.received().is_empty(), "a redirect is not followed");
}

#[tokio::test]
async fn a_booking_that_fails_holds_up_itself_alone_and_is_tried_again_after_5_seconds() {
    let database = Database::new().await;
    let receiver = Receiver::start(|received| {
        let is_bad =
            received.data()["booking_ref"] == "bad" && received.earlier == 0 && received.data()["revision"] == 1;
        Reaction::status(if is_bad { 500 } else { 200 })
    })
    .await;
    let (service, api) = forwarding(&database.url(), &receiver, &[]).await;
    for remark in ["one", "two", "three"] {
        deliver(&service, "bad", remark).await;
        deliver(&service, "good", remark).await;
    }
    let began = Instant::now();
    let good =
        receiver.until(|received| received.iter().filter(|one| one.data()["booking_ref"] == "good").count() == 3);
    good.await;
    assert!(began.elapsed() < Duration::from_secs(4));
    until_delivered(&api, &database).await;
    receiver.assert_in_order();
    let received = receiver.received();
    let bad: Vec<_> = received.iter().filter(|one| one.data()["booking_ref"] == "bad").collect();
    let revisions: Vec<_> = bad.iter().map(|one| one.data()["revision"].as_i64().unwrap()).collect();
    assert_eq!(revisions, [1, 1, 2, 3]);
    let wait = bad[1].at - bad[0].at;
    assert!((Duration::from_millis(4900)..Duration::from_millis(8000)).contains(&wait), "{wait:?}");
    assert_eq!(bad[0].headers["webhook-id"], bad[1].headers["webhook-id"], "the id stays");
}

#[tokio::test]
async fn retry_after_is_honoured() {
    let database = Database::new().await;
    let receiver = Receiver::start(|received| match (received.data()["booking_ref"].as_str(), received.earlier) {
        (Some("one"), 0) => Reaction::with(500, "retry-after: 9\r\n"),
        (Some("all"), 0) => Reaction::with(429, "retry-after: 8\r\n"),
        _ => Reaction::status(200),
    })
    .await;
    let (service, api) = forwarding(&database.url(), &receiver, &[]).await;
    deliver(&service, "one", "first").await;
    receiver.until(|received| received.len() == 1).await;
    deliver(&service, "good", "first").await;
    receiver.until(|received| received.len() == 2).await;
    deliver(&service, "all", "first").await;
    receiver.until(|received| received.len() == 3).await;
    super::until(&api, |forward| forward["blocked_bookings"] == 2).await;
    deliver(&service, "late", "first").await;
    until_delivered(&api, &database).await;
    let received = receiver.received();
    let times = |booking: &str| -> Vec<Instant> {
        received.iter().filter(|one| one.data()["booking_ref"] == booking).map(|one| one.at).collect()
    };
    let (one, all, late) = (times("one"), times("all"), times("late"));
    let within = |time: Duration, from: u64| (Duration::from_secs(from)..Duration::from_secs(from + 4)).contains(&time);
    assert!(within(one[1] - one[0], 9), "its own");
    assert!(within(all[1] - all[0], 8), "429");
    assert!(within(late[0] - all[0], 8), "429 is about all");
}

#[tokio::test]
async fn only_what_is_wanted_is_sent() {
    let database = Database::new().await;
    let receiver = Receiver::start(|_| Reaction::status(200)).await;
    let wanted = [
        ("TICKET_WEBHOOKS__FORWARD__BACK__ENVIRONMENTS", "live"),
        ("TICKET_WEBHOOKS__FORWARD__BACK__PROVIDERS", "booking_callback, order_ticketed"),
        ("TICKET_WEBHOOKS__FORWARD__BACK__STATUSES", "ticketed,cancelled"),
        ("TICKET_WEBHOOKS__FORWARD__BACK__INCLUDE_PAYLOAD", "true"),
    ];
    let (service, api) = forwarding(&database.url(), &receiver, &wanted).await;
    for provider in &PROVIDERS {
        assert_eq!(service.post(provider, (provider.delivery)("main", "live").to_string()).await.status, 200);
    }
    let callback = provider("booking_callback");
    assert_eq!(service.post(callback, (callback.delivery)("other", "test").to_string()).await.status, 200);
    let mut failed = (callback.delivery)("main", "failed");
    failed["Status"] = "Failed".into();
    failed["Passengers"] = json!([]);
    assert_eq!(service.post(callback, failed.to_string()).await.status, 200);
    until_delivered(&api, &database).await;
    let received = receiver.received();
    let providers: HashSet<_> = received.iter().map(|one| one.data()["provider"].as_str().unwrap()).collect();
    assert_eq!((received.len(), providers), (2, HashSet::from(["booking_callback", "order_ticketed"])));
    for one in &received {
        assert_eq!((&one.data()["environment"], &one.data()["status"]), (&json!("live"), &json!("ticketed")));
        assert!(one.data()["payload"].is_object());
        assert!(!one.text.contains("AG_TEST_cid_90c4e1") && !one.text.contains("agency-api"), "no credentials");
    }
}

#[tokio::test]
async fn a_forward_from_now_begins_behind_what_is_there() {
    let database = Database::new().await;
    let receiver = Receiver::start(|_| Reaction::status(200)).await;
    let (service, _) = ApiClient::start(&database, &[]).await;
    deliver(&service, "before", "first").await;
    service.stop().await;
    all_given_out(&database.pool).await;
    let now = [("TICKET_WEBHOOKS__FORWARD__BACK__FROM", "now")];
    let (service, api) = forwarding(&database.url(), &receiver, &now).await;
    super::until(&api, |forward| forward["active"] == true).await;
    service.stop().await;
    // it has begun: what comes while it does not run is sent later
    let (service, api) = ApiClient::start(&database, &[]).await;
    deliver(&service, "after", "first").await;
    assert_eq!(api.get("/v1/forwards").await.body, json!({"forwards": []}), "none is configured");
    service.stop().await;
    let (_service, api) = forwarding(&database.url(), &receiver, &now).await;
    until_delivered(&api, &database).await;
    let bookings: Vec<_> = receiver.received().iter().map(|one| one.data()["booking_ref"].clone()).collect();
    assert_eq!(bookings, [json!("after")]);
}

#[tokio::test]
async fn notices_are_sent_with_ids_of_their_own_and_what_was_erased_is_not_sent() {
    let database = Database::new().await;
    let refuse = Arc::new(AtomicUsize::new(1));
    let refusing = Arc::clone(&refuse);
    let receiver =
        Receiver::start(move |_| Reaction::status(if refusing.load(Ordering::SeqCst) > 0 { 500 } else { 200 })).await;
    let (service, api) = forwarding(&database.url(), &receiver, &[]).await;
    deliver(&service, "erased", "first").await;
    let booking = "/v1/bookings/booking_callback/live/overdue";
    assert_eq!(api.put(booking, json!({"expected_by": "2026-01-01T00:00:00Z"})).await.status, 201);
    receiver.until(|received| received.len() >= 2).await;
    assert!(receiver.received().iter().any(|one| one.text.contains("Mehta")), "it was tried before it was erased");
    let erasure = json!({"booking_ref": "erased", "provider": "booking_callback"});
    let erased = api.post("/v1/erasures", erasure).await;
    assert_eq!(erased.status, 200, "{erased:?}");
    refuse.store(0, Ordering::SeqCst);
    assert_eq!(api.post("/v1/forwards/back/resume", json!({})).await.status, 200);
    until_delivered(&api, &database).await;
    receiver.assert_in_order();
    let received = receiver.received();
    let accepted: Vec<_> = received.iter().filter(|one| one.is_accepted).collect();
    let types: HashSet<_> = accepted.iter().map(|one| one.body["type"].as_str().unwrap()).collect();
    assert_eq!(types, HashSet::from(["revision", "erased", "overdue"]));
    assert_eq!(accepted.iter().map(|one| one.id()).collect::<HashSet<_>>().len(), 3, "three ids");
    for one in accepted {
        assert_eq!(one.data()["id"], one.id());
        assert!(!one.text.contains("Mehta"), "{}", one.text);
    }
}
