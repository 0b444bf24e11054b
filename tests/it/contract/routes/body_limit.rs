//! Bodies that are too large, however they come.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};

use crate::contract::answers::words::{assert_kept, assert_refused, assert_success, post, post_as};
use crate::support::{Answer, Database, PROVIDERS, Provider, Service, Wire};

const LIMIT: usize = 256 * 1024;

/// A delivery that has exactly this many bytes.
fn of_length(provider: &Provider, length: usize) -> String {
    let delivery = (provider.delivery)("main", "B1").to_string();
    format!("{delivery}{}", " ".repeat(length - delivery.len()))
}

fn gzip(body: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn the_limit_itself_is_not_too_large_and_one_byte_more_is() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let bomb = gzip(&"0".repeat(4 << 20));
    assert!(bomb.len() < LIMIT / 10);
    for provider in &PROVIDERS {
        for body in [of_length(provider, LIMIT).into_bytes(), gzip(&of_length(provider, LIMIT))] {
            assert_success(provider, &post(&service, provider, body).await);
        }
        for body in [of_length(provider, LIMIT + 1).into_bytes(), gzip(&of_length(provider, LIMIT + 1)), bomb.clone()] {
            let words = assert_refused(provider, &post(&service, provider, body).await, 413, &[]);
            assert!(words[0].contains("262144 bytes"), "{words:?}");
        }
    }
    // all that is there are the two of each provider that were not too large
    assert_kept(&database, &[]).await;
    assert_eq!(database.rows("select delivery_count as n from ticket_events where delivery_count = 2").await.len(), 3);
}

#[tokio::test]
async fn the_limit_is_the_configured_one() {
    let database = Database::new().await;
    let service = Service::start(&database, &[("TICKET_WEBHOOKS__SERVER__BODY_LIMIT_BYTES", "1000")]).await;
    for provider in &PROVIDERS {
        assert_success(provider, &post(&service, provider, of_length(provider, 1000)).await);
        assert_refused(provider, &post(&service, provider, of_length(provider, 1001)).await, 413, &[]);
    }
}

#[tokio::test]
async fn a_body_that_is_not_read_to_its_end_costs_nobody_the_answer() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    for provider in &PROVIDERS {
        let body = of_length(provider, 8 << 20);
        for _ in 0..3 {
            assert_refused(provider, &post(&service, provider, body.clone()).await, 413, &[]);
        }
        let answer = Answer::of(service.request("PUT", provider.path).body(body)).await;
        assert_refused(provider, &answer, 405, &[("allow", "POST")]);
    }
    let first = &PROVIDERS[0];
    // and who is not authenticated by header does not learn that the body is too large
    for length in [LIMIT + 1, 8 << 20, 8 << 20, 8 << 20] {
        let answer = post_as(&service, first, "Bearer wrong", of_length(first, length)).await;
        assert_refused(first, &answer, 401, &[("www-authenticate", "Bearer")]);
    }
}

#[tokio::test]
async fn a_body_in_chunks_is_too_large_as_soon_as_it_is_beyond_the_limit() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    for provider in &PROVIDERS {
        let authorization = (provider.authorization)("main").map(|value| format!("authorization: {value}\r\n"));
        let head = format!(
            "POST {} HTTP/1.1\r\nhost: test\r\n{}transfer-encoding: chunked\r\n\r\n",
            provider.path,
            authorization.unwrap_or_default()
        );
        let chunk = |bytes: &str| format!("{:x}\r\n{bytes}\r\n", bytes.len());
        let body = of_length(provider, LIMIT);
        let (first, second) = body.split_at(100_000);

        let mut wire = Wire::to(&service);
        wire.send((head.clone() + &chunk(first) + &chunk(second) + "0\r\n\r\n").as_bytes());
        assert!(wire.answer().0.starts_with("http/1.1 200 "));

        // the body has no end yet, and is answered
        let mut wire = Wire::to(&service);
        wire.send((head + &chunk(first) + &chunk(second) + &chunk("  ")).as_bytes());
        let (head, answer) = wire.answer();
        assert!(head.starts_with("http/1.1 413 "), "{head}");
        assert!(head.contains("x-request-id: ") && head.contains("content-type: application/json"), "{head}");
        assert!(answer.contains("413"), "{answer}");
    }
}
