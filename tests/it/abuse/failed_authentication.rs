//! Who fails to authenticate again and again: told to stop, no burden to the log, and nobody else's trouble.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Answer, Database, PROVIDERS, Provider, Service, Wire, provider};

const LIMIT: &str = "TICKET_WEBHOOKS__SERVER__AUTHENTICATION_FAILURES_PER_MINUTE";
const PROXIES: (&str, &str) = ("TICKET_WEBHOOKS__SERVER__TRUSTED_PROXIES", "127.0.0.1");

async fn send(service: &Service, provider: &Provider, client: &str, body: String, authorization: &str) -> Answer {
    let request = service.request("POST", provider.path).header("x-forwarded-for", client).body(body);
    Answer::of(request.header("authorization", authorization.as_bytes())).await
}

/// A delivery without the right credentials.
async fn fail(service: &Service, provider: &Provider, client: &str) -> Answer {
    send(service, provider, client, "{}".to_owned(), "Bearer wrong").await
}

/// One with them.
async fn succeed(service: &Service, provider: &Provider, client: &str) -> u16 {
    let authorization = (provider.authorization)("main").unwrap_or_default();
    let body = (provider.delivery)("main", "B1").to_string();
    send(service, provider, client, body, &authorization).await.status
}

#[tokio::test]
async fn too_many_failures_are_told_in_each_providers_own_words() {
    let database = Database::new().await;
    let service = Service::start(&database, &[(LIMIT, "3"), PROXIES]).await;
    let words = "the credentials are missing or wrong, and were too often";
    for (n, provider) in PROVIDERS.iter().enumerate() {
        let (client, same, other) =
            (format!("2001:db8:{n}::1"), format!("2001:db8:{n}::ffff:2"), format!("192.0.2.{n}"));
        for _ in 0..3 {
            assert_eq!(fail(&service, provider, &client).await.status, 401);
        }
        let expected = match provider.name {
            "ticket_status_update" => json!({"code": 429, "message": [words]}),
            "booking_callback" => json!({"Error": {"ErrorCode": 429, "ErrorMessage": words}}),
            _ => json!({"status": 429, "msg": words}),
        };
        // also from elsewhere in the same /64, and whatever the mistake is
        for client in [&client, &same] {
            let answer = fail(&service, provider, client).await;
            assert_eq!((answer.status, &answer.body), (429, &expected));
            let seconds: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
            assert!((1..=21).contains(&seconds), "{seconds}");
        }
        assert_eq!(fail(&service, provider, &other).await.status, 401);
    }
    assert_eq!(database.dump().await, "");
}

#[tokio::test]
async fn the_right_credentials_are_never_refused_whoever_failed_before() {
    let database = Database::new().await;
    let service = Service::start(&database, &[(LIMIT, "2")]).await;
    for _ in 0..20 {
        for provider in &PROVIDERS {
            for _ in 0..3 {
                assert!([401, 429].contains(&fail(&service, provider, "").await.status));
            }
            assert_eq!(succeed(&service, provider, "").await, 200);
        }
    }
    assert_eq!(fail(&service, &PROVIDERS[0], "").await.status, 429);
    let counts = database.rows("select delivery_count as n from ticket_events").await;
    assert_eq!(counts, [json!({"n": 20}), json!({"n": 20}), json!({"n": 20})]);
}

