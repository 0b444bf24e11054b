//! Clients that want too much: memory, headers, connections, other protocols. No panic, no growth, no 5xx but the
//! documented refusals, and nobody else notices.

use std::{io::Write as _, time::Instant};

use flate2::{Compression, write::GzEncoder};
use serde_json::Value;

use crate::support::{Answer, Database, PROVIDERS, Provider, Service, Wire, provider};

const REQUEST: (&str, &str) = ("TICKET_WEBHOOKS__SERVER__BODY_READ_TIMEOUT_MS", "60000");
const MEMORY: &str = "TICKET_WEBHOOKS__SERVER__BODY_MEMORY_BYTES";
const LIMIT: &str = "TICKET_WEBHOOKS__SERVER__BODY_LIMIT_BYTES";

fn head(provider: &Provider, more: &str) -> String {
    let authorization = (provider.authorization)("main").map(|value| format!("authorization: {value}\r\n"));
    let authorization = authorization.unwrap_or_default();
    format!("POST {} HTTP/1.1\r\nhost: test\r\n{authorization}{more}\r\n\r\n", provider.path)
}

fn whole(provider: &Provider, booking: &str, more: &str) -> String {
    let body = (provider.delivery)("main", booking).to_string();
    head(provider, &format!("{more}content-length: {}", body.len())) + &body
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

async fn assert_delivers(service: &Service) {
    for provider in &PROVIDERS {
        let delivery = (provider.delivery)("main", "B1").to_string();
        for body in [gzip(delivery.as_bytes()), delivery.into_bytes()] {
            assert_eq!(service.post(provider, body).await.status, 200);
        }
    }
}

#[tokio::test]
async fn what_explodes_when_it_is_decompressed_takes_no_memory() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let one = gzip(&vec![b' '; 32 << 20]);
    let nested = gzip(&one);
    // as many streams as the body may have bytes for, one after the other
    let many = gzip(&vec![b' '; 200_000]).repeat(500);
    assert!(one.len() < 64 << 10 && many.len() < 256 << 10);
    let round = async || {
        for provider in &PROVIDERS {
            assert_eq!(service.post(provider, one.clone()).await.status, 413);
            assert_eq!(service.post(provider, many.clone()).await.status, 413);
            let not_json = if provider.name == "ticket_status_update" { 422 } else { 400 };
            assert_eq!(service.post(provider, nested.clone()).await.status, not_json);
        }
    };
    // the allocator keeps what it once had
    round().await;
    round().await;
    let before = service.process.memory();
    for _ in 0..8 {
        round().await;
    }
    assert!(service.process.memory() < before + 16 * 1024, "{before} {}", service.process.memory());
    assert_delivers(&service).await;
}

#[tokio::test]
async fn a_body_without_end_is_answered_and_its_connection_ends() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    // the allocator keeps what it once had
    endless(&service);
    let before = service.process.memory();
    endless(&service);
    // of 192 MiB that were sent again
    assert!(service.process.memory() < before + 32 * 1024, "{before} {}", service.process.memory());
    assert_delivers(&service).await;
}

