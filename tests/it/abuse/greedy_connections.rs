//! Strangers who take connections: with nothing behind them, they keep no delivery and no health check out.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use serde_json::json;
use ticket_webhooks::lifecycle::raise_open_file_limit;

use crate::support::{Answer, Command, Database, PROVIDERS, Provider, Service, Wire, provider, settings};

const TIMEOUT: (&str, &str) = ("TICKET_WEBHOOKS__SERVER__BODY_READ_TIMEOUT_MS", "60000");
const ANSWER: (&str, &str) = ("TICKET_WEBHOOKS__SERVER__RESPONSE_WRITE_TIMEOUT_MS", "60000");
const PROXIES: &str = "TICKET_WEBHOOKS__SERVER__TRUSTED_PROXIES";
const CONNECTIONS: &str = "TICKET_WEBHOOKS__SERVER__MAX_CONNECTIONS";
const GRACE: &str = "TICKET_WEBHOOKS__SERVER__BODY_GRACE_MS";

/// A head that announces a body, and one byte of it.
fn one_byte() -> String {
    format!("POST {} HTTP/1.1\r\nhost: test\r\ncontent-length: 200000\r\n\r\n{{", PROVIDERS[1].path)
}

/// Connections with a head and one byte of body: as many as the listener takes, again and again, from 16 addresses
/// beginning with `first`. Ends when `is_over` is set.
async fn attack(public: String, first: u8, connections: usize, is_over: &AtomicBool) -> usize {
    let mut held = std::collections::VecDeque::new();
    let mut opened = 0;
    while !is_over.load(Ordering::Relaxed) {
        let address = [127, 0, 9, first + u8::try_from(opened % 16).unwrap()];
        if let Some(mut wire) = Wire::try_from(address, &public).await {
            wire.try_send(one_byte().as_bytes());
            held.push_back(wire);
            opened += 1;
        }
        if held.len() > connections {
            held.pop_front();
        }
        if opened % 16 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    opened
}

/// One delivery or health check over a connection of its own.
async fn ask(url: &str, body: Option<(&Provider, String)>) -> Answer {
    let client = reqwest::Client::builder().pool_max_idle_per_host(0).timeout(Duration::from_secs(20)).build().unwrap();
    let request = match body {
        Some((provider, body)) => {
            let request = client.post(format!("{url}{}", provider.path)).body(body);
            let authorization = (provider.authorization)("main");
            authorization.into_iter().fold(request, |request, value| request.header("authorization", value.as_bytes()))
        }
        None => client.get(format!("{url}/readyz")),
    };
    Answer::of(request).await
}

/// How long one took that must get through.
async fn timed(url: &str, body: Option<(&Provider, String)>) -> Duration {
    let since = Instant::now();
    let answer = ask(url, body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    since.elapsed()
}

fn p99(mut durations: Vec<Duration>) -> Duration {
    durations.sort();
    durations[durations.len() * 99 / 100]
}

/// Deliveries and health checks go on while all connections are taken by others, and more than that come.
async fn assert_gets_through(variables: &[(&str, &str)]) {
    raise_open_file_limit();
    let database = Database::new().await;
    let service = Service::start(&database, variables).await;
    let is_over = std::sync::Arc::new(AtomicBool::new(false));
    let attacks: Vec<_> = [1, 101]
        .map(|first| {
            let (public, is_over) = (service.public.clone(), std::sync::Arc::clone(&is_over));
            tokio::task::spawn(async move { attack(public, first, 1200, &is_over).await })
        })
        .into();
    let page = async || reqwest::get(format!("{}/metrics", service.admin)).await.unwrap().text().await.unwrap();
    let value = |page: &str, name: &str| -> f64 {
        let line = page.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().parse().unwrap()
    };
    let since = Instant::now();
    while value(&page().await, "ticket_webhooks_connections_evicted_total{listener=\"public\"}") < 1.0 {
        assert!(since.elapsed() < Duration::from_secs(60), "the connections do not run short");
    }
    let (mut deliveries, mut public, mut admin) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..100 {
        let provider = &PROVIDERS[n % 3];
        let body = (provider.delivery)("main", &format!("B{n}")).to_string();
        deliveries.push(timed(&service.public, Some((provider, body))).await);
        public.push(timed(&service.public, None).await);
        admin.push(timed(&service.admin, None).await);
    }
    is_over.store(true, Ordering::Relaxed);
    let mut opened = 0;
    for attack in attacks {
        opened += attack.await.unwrap();
    }
    assert_eq!(database.events().await.len(), 100);
    let took = [deliveries, public, admin].map(p99);
    println!(
        "{opened} connections of one byte each; p99 of deliveries, /readyz, /readyz of the admin listener: {took:?}"
    );
    // a debug build shares the machine with all other tests
    let most = Duration::from_secs(if cfg!(debug_assertions) { 5 } else { 1 });
    assert!(took.iter().all(|took| *took < most), "{took:?}");
    let page = page().await;
    assert_eq!(value(&page, "ticket_webhooks_connections_refused_total{listener=\"public\"}"), 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_byte_of_a_body_on_every_connection_keeps_nobody_out() {
    assert_gets_through(&[TIMEOUT, (GRACE, "60000")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_does_it_through_a_trusted_proxy() {
    assert_gets_through(&[TIMEOUT, (GRACE, "60000"), (PROXIES, "127.0.9.0/24")]).await;
}

#[tokio::test]
async fn a_body_below_the_least_rate_is_given_up_after_the_grace_period() {
    let database = Database::new().await;
    let service = Service::start(&database, &[TIMEOUT, (GRACE, "1000")]).await;
    let provider = provider("booking_callback");
    let body = (provider.delivery)("main", "B1").to_string();
    let head = format!("POST {} HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n\r\n", provider.path, body.len());
    // 10 bytes a second, and one
    for pause in [100, 1000] {
        let mut wire = Wire::to(&service);
        wire.send(head.as_bytes());
        let since = Instant::now();
        let mut bytes = body.bytes();
        while since.elapsed() < Duration::from_millis(900) {
            wire.send(&[bytes.next().unwrap()]);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        let (answer, _) = wire.answer();
        assert!(answer.starts_with("http/1.1 408 ") && answer.contains("connection: close"), "{answer}");
        let took = since.elapsed();
        assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(5), "{took:?}");
    }
    // one that is fast enough may take longer, and one that is there is never too slow
    let (large, mut wire) = (body.clone() + &" ".repeat(10_000), Wire::to(&service));
    wire.send(head.replace(&body.len().to_string(), &large.len().to_string()).as_bytes());
    wire.send(&large.as_bytes()[..5000]);
    tokio::time::sleep(Duration::from_millis(2000)).await;
    wire.send(&large.as_bytes()[5000..]);
    assert!(wire.answer().0.starts_with("http/1.1 200 "));
}

#[tokio::test]
async fn a_discarded_body_has_no_permit_and_an_end() {
    let database = Database::new().await;
    let service = Service::start(&database, &[TIMEOUT, (CONNECTIONS, "8")]).await;
    let provider = provider("ticket_status_update");
    let head = format!("POST {} HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n", provider.path);
    let chunk = format!("400\r\n{}\r\n", " ".repeat(0x400));
    // more than there are permits: two linger, and of the others the connection is closed with the answer
    let mut held = Vec::new();
    for _ in 0..20 {
        let mut wire = Wire::to(&service);
        wire.send((head.clone() + &chunk).as_bytes());
        let (answer, _) = wire.answer();
        assert!(answer.starts_with("http/1.1 401 ") && answer.contains("connection: close"), "{answer}");
        held.push(wire);
    }
    let page = reqwest::get(format!("{}/metrics", service.admin)).await.unwrap().text().await.unwrap();
    for none in ["connections_refused_total", "connections_evicted_total"] {
        assert!(page.contains(&format!("ticket_webhooks_{none}{{listener=\"public\"}} 0\n")), "{page}");
    }
    let since = Instant::now();
    for wire in &mut held {
        while wire.try_send(chunk.as_bytes()) {
            assert!(since.elapsed() < Duration::from_secs(10), "a body without end is taken");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    // what comes together with its head costs no connection
    let mut wire = Wire::to(&service);
    for _ in 0..3 {
        wire.send(format!("POST {} HTTP/1.1\r\nhost: test\r\ncontent-length: 2\r\n\r\n{{}}", provider.path).as_bytes());
        let (answer, _) = wire.answer();
        assert!(answer.starts_with("http/1.1 401 ") && !answer.contains("connection: close"), "{answer}");
    }
}

#[tokio::test]
async fn answers_that_are_not_taken_make_room() {
    let database = Database::new().await;
    let service = Service::start(&database, &[ANSWER, (CONNECTIONS, "8")]).await;
    let mut held = Vec::new();
    let requests = b"GET /livez HTTP/1.1\r\nhost: test\r\n\r\n".repeat(600_000);
    for n in 0..8 {
        let wire = Wire::from([127, 0, 9, n], &service).await;
        wire.send_what_is_taken(&requests);
        held.push(wire);
    }
    // they make room once an answer is stuck, not while the service still writes
    let deadline = Instant::now() + Duration::from_secs(60);
    for provider in &PROVIDERS {
        let body = (provider.delivery)("main", "B1").to_string();
        loop {
            let answer = ask(&service.public, Some((provider, body.clone()))).await;
            if answer.status == 200 {
                break;
            }
            assert_eq!(answer.status, 503, "{answer:?}");
            assert!(Instant::now() < deadline, "no room was made");
            // asked to come back later; of so few connections only one that is refused may linger
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test]
async fn the_admin_listener_answers_whoever_holds_connections_to_either_listener() {
    let database = Database::new().await;
    let service = Service::start(&database, &[(CONNECTIONS, "8"), (PROXIES, "127.0.0.0/8")]).await;
    let mut held = Vec::new();
    for n in 0..200 {
        for url in [&service.public, &service.admin] {
            let Some(mut wire) = Wire::try_from([127, 0, 9, n], url).await else { continue };
            wire.try_send([&b""[..], b"GET /rea", one_byte().as_bytes()][usize::from(n % 3)]);
            held.push(wire);
        }
    }
    for _ in 0..20 {
        timed(&service.admin, None).await;
        let page = reqwest::get(format!("{}/metrics", service.admin)).await.unwrap();
        assert_eq!(page.status(), 200);
        assert_eq!(reqwest::get(format!("{}/livez", service.admin)).await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn where_few_files_may_be_open_the_limit_is_lowered_and_strangers_keep_nobody_out() {
    let database = Database::new().await;
    let spool = tempfile::tempdir().unwrap();
    let command = Command::with_at_most_open_files(72, &["serve"]).envs(&settings(&database.url()));
    let command = command.env("TICKET_WEBHOOKS__SPOOL__DIRECTORY", spool.path().to_str().unwrap());
    let service = tokio::task::spawn_blocking(move || Service::over(command.start())).await.unwrap();
    let line: serde_json::Value = serde_json::from_str(&service.process.line("too few files may be open")).unwrap();
    assert_eq!((&line["key"], &line["wanted"]), (&json!("server.max_connections"), &json!(2048)));
    let used = line["used"].as_u64().unwrap();
    assert!((4..64).contains(&used), "{line}");
    let mut held = Vec::new();
    for n in 0..200 {
        for url in [&service.public, &service.admin] {
            if let Some(mut wire) = Wire::try_from([127, 0, 9, n], url).await {
                wire.try_send([&b""[..], b"GET /rea", one_byte().as_bytes()][usize::from(n % 3)]);
                held.push(wire);
            }
        }
        if n % 20 == 19 {
            for provider in &PROVIDERS {
                let body = (provider.delivery)("main", "B1").to_string();
                timed(&service.public, Some((provider, body))).await;
            }
            timed(&service.public, None).await;
            timed(&service.admin, None).await;
        }
    }
    let page = reqwest::get(format!("{}/metrics", service.admin)).await.unwrap().text().await.unwrap();
    assert!(page.contains(&format!("\nticket_webhooks_connections_limit {used}\n")), "{page}");
    let log = service.stop().await;
    assert!(!log.contains("could not be accepted"), "{log}");
}

#[tokio::test]
async fn too_few_open_files_to_work_at_all_are_an_error_at_the_start() {
    let database = Database::new().await;
    let command = Command::with_at_most_open_files(40, &["serve"]).envs(&settings(&database.url()));
    let (code, _, stderr) = tokio::task::spawn_blocking(move || command.run()).await.unwrap();
    assert_ne!(code, 0);
    assert!(stderr.contains("limit for open files") && stderr.contains("ulimit -n"), "{stderr}");
}
