//! The log: one line for every delivery, with everything needed to find its cause.

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::spawn_blocking;

use crate::support::{Command, Database, PROVIDERS, Service, Wire, provider, settings};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Lines with this message.
fn lines(log: &str, message: &str) -> Vec<Value> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["message"] == message).collect()
}

fn keys(line: &Value) -> Vec<&str> {
    line.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn one_line_carries_everything_about_a_delivery() {
    let database = Database::new().await;
    let service = Service::start(&database, &[("TICKET_WEBHOOKS__SERVER__TRUSTED_PROXIES", "127.0.0.0/8")]).await;
    for provider in &PROVIDERS {
        for id in ["first", "again"] {
            let mut request =
                service.request("POST", provider.path).body((provider.delivery)("main", "B1").to_string());
            if let Some(authorization) = (provider.authorization)("main") {
                request = request.header("authorization", authorization.as_bytes());
            }
            let request = request.header("x-request-id", id).header("x-forwarded-for", "198.51.100.7");
            let request = request.header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"));
            assert_eq!(request.send().await.unwrap().status(), 200);
        }
    }
    let events = database.events().await;
    let log = service.stop().await;
    let lines = lines(&log, "delivery");
    assert_eq!(lines.len(), 6, "{log}");
    for (n, mut line) in lines.into_iter().enumerate() {
        let event = &events[n / 2];
        let duration = line["duration_ms"].as_f64().unwrap();
        assert!((0.001..60_000.0).contains(&duration), "{duration}");
        let id = line["delivery.id"].clone();
        assert_eq!(id == event["id"], n % 2 == 0);
        let (outcome, request) = if n % 2 == 0 { ("recorded", "first") } else { ("duplicate", "again") };
        for volatile in ["timestamp", "duration_ms", "delivery.id"] {
            assert!(line.as_object_mut().unwrap().remove(volatile).is_some());
        }
        let expected = json!({
            "level": "INFO",
            "message": "delivery",
            "provider": PROVIDERS[n / 2].name,
            "account": "main",
            "environment": "live",
            "booking.reference": "B1",
            "booking.status": "ticketed",
            "outcome": outcome,
            "event.id": event["id"],
            "event.revision": 1,
            "request.id": request,
            "trace.id": TRACE,
            "client.address": "198.51.100.7",
            "target": "ticket_webhooks::receive::log",
        });
        assert_eq!(line, expected);
    }
}

#[tokio::test]
async fn the_line_of_a_delivery_that_is_not_recorded_has_its_cause_and_its_source() {
    let database = Database::new().await;
    let service = Service::start(&database, &[("TICKET_WEBHOOKS__SERVER__TRUSTED_PROXIES", "127.0.0.0/8")]).await;
    let provider = provider("booking_callback");
    let unprocessed = (provider.delivery)("main", "B1").to_string().replace("Success", "No such status");
    for (body, status) in [("{", 400), ("{}", 401), (unprocessed.as_str(), 422)] {
        let request = service.request("POST", provider.path).header("x-request-id", format!("id-{status}"));
        assert_eq!(request.body(body.to_owned()).send().await.unwrap().status(), status);
    }
    database.execute("alter table ticket_events rename to elsewhere").await;
    let body = (provider.delivery)("main", "B2").to_string();
    let request = service.request("POST", provider.path).header("x-request-id", "id-503").body(body);
    assert_eq!(request.send().await.unwrap().status(), 503);
    let log = service.stop().await;
    for (message, outcome, level, id) in [
        ("delivery rejected", "malformed", "WARN", "id-400"),
        ("delivery not authenticated", "unauthenticated", "WARN", "id-401"),
        ("delivery", "unprocessed", "INFO", "id-422"),
        ("delivery not durable", "not_durable", "ERROR", "id-503"),
    ] {
        let found = lines(&log, message);
        let [line] = found.as_slice() else { panic!("{found:#?}") };
        let said =
            ["outcome", "level", "request.id", "client.address", "provider"].map(|key| line[key].as_str().unwrap());
        assert_eq!(said, [outcome, level, id, "127.0.0.1", "booking_callback"]);
        assert!(keys(line).contains(&"duration_ms") && !keys(line).contains(&"trace.id"), "{line}");
    }
    assert_eq!(lines(&log, "delivery not durable")[0]["booking.reference"], "B2");
}

#[tokio::test]
async fn a_malformed_traceparent_is_ignored() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let provider = provider("order_ticketed");
    for wrong in [format!("00-{TRACE}-0000000000000000-01"), format!("00-{TRACE}"), TRACE.to_uppercase()] {
        let request = service.request("POST", provider.path).header("traceparent", wrong);
        assert_eq!(request.body((provider.delivery)("main", "B1").to_string()).send().await.unwrap().status(), 200);
    }
    let log = service.stop().await;
    assert_eq!(lines(&log, "delivery").len(), 3);
    assert!(!log.to_lowercase().contains(TRACE) && !log.contains("trace.id"), "{log}");
}

