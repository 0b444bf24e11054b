//! Traces over OTLP: what is exported, and that nobody waits for the collector.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use serde_json::Value;
use tokio::task::spawn_blocking;

use crate::support::{Database, Service, provider};

const TRACE: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;
const CALLER: u64 = 0x00f0_67aa_0ba9_02b7;

/// A request to the collector: head and body.
type Sent = (String, Vec<u8>);

/// Starts a collector; returns its URL and its requests.
fn collector() -> (String, Receiver<Sent>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let sender = sender.clone();
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream);
                while let Some(sent) = read(&mut reader) {
                    let answer =
                        b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
                    if sender.send(sent).is_err() || reader.get_mut().write_all(answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (url, receiver)
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Sent> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let length = head.to_lowercase().split("content-length: ").nth(1)?.split("\r\n").next()?.parse().ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((head, body))
}

fn contains(body: &[u8], part: &[u8]) -> bool {
    body.windows(part.len()).any(|window| window == part)
}

/// Delivers once. `flags`: those of the caller's `traceparent`; none is sent without.
async fn deliver(service: &Service, flags: Option<&str>) {
    let provider = provider("booking_callback");
    let mut request = service.request("POST", provider.path).body((provider.delivery)("main", "B1").to_string());
    if let Some(flags) = flags {
        request = request.header("traceparent", format!("00-{TRACE:032x}-{CALLER:016x}-{flags}"));
    }
    assert_eq!(request.header("x-request-id", "the-request").send().await.unwrap().status(), 200);
}

fn trace_id(log: &str) -> Option<String> {
    let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let line = lines.find(|line| line["message"] == "delivery").unwrap();
    line.get("trace.id").map(|id| id.as_str().unwrap().to_owned())
}

/// The requests to the collector about one delivery, and the log.
async fn exported(flags: Option<&str>, variables: &[(&str, &str)]) -> (Vec<Sent>, String) {
    let (url, sent) = collector();
    let database = Database::new().await;
    let proxies = ("TICKET_WEBHOOKS__SERVER__TRUSTED_PROXIES", "127.0.0.0/8");
    let mut all = vec![("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()), proxies];
    all.extend(variables);
    let service = Service::start(&database, &all).await;
    deliver(&service, flags).await;
    // stopping exports the last spans
    let log = service.stop().await;
    (sent.try_iter().collect(), log)
}

#[tokio::test]
async fn a_delivery_continues_the_callers_trace_and_shows_no_more_than_the_log() {
    let headers = ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=collector-key-1");
    let (sent, log) = exported(Some("01"), &[headers, ("RUST_LOG", "trace")]).await;
    assert_eq!(trace_id(&log).unwrap(), format!("{TRACE:032x}"));
    let [(head, body)] = sent.as_slice() else { panic!("{} requests", sent.len()) };
    assert!(head.starts_with("POST /v1/traces ") && head.to_lowercase().contains("application/x-protobuf"), "{head}");
    assert!(head.contains("collector-key-1") && !log.contains("collector-key-1"));
    assert!(contains(body, &TRACE.to_be_bytes()) && contains(body, &CALLER.to_be_bytes()));
    for part in [
        "ticket-webhooks",
        "POST booking_callback",
        "authenticate",
        "normalize",
        "queue and write",
        "booking.reference",
        "B1",
        "recorded",
        "event.revision",
        "the-request",
        "127.0.0.1",
    ] {
        assert!(contains(body, part.as_bytes()), "no {part}");
    }
    for private in ["Mehta", "Arjun", "2412345678", "K4T9QZ", "agency-api", "wörd-41", "10001"] {
        assert!(!contains(body, private.as_bytes()), "{private}");
    }
}

#[tokio::test]
async fn a_delivery_without_a_trace_starts_one_and_logs_its_id() {
    let (sent, log) = exported(None, &[("OTEL_SERVICE_NAME", "another-name")]).await;
    let id = trace_id(&log).unwrap();
    assert_eq!(id.len(), 32);
    assert!(contains(&sent[0].1, &u128::from_str_radix(&id, 16).unwrap().to_be_bytes()));
    assert!(contains(&sent[0].1, b"another-name"));
}

#[tokio::test]
async fn nothing_is_exported_unless_the_variables_ask_for_it() {
    for (flags, variables) in [
        (Some("00"), &[][..]),
        (Some("01"), &[("OTEL_SDK_DISABLED", "true")]),
        (Some("01"), &[("OTEL_TRACES_EXPORTER", "none")]),
        (Some("01"), &[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]),
        (Some("01"), &[("OTEL_TRACES_SAMPLER", "always_off")]),
        (None, &[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]),
    ] {
        let (sent, log) = exported(flags, variables).await;
        assert!(sent.is_empty(), "{variables:?}");
        let expected = flags.map(|_| format!("{TRACE:032x}"));
        assert_eq!(trace_id(&log), expected, "{variables:?}");
    }
}

#[tokio::test]
async fn no_delivery_and_no_stop_waits_for_a_collector() {
    // nothing listens; accepts and never answers; no URL
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_url = format!("http://{}", silent.local_addr().unwrap());
    for url in ["http://127.0.0.1:1", &silent_url, "nonsense://"] {
        let database = Database::new().await;
        let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", url), ("OTEL_BSP_SCHEDULE_DELAY", "1")];
        let service = Service::start(&database, &variables).await;
        for _ in 0..3 {
            tokio::time::timeout(Duration::from_secs(9), deliver(&service, Some("01"))).await.unwrap();
        }
        let log = service.stop().await;
        assert!(log.lines().last().unwrap().contains("\"stopped\""), "{log}");
    }
    spawn_blocking(move || drop(silent)).await.unwrap();
}
