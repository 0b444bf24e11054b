//! A flood of bodies that cost as much as a stranger's body can: everybody else goes on, and the flood counts as failures.
//! What one of them costs is measured in `tests/cost`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crate::support::{Answer, Database, PROVIDERS, Service, Wire, provider};

/// The longest that a live delivery or `/livez` may take, also without optimization and beside other tests.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Gzip of so many empty blocks with fixed codes, each of ten bits.
fn empty_blocks(blocks: usize) -> Vec<u8> {
    let mut bits: Vec<bool> = Vec::new();
    for n in 0..=blocks {
        bits.extend([n == blocks, true, false, false, false, false, false, false, false, false]);
    }
    let bytes = bits.chunks(8).map(|byte| byte.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit)));
    [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255][..], &bytes.collect::<Vec<u8>>(), &[0; 8]].concat()
}

fn show(what: &str, mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    let at = |part: usize| times[(times.len() - 1) * part / 100];
    println!("{what}: {} times, p50 {:.1?}, p99 {:.1?}", times.len(), at(50), at(99));
    at(99)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_costly_bodies_delays_nobody_else() {
    let database = Database::new().await;
    let service = Arc::new(Service::start(&database, &[]).await);
    let body = empty_blocks(209_000);
    assert!(body.len() < 256 << 10 && body.len() > 255 << 10);
    let (is_over, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    // eight a second are 2 MB
    let flood = tokio::spawn({
        let (service, is_over, sent) = (Arc::clone(&service), Arc::clone(&is_over), Arc::clone(&sent));
        async move {
            let mut pause = tokio::time::interval(Duration::from_millis(125));
            while !is_over.load(Ordering::Relaxed) {
                pause.tick().await;
                let (service, body, sent) = (Arc::clone(&service), body.clone(), Arc::clone(&sent));
                tokio::spawn(async move {
                    let answer = service.post(provider("order_ticketed"), body).await;
                    assert!([400, 429].contains(&answer.status), "{}", answer.status);
                    sent.fetch_add(1, Ordering::Relaxed);
                });
            }
        }
    });
    let (mut deliveries, mut health, since) = (Vec::new(), Vec::new(), Instant::now());
    while since.elapsed() < Duration::from_secs(5) {
        for provider in &PROVIDERS {
            let start = Instant::now();
            let body = (provider.delivery)("main", &format!("B{}", deliveries.len())).to_string();
            assert_eq!(service.post(provider, body).await.status, 200);
            deliveries.push(start.elapsed());
        }
        let start = Instant::now();
        assert_eq!(Answer::of(service.request("GET", "/livez")).await.status, 200);
        health.push(start.elapsed());
    }
    is_over.store(true, Ordering::Relaxed);
    flood.await.unwrap();
    println!("{} bodies answered", sent.load(Ordering::Relaxed));
    assert!(sent.load(Ordering::Relaxed) > 5);
    let worst = show("live deliveries", deliveries).max(show("/livez", health));
    assert!(worst < TIMEOUT, "{worst:?}");
}

#[tokio::test]
async fn costly_and_too_large_bodies_of_strangers_count_as_failed_authentications() {
    const LIMIT: &str = "TICKET_WEBHOOKS__SERVER__AUTHENTICATION_FAILURES_PER_MINUTE";
    let database = Database::new().await;
    let service = Service::start(&database, &[(LIMIT, "2")]).await;
    let provider = provider("order_ticketed");
    let too_large = {
        use std::io::Write as _;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&vec![b' '; 1 << 20]).unwrap();
        encoder.finish().unwrap()
    };
    assert_eq!(service.post(provider, too_large.clone()).await.status, 413);
    assert_eq!(service.post(provider, empty_blocks(209_000)).await.status, 400);
    assert_eq!(service.post(provider, too_large).await.status, 429);
    assert_eq!(service.post(provider, empty_blocks(209_000)).await.status, 429);
    let delivery = (provider.delivery)("main", "B1").to_string();
    assert_eq!(service.post(provider, delivery).await.status, 200);
    assert_eq!(database.rows("select 1 as one from unprocessed_deliveries").await.len(), 0);
}

/// A body in chunks of one byte.
fn in_chunks(body: &str) -> Vec<u8> {
    let head = "POST /webhooks/order-ticketed HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunks: String = body.chars().map(|character| format!("1\r\n{character}\r\n")).collect();
    (head.to_owned() + &chunks + "0\r\n\r\n").into_bytes()
}

#[tokio::test]
async fn a_body_in_a_hundred_thousand_chunks_is_not_read_and_counts_as_a_failed_authentication() {
    const LIMIT: &str = "TICKET_WEBHOOKS__SERVER__AUTHENTICATION_FAILURES_PER_MINUTE";
    let database = Database::new().await;
    let service = Service::start(&database, &[(LIMIT, "1")]).await;
    let delivery = (provider("order_ticketed").delivery)("main", "B1").to_string();
    let many = in_chunks(&(delivery.clone() + &" ".repeat(100_000)));
    for status in [400, 429] {
        let mut wire = Wire::to(&service);
        wire.try_send(&many);
        let (reply, _) = wire.rest();
        // the service may close before all is sent, and then the reply may be lost
        assert!(reply.is_empty() || reply.starts_with(&format!("HTTP/1.1 {status} ")), "{reply}");
    }
    assert_eq!(database.events().await.len(), 0);
    // a small delivery may come like that
    let mut wire = Wire::to(&service);
    wire.send(&in_chunks(&delivery));
    assert!(wire.answer().0.starts_with("http/1.1 200 "));
    let page = reqwest::get(format!("{}/metrics", service.admin)).await.unwrap().text().await.unwrap();
    let failures = "ticket_webhooks_authentication_failures_total{provider=\"order_ticketed\"} 2\n";
    assert!(page.contains(failures), "{page}");
}
