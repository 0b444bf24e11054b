//! The bound on memory that docs/operations.md names, whatever bodies are accepted.

use std::{sync::Arc, time::Duration};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use sqlx::Executor;
use tokio::task::JoinSet;

use crate::support::{Database, Scrape, Service, provider};

/// At once, of each environment.
const CONNECTIONS: usize = 32;

/// As long as the service may take to write (`WRITE_TIMEOUT_MS`).
const SEND_TIMEOUT: Duration = Duration::from_secs(60);

/// What bodies may have (`server.body_memory_bytes`), and deliveries that wait or are being written.
const BOUND_KIB: u64 = (64 + 40) * 1024;

/// Those that are written: what Postgres is sent is made of them, and made once more by the driver.
const WRITTEN_KIB: u64 = 3 * 4 * 2 * 1024;

const PER_CONNECTION_KIB: u64 = 64;

/// A little less than a body may have.
const LARGE: usize = 240_000;

fn callback(account: &str, n: usize, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut delivery = (provider("booking_callback").delivery)(account, &format!("{account}-{n}"));
    change(&mut delivery);
    delivery.to_string().into_bytes()
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    std::io::Write::write_all(&mut encoder, body).unwrap();
    encoder.finish().unwrap()
}

/// Every kind of body that is kept, as an account sends it, and how it is answered.
type Kind = (&'static str, u16, fn(&str, usize) -> Vec<u8>);

const KINDS: &[Kind] = &[
    ("ordinary", 200, |account, n| callback(account, n, |_| {})),
    ("tickets", 200, |account, n| {
        callback(account, n, |delivery| {
            let tickets: Vec<_> = (0..64).map(|ticket| format!("157{ticket:010}")).collect();
            let passenger = json!({"FirstName": "A", "LastName": "B", "TicketNumber": tickets});
            delivery["Passengers"] = json!(vec![passenger; 31]);
            delivery["Remark"] = json!("x".repeat(LARGE - 40_000));
        })
    }),
    ("one ticket number a hundred thousand times", 200, |account, n| {
        let numbers = "1,".repeat(LARGE / 2 - 1000);
        callback(account, n, |delivery| {
            delivery["Passengers"] = json!([{"FirstName": "A", "LastName": "B", "TicketNumber": numbers}]);
        })
    }),
    ("ticket numbers of 4,000 characters", 200, |account, n| {
        let tickets: Vec<_> = (0..56).map(|ticket| format!("{ticket}{}", "x".repeat(4000))).collect();
        callback(account, n, |delivery| {
            delivery["Passengers"] = json!([{"FirstName": "A", "LastName": "B", "TicketNumber": tickets}]);
        })
    }),
    ("passengers of whom nothing is known", 200, |account, n| {
        callback(account, n, |delivery| delivery["Passengers"] = json!(vec![json!({}); 1000]))
    }),
    ("passengers of whom little is known", 200, |account, n| {
        let passenger =
            json!({"Title": "x", "FirstName": "y".repeat(30), "LastName": "z".repeat(30), "TicketNumber": "PENDING"});
        callback(account, n, |delivery| delivery["Passengers"] = json!(vec![passenger; 1000]))
    }),
    ("members that nobody reads", 200, |account, n| {
        let members: serde_json::Map<_, _> = (0..LARGE / 12).map(|n| (n.to_string(), json!(1))).collect();
        callback(account, n, |delivery| delivery["More"] = Value::Object(members))
    }),
    ("escapes", 200, |account, n| {
        callback(account, n, |delivery| delivery["Remark"] = json!("\u{1}".repeat(LARGE / 6)))
    }),
    ("lists in lists", 200, |account, n| {
        let text = String::from_utf8(callback(account, n, |_| {})).unwrap();
        let lists = format!("{}{}", "[".repeat(100), "]".repeat(100));
        text.replacen('{', &format!("{{\"More\":[{}0],", format!("{lists},").repeat(LARGE / 201)), 1).into_bytes()
    }),
    ("gzip", 200, |account, n| {
        gzip(&callback(account, n, |delivery| delivery["Passengers"] = json!(vec![json!({"Title": ""}); 1000])))
    }),
    ("UTF-16", 200, |account, n| {
        let text = String::from_utf8(callback(account, n, |_| {})).unwrap() + &" ".repeat(LARGE / 2 - 1000);
        std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
    }),
    ("broken", 400, |account, n| [callback(account, n, |_| {}), b",".to_vec(), vec![b'"'; LARGE]].concat()),
    ("invalid", 422, |account, n| {
        callback(account, n, |delivery| {
            delivery["Status"] = json!("Postponed");
            delivery["Remark"] = json!("x".repeat(LARGE));
        })
    }),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_accepted_memory_stays_within_its_bound() {
    let database = Database::new().await;
    let service =
        Arc::new(Service::start(&database, &[("TICKET_WEBHOOKS__DATABASE__WRITE_TIMEOUT_MS", "60000")]).await);
    let before = service.process.memory();
    let bound = BOUND_KIB + WRITTEN_KIB + PER_CONNECTION_KIB * 2 * CONNECTIONS as u64;
    for (kind, status, body) in KINDS {
        // made before any is sent: the time that a request may take does not count it
        let bodies: Vec<_> = (0..CONNECTIONS).flat_map(|n| ["main", "other"].map(|account| body(account, n))).collect();
        // what arrives meanwhile waits
        let mut lock = database.pool.begin().await.unwrap();
        lock.execute("lock table ticket_events, unprocessed_deliveries in exclusive mode").await.unwrap();
        let mut senders = JoinSet::new();
        for body in bodies {
            let service = Arc::clone(&service);
            senders.spawn(async move {
                let request = service.request("POST", provider("booking_callback").path).body(body);
                request.timeout(SEND_TIMEOUT).send().await.unwrap().status().as_u16()
            });
        }
        let is_refused =
            |scrape: &Scrape| scrape.get("ticket_webhooks_deliveries_total", &[("outcome", "not_durable")]);
        let waits = |scrape: &Scrape| scrape.get("ticket_webhooks_queue_memory_bytes", &[]) / 1024.0;
        let before_it = is_refused(&Scrape::of(&service).await);
        // each of them waits, or was refused
        let full = Scrape::until(&service, |scrape| {
            scrape.get("ticket_webhooks_body_memory_bytes", &[]) == 0.0
                && scrape.get("ticket_webhooks_phase_duration_seconds_count", &[("phase", "normalize")]) > 0.0
                && waits(scrape) > 32.0
                || is_refused(scrape) > before_it
        })
        .await;
        let while_waiting = service.process.memory();
        lock.rollback().await.unwrap();
        let answers = senders.join_all().await;
        let memory = while_waiting.max(service.process.memory()) - before;
        let taken = answers.iter().filter(|answer| *answer == status).count();
        println!("{kind:36} {memory:7} KiB more, {:7.0} KiB wait, {taken} of {} taken", waits(&full), answers.len());
        assert!(memory < bound, "{kind}: {memory} KiB of {bound}");
        assert!(taken > CONNECTIONS, "{kind}: {answers:?}");
        assert!(answers.iter().all(|answer| answer == status || *answer == 503), "{kind}: {answers:?}");
    }
}