#[tokio::test]
async fn no_line_is_lost_when_the_service_stops() {
    const DELIVERIES: usize = 300;
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let provider = provider("order_ticketed");
    let mut wire = Wire::to(&service);
    for n in 0..DELIVERIES {
        let body = (provider.delivery)("main", &format!("B{n}")).to_string();
        let length = body.len();
        wire.send(
            format!("POST {} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}", provider.path).as_bytes(),
        );
    }
    spawn_blocking(move || {
        for _ in 0..DELIVERIES {
            assert!(wire.head().starts_with("http/1.1 200"));
            let mut body = [0; r#"{"status":0,"msg":"success"}"#.len()];
            wire.read(&mut body);
        }
    })
    .await
    .unwrap();
    let log = service.stop().await;
    let lines = lines(&log, "delivery");
    let references: Vec<_> = lines.iter().map(|line| line["booking.reference"].as_str().unwrap().to_owned()).collect();
    assert_eq!(references, (0..DELIVERIES).map(|n| format!("B{n}")).collect::<Vec<_>>());
    assert!(log.lines().last().unwrap().contains("\"stopped\""));
}

#[tokio::test]
async fn what_was_logged_before_a_failed_start_stands_before_its_error() {
    let database = Database::empty().await;
    let variables = settings(&database.url());
    let command = Command::new(&["serve", "--no-migrate"]).envs(&variables);
    let (code, _, errors) = spawn_blocking(move || command.run()).await.unwrap();
    assert_eq!(code, 1);
    let lines: Vec<_> = errors.lines().collect();
    assert!(lines.len() >= 2 && lines.iter().any(|line| line.contains("there is no spool")), "{errors}");
    assert!(lines.last().unwrap().starts_with("error: migrations are pending"), "{errors}");
}

#[tokio::test]
async fn the_format_can_be_chosen_and_is_json_where_there_is_no_terminal() {
    let directory = TempDir::new().unwrap();
    for (format, is_json) in [(None, true), (Some("auto"), true), (Some("json"), true), (Some("text"), false)] {
        let database = Database::empty().await;
        let mut command = Command::new(&["migrate"]).env("DATABASE_URL", &database.url()).directory(directory.path());
        if let Some(format) = format {
            command = command.env("TICKET_WEBHOOKS__LOG__FORMAT", format);
        }
        let (code, _, log) = spawn_blocking(move || command.run()).await.unwrap();
        assert_eq!(code, 0, "{log}");
        assert_eq!(lines(&log, "the tables are up to date").len(), usize::from(is_json), "{log}");
        assert!(log.contains("the tables are up to date"));
    }
}

#[tokio::test]
async fn the_line_of_an_error_has_its_reason_and_detail() {
    let database = Database::new().await;
    let service = Service::start(&database, &[("TICKET_WEBHOOKS__SERVER__TRUSTED_PROXIES", "127.0.0.0/8")]).await;
    let (status_update, callback) = (provider("ticket_status_update"), provider("booking_callback"));
    let with = |member: &str, value: Value| {
        let mut delivery = (callback.delivery)("main", "B1");
        delivery[member] = value;
        delivery.to_string()
    };
    let whole = (callback.delivery)("main", "B1").to_string();
    let no_json = "the body is not valid JSON";
    let wrong = "the credentials are missing or wrong";
    let cases: [(&str, String, u16, Value, String); 7] = [
        ("", with("Password", json!(null)), 401, json!("malformed"), wrong.to_owned()),
        ("", with("Password", json!("another")), 401, json!("wrong"), wrong.to_owned()),
        ("", "{}".to_owned(), 401, json!("missing"), wrong.to_owned()),
        ("", "{\n \"a\":}".to_owned(), 400, json!("missing"), format!("{no_json} (line 2, column 6)")),
        ("", with("Password", json!("another")) + ",", 401, json!("wrong"), wrong.to_owned()),
        ("", whole + ",", 400, json!("malformed"), format!("{no_json} (line 1, column 311)")),
        ("", with("BookingId", json!([])), 422, json!("invalid"), "BookingId must be a string".to_owned()),
    ];
    for (n, (_, body, status, _, _)) in cases.iter().enumerate() {
        let request = service.request("POST", callback.path).header("x-request-id", format!("case-{n}"));
        assert_eq!(request.body(body.clone()).send().await.unwrap().status(), *status, "{body}");
    }
    let headers = [
        ("missing", None),
        ("malformed", Some("Basic abc")),
        ("malformed", Some("Bearer")),
        ("wrong", Some("bearer abc")),
    ];
    for (n, (_, header)) in headers.iter().enumerate() {
        let mut request = service.request("POST", status_update.path).header("x-request-id", format!("header-{n}"));
        if let Some(header) = header {
            request = request.header("authorization", *header);
        }
        assert_eq!(request.body("{}").send().await.unwrap().status(), 401);
    }
    let log = service.stop().await;
    let line = |id: String| {
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.into_iter().find(|line| line["request.id"] == id.as_str()).unwrap()
    };
    for (n, (_, _, _, reason, detail)) in cases.iter().enumerate() {
        let line = line(format!("case-{n}"));
        assert_eq!((&line["reason"], &line["detail"]), (reason, &json!(detail)), "{line}");
    }
    for (n, (reason, _)) in headers.iter().enumerate() {
        assert_eq!(line(format!("header-{n}"))["reason"], *reason);
    }
}

#[tokio::test]
async fn an_unrouted_post_is_counted_and_logged_once_a_minute_for_each_address() {
    let database = Database::new().await;
    let service = Service::start(&database, &[("TICKET_WEBHOOKS__SERVER__TRUSTED_PROXIES", "127.0.0.0/8")]).await;
    let send = async |method: &str, path: &str, client: &str| {
        let request = service.request(method, path).header("x-request-id", "lost-1").header("x-forwarded-for", client);
        assert_eq!(request.body("{}").send().await.unwrap().status(), 404);
    };
    for _ in 0..5 {
        send("POST", "/webhooks/order-tickted?pnr=ABC123", "198.51.100.7").await;
    }
    send("POST", "/a%20b/Jane%20Smith", "198.51.100.8").await;
    send("GET", "/webhooks", "198.51.100.9").await;
    let page = reqwest::get(format!("{}/metrics", service.admin)).await.unwrap().text().await.unwrap();
    assert!(page.contains("\nticket_webhooks_unrouted_requests_total 6\n"), "{page}");
    let log = service.stop().await;
    let lines = lines(&log, "nothing at this path: a provider may have a wrong URL");
    let said = lines.iter().map(|line| ["level", "path", "request.id", "client.address"].map(|key| line[key].clone()));
    let expected = [
        ["WARN", "/webhooks/order-tickted", "lost-1", "198.51.100.7"],
        ["WARN", "[redacted]", "lost-1", "198.51.100.8"],
    ];
    assert_eq!(said.collect::<Vec<_>>(), expected);
    assert!(!log.contains("ABC123") && !log.contains("Jane"), "{log}");
}
