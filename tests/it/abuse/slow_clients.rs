//! Clients that take their time: each of them for a while, and all of them together without keeping anybody out.

use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::{Connection, Executor, PgConnection};
use tokio::task::JoinSet;

use crate::support::{Answer, Command, Database, PROVIDERS, Service, Wire, settings};

const HEAD: (&str, &str) = ("TICKET_WEBHOOKS__SERVER__HEADER_READ_TIMEOUT_MS", "500");
const PATIENT: (&str, &str) = ("TICKET_WEBHOOKS__SERVER__HEADER_READ_TIMEOUT_MS", "600000");
const IDLE: &str = "TICKET_WEBHOOKS__SERVER__IDLE_TIMEOUT_MS";
const REQUEST: &str = "TICKET_WEBHOOKS__SERVER__BODY_READ_TIMEOUT_MS";
const ANSWER: &str = "TICKET_WEBHOOKS__SERVER__RESPONSE_WRITE_TIMEOUT_MS";
const CONNECTIONS: &str = "TICKET_WEBHOOKS__SERVER__MAX_CONNECTIONS";

const ALIVE: &[u8] = b"GET /livez HTTP/1.1\r\nhost: test\r\n\r\n";

/// A delivery from another address than the slow ones come from.
async fn assert_delivers(service: &Service) {
    for provider in &PROVIDERS {
        let answer = service.post(provider, (provider.delivery)("main", "B1").to_string()).await;
        assert_eq!(answer.status, 200);
    }
}

/// How a client is slow.
fn slow(n: usize) -> Vec<u8> {
    let provider = &PROVIDERS[1 + n % 2];
    let head = format!("POST {} HTTP/1.1\r\nhost: test\r\ncontent-length: 250000\r\n", provider.path);
    match n % 5 {
        // not a word
        0 => Vec::new(),
        // a part of the head
        1 => head.into_bytes(),
        // nothing of the body, a little, most of it
        2 => format!("{head}\r\n").into_bytes(),
        3 => format!("{head}\r\n{{").into_bytes(),
        _ => [format!("{head}\r\n").into_bytes(), vec![b' '; 60_000]].concat(),
    }
}

/// So many slow clients from so many addresses, who stay as long as they are let.
async fn crowd(service: &Service, clients: usize, addresses: usize) -> Vec<Wire> {
    ticket_webhooks::lifecycle::raise_open_file_limit();
    let mut wires = Vec::new();
    for n in 0..clients {
        let address = [127, 0, 1, u8::try_from(n % addresses).unwrap()];
        let mut wire = Wire::from(address, service).await;
        wire.try_send(&slow(n));
        wires.push(wire);
    }
    wires
}