/// Bodies without end to every provider.
fn endless(service: &Service) {
    for provider in &PROVIDERS {
        let mut wire = Wire::to(service);
        wire.send(head(provider, "transfer-encoding: chunked").as_bytes());
        let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
        for _ in 0..8 {
            wire.send(chunk.as_bytes());
        }
        assert!(wire.answer().0.starts_with("http/1.1 413 "));
        // it is taken in for a while, so that the answer arrives
        let mut chunks = 0;
        while wire.try_send(chunk.as_bytes()) {
            chunks += 1;
            assert!(chunks < 5000, "it takes everything");
        }
    }
    // a size and an extension have no end, either
    for (endless, status) in [("f".repeat(1 << 20), "400"), (format!("1;{}", "x".repeat(1 << 20)), "400")] {
        let provider = provider("order_ticketed");
        let mut wire = Wire::to(service);
        wire.send(head(provider, "transfer-encoding: chunked").as_bytes());
        wire.try_send(endless.as_bytes());
        let (answer, _) = wire.rest();
        assert!(answer.is_empty() || answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
}

#[tokio::test]
async fn a_body_in_small_chunks_takes_what_it_has() {
    let database = Database::new().await;
    let service = Service::start(&database, &[(MEMORY, "1048576"), REQUEST]).await;
    let chunks = format!("d\r\n{}\r\n", " ".repeat(13)).repeat(7_692);
    let mut held = Vec::new();
    for provider in &PROVIDERS {
        let mut wire = Wire::to(&service);
        wire.send((head(provider, "transfer-encoding: chunked") + &chunks).as_bytes());
        held.push(wire);
    }
    // 252 KiB of the 512 there are: there is room for another one
    let provider = &PROVIDERS[0];
    let large = (provider.delivery)("main", "B1").to_string() + &" ".repeat(200_000);
    for _ in 0..10 {
        assert_eq!(service.post(provider, large.clone()).await.status, 200);
    }
    for mut wire in held {
        wire.send(b"2\r\n{}\r\n0\r\n\r\n");
        let (head, _) = wire.answer();
        assert!(head.starts_with("http/1.1 4"), "{head}");
    }
}

#[tokio::test]
async fn large_bodies_that_are_slow_keep_no_small_ones_out() {
    let database = Database::new().await;
    let service = Service::start(&database, &[(MEMORY, "1048576"), REQUEST]).await;
    let provider = &PROVIDERS[0];
    let large = (provider.delivery)("main", "B1").to_string() + &" ".repeat(200_000);
    let slow = |n: usize| {
        let mut wire = Wire::to(&service);
        wire.send(head(&PROVIDERS[1 + n % 2], "content-length: 250000").as_bytes());
        wire.send(&vec![b' '; 200_000]);
        wire
    };
    let mut held = Vec::new();
    loop {
        let mut wire = slow(held.len());
        let is_refused = wire.has_heard("HTTP/1.1 503 ");
        held.push(wire);
        if is_refused {
            break;
        }
        assert!(held.len() < 20, "there is always memory");
    }
    let refused = service.post(provider, large.clone()).await;
    assert_eq!((refused.status, &refused.body["message"][0]), (422, &Value::from("Something went wrong...")));
    assert!(refused.headers.contains_key("retry-after"));
    // the next ones are refused as well, and what is small is not
    for n in 0..30 {
        let mut wire = slow(n);
        assert!(wire.answer().0.starts_with("http/1.1 503 "));
        held.push(wire);
        if n % 10 == 0 {
            assert_delivers(&service).await;
        }
    }
    drop(held);
    let since = Instant::now();
    while service.post(provider, large.clone()).await.status != 200 {
        assert!(since.elapsed().as_secs() < 20, "the memory is not given back");
    }
}

#[tokio::test]
async fn a_head_has_so_many_headers_and_bytes() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let headers = |count: usize| (0..count).map(|n| format!("x-{n}: 1\r\n")).collect::<String>();
    let long = |length: usize| format!("x-long: {}\r\n", "y".repeat(length));
    for provider in &PROVIDERS {
        for (more, status) in [
            (headers(90), "200"),
            (long(15_000), "200"),
            (headers(101), "431"),
            (long(17_000), "431"),
            (long(2 << 20), "431"),
            ("no header\r\n".to_owned(), "400"),
            ("transfer-encoding: gzip\r\n".to_owned(), "400"),
            ("content-length: 7\r\n".to_owned(), "400"),
            (format!("{}: 1\r\n", "n".repeat(15_000)), "200"),
        ] {
            let mut wire = Wire::to(&service);
            wire.try_send(whole(provider, "B1", &more).as_bytes());
            let head = wire.head_if_any();
            let what = &more[..more.len().min(30)];
            // who still sends when the answer comes may miss it
            let is_missed = head.is_empty() && more.len() > 100_000;
            assert!(is_missed || head.starts_with(&format!("http/1.1 {status} ")), "{what} {head}");
            assert_eq!(head.contains("x-request-id"), status == "200", "{what} {head}");
        }
        let mut wire = Wire::to(&service);
        wire.try_send(
            format!("POST {}?{} HTTP/1.1\r\nhost: test\r\n\r\n", provider.path, "q".repeat(70_000)).as_bytes(),
        );
        let head = wire.head_if_any();
        assert!(head.is_empty() || head.starts_with("http/1.1 414 ") || head.starts_with("http/1.1 431 "), "{head}");
    }
    assert_delivers(&service).await;
}

#[tokio::test]
async fn requests_in_a_row_are_answered_in_that_order() {
    let database = Database::new().await;
    let service = Service::start(&database, &[("TICKET_WEBHOOKS__SERVER__TRUSTED_PROXIES", "127.0.0.0/8")]).await;
    let mut wire = Wire::to(&service);
    let mut requests = String::new();
    for n in 0..50 {
        let provider = &PROVIDERS[n % 3];
        requests += &whole(provider, &format!("B{n}"), &format!("x-request-id: n-{n}\r\n"));
        requests += &format!("GET /livez HTTP/1.1\r\nhost: test\r\nx-request-id: l-{n}\r\n\r\n");
    }
    wire.send(requests.as_bytes());
    for n in 0..50 {
        for id in ["n", "l"] {
            let (head, _) = wire.answer();
            assert!(
                head.starts_with("http/1.1 200 ") && head.contains(&format!("x-request-id: {id}-{n}\r\n")),
                "{head}"
            );
        }
    }
    let seen = database.rows("select booking_ref as b from ticket_events order by sequence").await;
    assert_eq!(seen.len(), 50);
    assert!(seen.iter().enumerate().all(|(n, row)| row["b"] == format!("B{n}")), "{seen:?}");
}

#[tokio::test]
async fn http_2_is_hung_up_on() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    assert_delivers(&service).await;
    let before = service.process.memory();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
    // streams that are opened and reset at once, again and again
    let open = b"\x00\x00\x05\x01\x05\x00\x00\x00\x01\x82\x84\x86\x41\x00";
    let reset = b"\x00\x00\x04\x03\x00\x00\x00\x00\x01\x00\x00\x00\x08";
    let flood = [&open[..], reset].concat().repeat(1000);
    for n in 0..300 {
        let mut wire = Wire::to(&service);
        wire.try_send(preface);
        if n % 3 == 0 {
            wire.try_send(&flood);
        }
        let (answer, took) = wire.rest();
        assert_eq!(answer, "");
        assert!(took.as_secs() < 10, "{took:?}");
    }
    assert!(service.process.memory() < before + 8 * 1024, "{before} {}", service.process.memory());
    // an offer to change to it is not taken up
    for provider in &PROVIDERS {
        let offer = "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n";
        let mut wire = Wire::to(&service);
        wire.send(whole(provider, "B2", offer).as_bytes());
        assert!(wire.answer().0.starts_with("http/1.1 200 "));
    }
    let answer = Answer::of(service.request("GET", "/livez").header("upgrade", "websocket")).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn bodies_of_any_size_are_bounded_together() {
    let database = Database::new().await;
    let service = Service::start(&database, &[(MEMORY, "16777216"), (LIMIT, "4194304"), REQUEST]).await;
    assert_delivers(&service).await;
    let before = service.process.memory();
    let mut held: Vec<_> = (0..50).map(|_| Wire::to(&service)).collect();
    for wire in &mut held {
        wire.send(head(&PROVIDERS[1], "content-length: 4000000").as_bytes());
        wire.try_send(&vec![b' '; 3_900_000]);
    }
    let memory = service.process.memory() - before;
    // of 190 MiB that were sent: 8 for what arrives, twice as much again while a buffer grows, what connections read ahead
    assert!(memory < 64 * 1024, "{memory} KiB");
    assert_delivers(&service).await;
}
