//! The feed as server-sent events.

use std::time::Instant;

use serde_json::{Value, json};

use super::pages::{all_given_out, send, stored_ids};
use crate::support::{ADMIN_TOKEN, Answer, ApiClient, Database, EventStream, PROVIDERS, Service};

fn ids(items: &[Value]) -> Vec<String> {
    items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_stream_gives_what_was_recorded_before_and_what_is_recorded_by_any_replica() {
    let database = Database::new().await;
    let (service, _api) = ApiClient::start(&database, &[]).await;
    let other = Service::start(&database, &[]).await;
    send(&service, 0..200).await;
    let mut stream = EventStream::open(&service.admin, "", None).await;
    let mut read = ids(&stream.items(600).await);
    send(&other, 200..210).await;
    send(&service, 210..220).await;
    read.extend(ids(&stream.items(60).await));
    assert_eq!(read, stored_ids(&database).await);
}

#[tokio::test]
async fn a_stream_is_resumed_behind_the_last_event() {
    let database = Database::new().await;
    let (service, _api) = ApiClient::start(&database, &[]).await;
    send(&service, 0..3).await;
    let mut stream = EventStream::open(&service.admin, "from=start", None).await;
    let seen = stream.next().await.unwrap();
    assert_eq!(seen.item.as_ref().unwrap()["cursor"], *seen.id);
    drop(stream);
    let mut resumed = EventStream::open(&service.admin, "from=start", Some(&seen.id)).await;
    let mut read = ids(&[seen.item.unwrap()]);
    read.extend(ids(&resumed.items(8).await));
    assert_eq!(read, stored_ids(&database).await);
    all_given_out(&database.pool).await;
    let mut from_now = EventStream::open(&service.admin, "from=now", None).await;
    send(&service, 3..4).await;
    assert_eq!(ids(&from_now.items(3).await), stored_ids(&database).await[9..]);
}

#[tokio::test]
async fn a_filtered_stream_gives_what_matches_and_its_heartbeat_passes_the_rest() {
    let database = Database::new().await;
    let (service, _api) = ApiClient::start(&database, &[]).await;
    let mut stream = EventStream::open(&service.admin, "provider=order_ticketed&include=payload", None).await;
    let mut quiet = EventStream::open(&service.admin, "booking_ref=none", None).await;
    send(&service, 0..2).await;
    let items = stream.items(2).await;
    assert!(items.iter().all(|item| item["provider"] == "order_ticketed"));
    assert_eq!(items[0]["payload"]["type"], "order.ticketed");
    let heartbeat = quiet.next().await.unwrap();
    assert!(heartbeat.item.is_none());
    send(&service, 2..3).await;
    let mut resumed = EventStream::open(&service.admin, "", Some(&heartbeat.id)).await;
    assert_eq!(ids(&resumed.items(3).await), stored_ids(&database).await[6..]);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_disconnected_and_resumes_without_a_gap() {
    let database = Database::new().await;
    let variables = [("TICKET_WEBHOOKS__SERVER__RESPONSE_WRITE_TIMEOUT_MS", "60000")];
    let (service, _api) = ApiClient::start(&database, &variables).await;
    send(&service, 0..1).await;
    let mut slow = EventStream::open(&service.admin, "", None).await;
    let mut last = None;
    for _ in 0..3 {
        last = slow.next().await;
    }
    // until it is disconnected, more than the buffers of both sockets and the ring of the tail hold
    let insert = "insert into ticket_events (id, provider, account, environment, booking_ref, revision, status, airline_pnrs, \
                  passengers, ticket_numbers, warnings, payload, content_hash, received_at, last_received_at) \
                  select gen_random_uuid(), 'order_ticketed', 'main', 'live', gen_random_uuid()::text, 1, 'ticketed', '{}', \
                  jsonb_build_array(jsonb_build_object('first_name', repeat('x', 20000), 'tickets', '[]'::jsonb)), \
                  '{}', '{}', '{}', decode(repeat('00', 32), 'hex'), now(), now() from generate_series(1, 200)";
    for _ in 0..10 {
        sqlx::query(insert).execute(&database.pool).await.unwrap();
    }
    let mut fast = EventStream::open(&service.admin, "", None).await;
    fast.items(2003).await;
    let (mut read, mut resumes) = (3, 0);
    loop {
        match slow.next().await {
            Some(event) => {
                read += usize::from(event.item.is_some());
                last = Some(event);
            }
            None => {
                resumes += 1;
                slow = EventStream::open(&service.admin, "", last.as_ref().map(|event| &*event.id)).await;
            }
        }
        if read == 2003 {
            break;
        }
    }
    assert!(resumes <= 1, "{resumes}");
}

#[tokio::test]
async fn streams_and_waiting_pages_end_when_the_service_stops() {
    let database = Database::new().await;
    let (service, api) = ApiClient::start(&database, &[]).await;
    let mut stream = EventStream::open(&service.admin, "", None).await;
    let waiting = tokio::spawn(async move { api.get("/v1/events?wait=30").await });
    let started = Instant::now();
    service.stop().await;
    assert!(stream.next().await.is_none());
    waiting.await.ok();
    assert!(started.elapsed().as_secs() < 10);
}

#[tokio::test]
async fn a_stream_is_refused_as_a_page_is() {
    let database = Database::new().await;
    let (service, _api) = ApiClient::start(&database, &[]).await;
    for (query, last_event_id, status) in [
        ("after=nonsense", None, 400),
        ("", Some("nonsense"), 400),
        ("limit=1", None, 400),
        ("", Some("1.5.5.0a0b0c0d.1764142345123456"), 410),
    ] {
        let answer = Answer::of(EventStream::request(&service.admin, query, last_event_id)).await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
    let stranger = reqwest::Client::new().get(format!("{}/v1/events/stream", service.admin));
    assert_eq!(Answer::of(stranger).await.status, 401);
    let public = service.request("GET", "/v1/events/stream").bearer_auth(ADMIN_TOKEN);
    assert_eq!(Answer::of(public).await.status, 404);
}

#[tokio::test]
async fn a_waiting_page_is_answered_as_soon_as_there_is_an_event() {
    let database = Database::new().await;
    let (service, api) = ApiClient::start(&database, &[]).await;
    let empty = api.get("/v1/events?from=now").await.body;
    let started = Instant::now();
    let after = empty["next"].as_str().unwrap().to_owned();
    let waiting = tokio::spawn(async move { api.get(&format!("/v1/events?after={after}&wait=30")).await });
    let body = (PROVIDERS[0].delivery)("main", "B-1").to_string();
    assert_eq!(service.post(&PROVIDERS[0], body).await.status, 200);
    let page = waiting.await.unwrap().body;
    assert_eq!((page["events"][0]["booking_ref"].clone(), page["more"].clone()), (json!("B-1"), json!(false)));
    assert!(started.elapsed().as_secs() < 5);
}

#[tokio::test]
async fn a_payload_with_line_breaks_is_one_event() {
    let database = Database::new().await;
    let (service, _api) = ApiClient::start(&database, &[]).await;
    for (booking, line_break) in [("B-1", "\n"), ("B-2", "\r\n"), ("B-3", "\r")] {
        let body = serde_json::to_string_pretty(&(PROVIDERS[0].delivery)("main", booking)).unwrap();
        assert_eq!(service.post(&PROVIDERS[0], body.replace('\n', line_break)).await.status, 200);
    }
    let mut stream = EventStream::open(&service.admin, "include=payload", None).await;
    for item in stream.items(3).await {
        let booking = item["booking_ref"].as_str().unwrap();
        assert_eq!(item["payload"], (PROVIDERS[0].delivery)("main", booking));
    }
}

#[tokio::test]
async fn streams_leave_connections_to_other_requests() {
    let database = Database::new().await;
    let (service, api) = ApiClient::start(&database, &[]).await;
    let mut streams = Vec::new();
    for _ in 0..200 {
        streams.push(EventStream::open(&service.admin, "from=now", None).await);
    }
    let answer = Answer::of(EventStream::request(&service.admin, "from=now", None)).await;
    assert_eq!((answer.status, &answer.body["error"]["code"]), (503, &json!("busy")));
    assert_eq!(api.get("/v1/consumers").await.status, 200);
}
