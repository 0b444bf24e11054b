//! Compressions, headers and connections that nobody expects.

use std::{io::Write, net::Shutdown, time::Instant};

use flate2::{
    Compression,
    write::{DeflateEncoder, GzEncoder, ZlibEncoder},
};
use serde_json::json;
use sqlx::Executor;

use super::{assert_alive, post_with};
use crate::support::{Database, PROVIDERS, Service, Wire, provider};

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn gzip_is_taken_whatever_the_headers_say() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    for provider in &PROVIDERS {
        let delivery = (provider.delivery)("main", "B1").to_string().into_bytes();
        let (half, rest) = delivery.split_at(20);
        for body in [gzip(&delivery), [gzip(half), gzip(rest)].concat(), delivery.clone()] {
            for encoding in [None, Some("gzip"), Some("GZIP"), Some("x-gzip"), Some("identity"), Some("")] {
                let headers: Vec<_> = encoding.map(|encoding| ("content-encoding", encoding)).into_iter().collect();
                let answer = post_with(&service, provider, &headers, body.clone()).await;
                assert_eq!(answer.status, 200, "{encoding:?}");
            }
        }
    }
    assert_eq!(database.rows("select from ticket_events").await.len(), 3);
}

#[tokio::test]
async fn damaged_gzip_and_other_compressions_are_no_json() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    for provider in &PROVIDERS {
        let delivery = (provider.delivery)("main", "B1").to_string().into_bytes();
        let whole = gzip(&delivery);
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 0x55;
        let mut wrong_sum = whole.clone();
        let sum = whole.len() - 8;
        wrong_sum[sum] ^= 1;
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(&delivery).unwrap();
        let mut deflate = DeflateEncoder::new(Vec::new(), Compression::fast());
        deflate.write_all(&delivery).unwrap();
        for body in [
            flipped,
            wrong_sum,
            whole[..whole.len() - 9].to_vec(),
            whole[..2].to_vec(),
            gzip(&whole),
            gzip(b""),
            zlib.finish().unwrap(),
            deflate.finish().unwrap(),
        ] {
            let answer = post_with(&service, provider, &[("content-encoding", "gzip")], body.clone()).await;
            let expected = if provider.name == "ticket_status_update" { 422 } else { 400 };
            assert_eq!(answer.status, expected, "{body:?}");
        }
    }
    // where the credentials stand in the body, those can be read of which that much can be decompressed
    let kept = database
        .rows("select provider, sum(delivery_count) as n from unprocessed_deliveries group by 1 order by 1")
        .await;
    let row = |provider: &str, n: u32| json!({"provider": provider, "n": n});
    assert_eq!(kept, [row("booking_callback", 3), row("order_ticketed", 3), row("ticket_status_update", 8)]);
    assert!(database.events().await.is_empty());
    assert_alive(&service).await;
}

#[tokio::test]
async fn neither_content_type_nor_accept_encoding_is_a_reason_to_refuse() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    for provider in &PROVIDERS {
        for (name, value) in [
            ("content-type", ""),
            ("content-type", "text/plain"),
            ("content-type", "application/x-www-form-urlencoded"),
            ("content-type", "multipart/form-data; boundary=x"),
            ("content-type", "application/json; charset=iso-8859-1"),
            ("content-type", "nonsense;;=/"),
            ("accept-encoding", "application/json"),
            ("accept-encoding", "identity;q=0, *;q=0"),
            ("accept-encoding", "br, gzip, deflate, zstd"),
            ("accept", "text/html"),
            ("accept-language", "zz"),
            ("if-none-match", "*"),
            ("range", "bytes=0-1"),
        ] {
            let body = (provider.delivery)("main", "B1").to_string().into_bytes();
            let answer = post_with(&service, provider, &[(name, value)], body).await;
            assert_eq!(answer.status, 200, "{name}: {value}");
            assert!(!answer.headers.contains_key("content-encoding"));
        }
    }
    assert_eq!(database.rows("select from ticket_events").await.len(), 3);
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up() {
    let database = Database::new().await;
    let service = Service::start(&database, &[("TICKET_WEBHOOKS__SERVER__BODY_READ_TIMEOUT_MS", "300")]).await;
    for provider in &PROVIDERS {
        let authorization = (provider.authorization)("main").unwrap_or_default();
        let mut wire = Wire::to(&service);
        let head = format!("POST {} HTTP/1.1\r\nhost: test\r\nauthorization: {authorization}\r\n", provider.path);
        wire.send(format!("{head}content-length: 1000\r\n\r\n{{").as_bytes());
        let since = Instant::now();
        let (head, _) = wire.answer();
        assert!(head.starts_with("http/1.1 408 "), "{head}");
        assert!(since.elapsed().as_millis() >= 250);
        // the connection ends under the service
        let mut wire = Wire::to(&service);
        wire.send(format!("POST {} HTTP/1.1\r\nhost: test\r\ncontent-length: 9\r\n\r\n{{", provider.path).as_bytes());
    }
    assert_eq!(database.dump().await, "");
    assert_alive(&service).await;
}

#[tokio::test]
async fn a_client_that_does_not_wait_has_delivered() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    for provider in &PROVIDERS {
        let authorization = (provider.authorization)("main").unwrap_or_default();
        let request = |booking: &str| {
            let body = (provider.delivery)("main", booking).to_string();
            let head = format!("POST {} HTTP/1.1\r\nhost: test\r\nauthorization: {authorization}", provider.path);
            format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        };
        // says that it has no more to send, and waits
        let mut wire = Wire::to(&service);
        wire.send(request("B1").as_bytes());
        wire.close(Shutdown::Write);
        assert!(wire.answer().0.starts_with("http/1.1 200 "));
        // is gone before the answer comes
        let mut lock = database.pool.begin().await.unwrap();
        lock.execute("lock table ticket_events in exclusive mode").await.unwrap();
        let mut wire = Wire::to(&service);
        wire.send(request("B2").as_bytes());
        let waiting = "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
        while database.rows(waiting).await.is_empty() {}
        drop(wire);
        assert_eq!(service.request("GET", "/livez").send().await.unwrap().status(), 200);
        lock.rollback().await.unwrap();
    }
    service.stop().await;
    assert_eq!(database.events().await.len(), 6);
}

#[tokio::test]
async fn what_is_no_http_harms_nobody() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    for bytes in [&b"\x16\x03\x01\x02\x00\x01\x00"[..], b"GET\r\n\r\n", b"POST / HTTP/9.9\r\n\r\n", &[0; 5000]] {
        Wire::to(&service).send(bytes);
    }
    let path = provider("order_ticketed").path;
    let mut wire = Wire::to(&service);
    wire.send(format!("POST {path} HTTP/1.1\r\nhost: test\r\ncontent-length: -1\r\n\r\n").as_bytes());
    assert!(wire.head().starts_with("http/1.1 400 "));
    assert_alive(&service).await;
}