#[tokio::test]
async fn a_slow_head_ends_long_before_an_idle_connection_does() {
    let database = Database::new().await;
    let service = Service::start(&database, &[HEAD, (IDLE, "60000")]).await;
    let [mut idle, mut kept, mut dribbling, mut second] = [(); 4].map(|()| Wire::to(&service));
    for wire in [&mut kept, &mut second] {
        wire.send(ALIVE);
        assert!(wire.answer().0.starts_with("http/1.1 200 "));
    }
    // the head of a second request is no different
    for slow in [&mut dribbling, &mut second] {
        let since = Instant::now();
        while slow.try_send(b"a") {
            assert!(since.elapsed() < Duration::from_secs(20), "it is never hung up on");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(since.elapsed() >= Duration::from_millis(450), "{:?}", since.elapsed());
        // without an answer
        assert_eq!(slow.rest().0, "");
    }
    for wire in [&mut idle, &mut kept] {
        wire.send(ALIVE);
        assert!(wire.answer().0.starts_with("http/1.1 200 "));
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_time() {
    let database = Database::new().await;
    let service = Service::start(&database, &[(IDLE, "700")]).await;
    let [mut silent, mut kept] = [(); 2].map(|()| Wire::to(&service));
    kept.send(ALIVE);
    assert!(kept.answer().0.starts_with("http/1.1 200 "));
    let (answer, took) = kept.rest();
    assert!(answer.is_empty() && took >= Duration::from_millis(600), "{took:?} {answer}");
    assert_eq!(silent.rest().0, "");
}

#[tokio::test]
async fn who_does_not_take_the_answers_is_hung_up_on() {
    let database = Database::new().await;
    let service = Service::start(&database, &[(ANSWER, "500"), (IDLE, "600000")]).await;
    let mut wire = Wire::from([127, 0, 0, 1], &service).await;
    let requests = ALIVE.repeat(100);
    // what the first deliveries take stays taken
    assert_delivers(&service).await;
    let before = service.process.memory();
    tokio::task::spawn_blocking(move || while wire.try_send(&requests) {}).await.unwrap();
    let memory = service.process.memory().saturating_sub(before);
    // the allocator takes 4 MiB at a time
    assert!(memory < 4 * 4096, "{memory} KiB");
    assert_delivers(&service).await;
}

#[tokio::test]
async fn who_asks_to_be_asked_for_the_body_and_sends_none_is_given_up() {
    let database = Database::new().await;
    let service = Service::start(&database, &[(REQUEST, "400")]).await;
    for provider in &PROVIDERS {
        let authorization = (provider.authorization)("main").unwrap_or_default();
        let mut wire = Wire::to(&service);
        let head = format!("POST {} HTTP/1.1\r\nhost: test\r\nauthorization: {authorization}\r\n", provider.path);
        wire.send(format!("{head}expect: 100-continue\r\ncontent-length: 100\r\n\r\n").as_bytes());
        assert_eq!(wire.head(), "http/1.1 100 continue\r\n\r\n");
        assert!(wire.answer().0.starts_with("http/1.1 408 "));
        assert_eq!(wire.rest().0, "");
    }
    assert_delivers(&service).await;
}

#[tokio::test]
async fn a_thousand_slow_clients_from_one_address_keep_nobody_out() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let before = service.process.memory();
    let mut crowd = crowd(&service, 1000, 1).await;
    for _ in 0..10 {
        assert_delivers(&service).await;
    }
    let memory = service.process.memory().saturating_sub(before);
    assert!(memory < 64 * 1024, "{memory} KiB");
    // most of them were refused at once, and those that said nothing have heard why
    let silent = crowd.iter_mut().step_by(5).skip(100);
    let refused = silent.map(|wire| wire.has_heard("too many connections from this address")).filter(|heard| *heard);
    assert_eq!(refused.count(), 100);
}

#[tokio::test]
async fn a_thousand_slow_clients_from_many_addresses_keep_nobody_out() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let before = service.process.memory();
    let crowd = crowd(&service, 1000, 20).await;
    for _ in 0..10 {
        assert_delivers(&service).await;
    }
    let memory = service.process.memory().saturating_sub(before);
    assert!(memory < 128 * 1024, "{memory} KiB");
    drop(crowd);
}

#[tokio::test]
async fn more_slow_clients_than_there_are_places_keep_nobody_out() {
    let database = Database::new().await;
    let service = Service::start(&database, &[(CONNECTIONS, "100"), (IDLE, "600000"), PATIENT]).await;
    let mut silent = Vec::new();
    for n in 0..1000_u32 {
        let mut wire = Wire::from([127, 0, 1, u8::try_from(n % 20).unwrap()], &service).await;
        wire.try_send(if n % 2 == 0 { b"" } else { b"POST /webhooks/order-ticketed HTTP/1.1\r\nhost:" });
        silent.push(wire);
        if n % 100 == 99 {
            assert_delivers(&service).await;
        }
    }
    // the first of those that owe the rest of a head had to go
    assert_eq!(silent[1].rest().0, "");
}

#[tokio::test]
async fn what_is_being_made_durable_makes_room_for_nobody() {
    let database = Database::new().await;
    let write_timeout = ("TICKET_WEBHOOKS__DATABASE__WRITE_TIMEOUT_MS", "60000");
    let service = Service::start(&database, &[(CONNECTIONS, "3"), (REQUEST, "60000"), write_timeout]).await;
    let provider = &PROVIDERS[2];
    let mut lock = PgConnection::connect_with(&database.connect_options()).await.unwrap();
    lock.execute("begin; lock table ticket_events in access exclusive mode").await.unwrap();
    let mut busy: Vec<_> = (0..3).map(|_| Wire::to(&service)).collect();
    for (n, wire) in busy.iter_mut().enumerate() {
        let body = (provider.delivery)("main", &format!("B{n}")).to_string();
        let head = format!("POST {} HTTP/1.1\r\nhost: test\r\n", provider.path);
        wire.send(format!("{head}expect: 100-continue\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes());
        assert_eq!(wire.head(), "http/1.1 100 continue\r\n\r\n");
        wire.send(body.as_bytes());
    }
    // as long as a body is on its way, its connection could still be closed
    let since = Instant::now();
    let normalized = "ticket_webhooks_phase_duration_seconds_count{phase=\"normalize\"} 3\n";
    while !reqwest::get(format!("{}/metrics", service.admin)).await.unwrap().text().await.unwrap().contains(normalized)
    {
        assert!(since.elapsed() < Duration::from_secs(20));
    }
    let (refused, _) = Wire::to(&service).rest();
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("retry-after: 1\r\n"), "{refused}");
    assert!(refused.contains("\"too many connections\""), "{refused}");
    lock.execute("rollback").await.unwrap();
    for wire in &mut busy {
        assert!(wire.answer().0.starts_with("http/1.1 200 "));
    }
}

#[tokio::test]
async fn a_refused_connection_takes_its_request_before_it_is_answered_and_closed() {
    let database = Database::new().await;
    let service = Service::start(&database, &[("TICKET_WEBHOOKS__SERVER__MAX_CONNECTIONS_PER_ADDRESS", "1")]).await;
    let _held = Wire::from([127, 0, 0, 1], &service).await;
    // more than the service reads of a refused one at once, so that the rest comes after the answer
    let body = "x".repeat(50_000);
    for _ in 0..300 {
        let client = reqwest::Client::new();
        let answer = Answer::of(client.post(format!("{}/anything", service.public)).body(body.clone())).await;
        assert_eq!((answer.status, &answer.body["error"]["code"]), (503, &json!("overloaded")));
        assert_eq!(answer.headers["retry-after"], "1");
    }
    // one without a request is answered all the same, and one without end is given up
    let mut wire = Wire::from([127, 0, 0, 1], &service).await;
    let (answer, took) = wire.rest();
    assert!(answer.starts_with("HTTP/1.1 503 ") && took < Duration::from_secs(10), "{took:?} {answer}");
    let since = Instant::now();
    while wire.try_send(ALIVE) {
        assert!(since.elapsed() < Duration::from_secs(10), "a request without end is taken");
    }
}

#[tokio::test]
async fn one_address_has_so_many_connections_and_a_proxy_has_more() {
    let database = Database::new().await;
    let each = ("TICKET_WEBHOOKS__SERVER__MAX_CONNECTIONS_PER_ADDRESS", "3");
    let service =
        Service::start(&database, &[each, ("TICKET_WEBHOOKS__SERVER__TRUSTED_PROXIES", "127.0.3.0/24")]).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(Wire::from([127, 0, 2, 1], &service).await);
    }
    for address in [[127, 0, 2, 2], [127, 0, 3, 1], [127, 0, 3, 1], [127, 0, 3, 1], [127, 0, 3, 1]] {
        let mut wire = Wire::from(address, &service).await;
        wire.send(ALIVE);
        assert!(wire.answer().0.starts_with("http/1.1 200 "), "{address:?}");
        held.push(wire);
    }
    let (answer, _) = Wire::from([127, 0, 2, 1], &service).await.rest();
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("x-request-id: "), "{answer}");
    assert!(answer.contains(r#""code":"overloaded","message":"too many connections from this address""#), "{answer}");
    // a place is free again once a connection is gone
    drop(held);
    let since = Instant::now();
    loop {
        let mut wire = Wire::from([127, 0, 2, 1], &service).await;
        if wire.try_send(ALIVE) && wire.has_heard("200 OK") {
            break;
        }
        assert!(since.elapsed() < Duration::from_secs(20));
    }
    let said = service.process.line("connections refused");
    assert!(said.contains("127.0.2.1") && said.contains("server.trusted_proxies"), "{said}");
}

#[tokio::test]
async fn the_limit_for_open_files_is_raised_to_what_is_needed() {
    let database = Database::new().await;
    let command = Command::with_open_files(64, &["serve"]).envs(&settings(&database.url()));
    let service = tokio::task::spawn_blocking(move || Service::over(command.start())).await.unwrap();
    let mut tasks = JoinSet::new();
    let mut held = Vec::new();
    for _ in 0..200 {
        let mut wire = Wire::to(&service);
        tasks.spawn_blocking(move || {
            wire.send(ALIVE);
            assert!(wire.answer().0.starts_with("http/1.1 200 "));
            wire
        });
    }
    while let Some(wire) = tasks.join_next().await {
        held.push(wire.unwrap());
    }
    assert_delivers(&service).await;
}