#[tokio::test]
async fn after_the_time_that_it_is_told_a_failure_is_heard_again() {
    let database = Database::new().await;
    let service = Service::start(&database, &[(LIMIT, "30")]).await;
    let provider = provider("order_ticketed");
    let answer = loop {
        let answer = fail(&service, provider, "").await;
        if answer.status == 429 {
            break answer;
        }
    };
    let seconds: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    let since = Instant::now();
    while fail(&service, provider, "").await.status == 429 {
        assert!(since.elapsed() < Duration::from_secs(seconds + 10), "told {seconds} seconds");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn who_may_not_deliver_from_there_is_told_the_same() {
    let database = Database::new().await;
    let nowhere = PROVIDERS.map(|provider| {
        (format!("TICKET_WEBHOOKS__PROVIDERS__{}__ALLOWED_NETWORKS", provider.name.to_uppercase()), "203.0.113.0/24")
    });
    let mut variables: Vec<_> = nowhere.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    variables.extend([(LIMIT, "2"), PROXIES]);
    let service = Service::start(&database, &variables).await;
    for (n, provider) in PROVIDERS.iter().enumerate() {
        let client = format!("192.0.2.{n}");
        let mut statuses = Vec::new();
        for _ in 0..4 {
            statuses.push(succeed(&service, provider, &client).await);
        }
        assert_eq!(statuses, [401, 401, 429, 429]);
        assert_eq!(succeed(&service, provider, "203.0.113.7").await, 200);
    }
}

#[tokio::test]
async fn all_64ths_of_a_48th_are_throttled_together_and_the_right_credentials_are_not() {
    let database = Database::new().await;
    let service = Service::start(&database, &[(LIMIT, "3"), PROXIES]).await;
    let provider = &PROVIDERS[0];
    let mut heard = 0;
    for n in 0..300 {
        heard += u32::from(fail(&service, provider, &format!("2001:db8:1:{n:x}::1")).await.status == 401);
    }
    // 16 times 3, and what it grows by in the seconds that this takes
    assert!((48..150).contains(&heard), "{heard}");
    assert_eq!(succeed(&service, provider, "2001:db8:1:ffff::1").await, 200);
    assert_eq!(fail(&service, provider, "2001:db8:2::1").await.status, 401);
    let output = service.stop().await;
    assert!(lines(&output).len() < 200, "{}", lines(&output).len());
}

/// Failures from so many addresses, so often, each.
fn storm(service: &Service, addresses: u32, times: u32) {
    let path = provider("ticket_status_update").path;
    let mut wire = Wire::to(service);
    for first in (0..addresses).step_by(50) {
        let last = (first + 50).min(addresses);
        for _ in 0..times {
            let requests: String = (first..last)
                .map(|n| {
                    let client = std::net::Ipv4Addr::from(0xc612_0000 + n);
                    let authorization = "authorization: Bearer s3cret-guess";
                    format!(
                        "POST {path} HTTP/1.1\r\nhost: test\r\nx-forwarded-for: {client}\r\n{authorization}\r\n\r\n"
                    )
                })
                .collect();
            wire.send(requests.as_bytes());
            for _ in first..last {
                let (head, _) = wire.answer();
                assert!(head.starts_with("http/1.1 401 ") || head.starts_with("http/1.1 429 "), "{head}");
            }
        }
    }
}

fn lines(output: &str) -> Vec<Value> {
    let lines = output.lines().filter(|line| line.contains("\"WARN\"") && !line.contains("spool"));
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn failures_beyond_the_limit_have_one_line_a_minute_in_the_log() {
    let database = Database::new().await;
    let service = Service::start(&database, &[(LIMIT, "5"), PROXIES]).await;
    storm(&service, 2, 500);
    let output = service.stop().await;
    let lines = lines(&output);
    let of = |message: &str| lines.iter().filter(|line| line["message"] == message).collect::<Vec<_>>();
    // the limit, and what it grows by in the seconds that this takes
    let alone = of("delivery not authenticated");
    assert!((10..50).contains(&alone.len()), "{output}");
    assert_eq!(alone[0]["outcome"], "unauthenticated");
    let together = of("many deliveries rejected");
    assert!((2..=4).contains(&together.len()), "{output}");
    assert!(together.iter().all(|line| line["suppressed"].as_u64() >= Some(1)), "{output}");
    assert!(!output.contains("s3cret"), "{output}");
}

#[tokio::test]
async fn failures_from_any_number_of_addresses_fill_neither_the_log_nor_the_memory() {
    let database = Database::new().await;
    let service = Service::start(&database, &[PROXIES]).await;
    storm(&service, 500, 1);
    let before = service.process.memory();
    storm(&service, 4000, 1);
    let after = service.process.memory();
    assert!(after < before + 8 * 1024, "from {before} to {after} KiB");
    assert_eq!(succeed(&service, &PROVIDERS[0], "198.18.0.1").await, 200);
    let output = service.stop().await;
    let lines = lines(&output);
    assert!(lines.len() < 2000, "{}", lines.len());
    assert!(output.contains("deliveries rejected from many addresses"));
}

#[tokio::test]
async fn what_is_no_json_fills_no_log_either() {
    let database = Database::new().await;
    let service = Service::start(&database, &[(LIMIT, "5")]).await;
    for n in 0..100 {
        // nobody knows whose it is, so it is a failed authentication like any other
        let status = send(&service, provider("order_ticketed"), "", "{".to_owned(), "").await.status;
        assert!(status == 400 || n >= 5 && status == 429, "{status}");
    }
    let output = service.stop().await;
    assert!((6..20).contains(&lines(&output).len()), "{output}");
}
