//! The metrics: each exists from the start and changes when it should.

mod outage;

use std::collections::BTreeSet;

use serde_json::json;
use tokio::task::spawn_blocking;

use crate::support::{Command, Database, PROVIDERS, Scrape, Series, Service, Wire, provider, settings};

const PAGE: &str = include_str!("../../../docs/metrics-and-logs.md");

const DELIVERIES: &str = "ticket_webhooks_deliveries_total";

/// All metrics of this service; those of the process begin with `process_`.
const NAMES: [&str; 48] = [
    "ticket_webhooks_admin_authentication_failures_total",
    "ticket_webhooks_authentication_failures_total",
    "ticket_webhooks_batch_size",
    "ticket_webhooks_body_memory_bytes",
    "ticket_webhooks_body_memory_limit_bytes",
    "ticket_webhooks_bookings_overdue",
    "ticket_webhooks_bookings_stuck",
    "ticket_webhooks_build_info",
    "ticket_webhooks_conflicts_total",
    "ticket_webhooks_connections",
    "ticket_webhooks_connections_evicted_total",
    "ticket_webhooks_connections_limit",
    "ticket_webhooks_connections_refused_total",
    "ticket_webhooks_consumer_lag_events",
    "ticket_webhooks_consumer_lag_seconds",
    "ticket_webhooks_database_connections",
    "ticket_webhooks_database_connections_limit",
    "ticket_webhooks_database_up",
    "ticket_webhooks_feed_held_back_by_pid",
    "ticket_webhooks_feed_held_back_seconds",
    "ticket_webhooks_last_delivery_age_seconds",
    "ticket_webhooks_phase_duration_seconds",
    "ticket_webhooks_queue_capacity",
    "ticket_webhooks_queue_deliveries",
    "ticket_webhooks_queue_memory_bytes",
    "ticket_webhooks_queue_memory_limit_bytes",
    "ticket_webhooks_retention_seconds",
    "ticket_webhooks_ready",
    "ticket_webhooks_reprocessed_total",
    "ticket_webhooks_revisions_total",
    "ticket_webhooks_spool_bytes",
    "ticket_webhooks_spool_drained_total",
    "ticket_webhooks_spool_enabled",
    "ticket_webhooks_spool_files_aside",
    "ticket_webhooks_spool_files_replaced_total",
    "ticket_webhooks_spool_files_set_aside_total",
    "ticket_webhooks_spool_limit_bytes",
    "ticket_webhooks_spool_oldest_age_seconds",
    "ticket_webhooks_spool_records",
    "ticket_webhooks_spool_records_damaged_total",
    "ticket_webhooks_spool_spooled_total",
    "ticket_webhooks_start_time_seconds",
    "ticket_webhooks_unprocessed_not_kept_total",
    "ticket_webhooks_unprocessed_total",
    "ticket_webhooks_unprocessed_waiting",
    "ticket_webhooks_unrouted_requests_total",
    "ticket_webhooks_warnings_total",
    DELIVERIES,
];

async fn post(service: &Service, body: impl ToString) -> u16 {
    service.post(provider("booking_callback"), body.to_string()).await.status
}

/// A delivery about a booking.
fn delivery(account: &str, status: &str, booking: &str) -> serde_json::Value {
    let mut delivery = (provider("booking_callback").delivery)(account, booking);
    delivery["Status"] = json!(status);
    delivery
}

#[tokio::test]
async fn every_metric_exists_from_the_start_and_is_explained_in_the_scrape_and_in_the_readme() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let scrape = Scrape::of(&service).await;
    for name in NAMES {
        assert!(scrape.kinds.contains_key(name), "no {name}");
    }
    for (name, kind) in &scrape.kinds {
        let is_counter = name.ends_with("_total");
        assert_eq!(is_counter, kind == "counter", "{name} is a {kind}");
        let help = scrape.help.get(name).unwrap_or_else(|| panic!("{name} is not explained"));
        assert!(PAGE.contains(&format!("`{name}`")), "the PAGE does not name {name}");
        if name.starts_with("ticket_webhooks_") {
            assert!(NAMES.contains(&name.as_str()), "nobody expects {name}");
            assert!(PAGE.contains(help), "the PAGE does not say of {name}: {help}");
            let has_unit = ["_seconds", "_bytes"].iter().any(|unit| name.ends_with(unit));
            let names_unit = help.contains("in seconds") || help.contains("ytes");
            assert!(!has_unit || names_unit, "{name} without its unit: {help}");
        }
    }
    for provider in &PROVIDERS {
        let of_provider = [("provider", provider.name)];
        for name in ["authentication_failures", "conflicts", "deliveries", "revisions", "unprocessed", "warnings"] {
            assert_eq!(scrape.get(&format!("ticket_webhooks_{name}_total"), &of_provider), 0.0);
        }
        assert!(scrape.get("ticket_webhooks_last_delivery_age_seconds", &of_provider) < 60.0);
    }
    for (name, value) in [
        ("ready", 1.0),
        ("database_up", 1.0),
        ("database_connections_limit", 14.0),
        ("connections_limit", 2048.0),
        ("body_memory_limit_bytes", 67_108_864.0),
        ("queue_capacity", 2048.0 + 256.0),
        ("spool_enabled", 0.0),
        ("spool_limit_bytes", 0.0),
    ] {
        assert_eq!(scrape.get(&format!("ticket_webhooks_{name}"), &[]), value, "{name}");
    }
    assert_eq!(scrape.get("ticket_webhooks_build_info", &[("version", env!("CARGO_PKG_VERSION"))]), 1.0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let started = scrape.get("ticket_webhooks_start_time_seconds", &[]);
    assert!((now - 600.0..=now).contains(&started), "{started}");
    assert!(scrape.get("process_resident_memory_bytes", &[]) > 1_000_000.0);
    assert!(scrape.get("process_open_fds", &[]) < scrape.get("process_max_fds", &[]));
}

#[tokio::test]
async fn a_scrape_needs_no_token_and_is_not_public() {
    let database = Database::new().await;
    let service = Service::start(&database, &[("TICKET_WEBHOOKS__ADMIN__TOKEN", "admin-token-5c1")]).await;
    Scrape::of(&service).await;
    assert_eq!(service.request("GET", "/metrics").send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn deliveries_are_counted_by_environment_and_outcome() {
    let database = Database::new().await;
    let service = Service::start(
        &database,
        &[
            ("TICKET_WEBHOOKS__PROVIDERS__ORDER_TICKETED__UNKNOWN_BOOKING", "reject"),
            ("TICKET_WEBHOOKS__SERVER__BODY_READ_TIMEOUT_MS", "400"),
        ],
    )
    .await;
    database.execute("alter table ticket_events add constraint c check (booking_ref <> 'REFUSED')").await;
    let (callback, status_update, order) =
        (provider("booking_callback"), provider("ticket_status_update"), provider("order_ticketed"));
    for _ in 0..2 {
        assert_eq!(post(&service, delivery("main", "Success", "B1")).await, 200);
    }
    assert_eq!(post(&service, delivery("other", "Success", "B1")).await, 200);
    assert_eq!(post(&service, delivery("main", "Success", "REFUSED")).await, 200);
    assert_eq!(post(&service, delivery("main", "No such status", "B1")).await, 422);
    assert_eq!(service.post(order, (order.delivery)("main", "B1").to_string()).await.status, 404);
    let mut other_type = (order.delivery)("main", "B1");
    other_type["type"] = json!("order.void");
    assert_eq!(service.post(order, other_type.to_string()).await.status, 200);
    assert_eq!(service.post(status_update, "{").await.status, 422);
    let without_ticket = json!({"BookingTransactionRef": "B1", "TicketInfoes": []});
    assert_eq!(service.post(status_update, without_ticket.to_string()).await.status, 422);
    assert_eq!(post(&service, "{").await, 400);
    assert_eq!(post(&service, "{}").await, 401);
    assert_eq!(post(&service, " ".repeat(300_000)).await, 413);
    let compressed = service.request("POST", order.path).header("content-encoding", "br").body("{}");
    assert_eq!(compressed.send().await.unwrap().status(), 415);
    assert_eq!(service.request("GET", callback.path).send().await.unwrap().status(), 405);
    let mut late = Wire::to(&service);
    late.send(format!("POST {} HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n", callback.path).as_bytes());
    let (head, _) = spawn_blocking(move || late.answer()).await.unwrap();
    assert!(head.starts_with("http/1.1 408"), "{head}");

    let scrape = Scrape::of(&service).await;
    let mut counted = BTreeSet::new();
    for series in scrape.series.iter().filter(|series| series.name == DELIVERIES && series.value > 0.0) {
        let label = |name: &str| series.labels[name].clone();
        counted.insert(format!("{} {} {} {}", label("provider"), label("environment"), label("outcome"), series.value));
    }
    let expected = [
        "booking_callback live duplicate 1",
        "booking_callback live recorded 1",
        "booking_callback live refused 1",
        "booking_callback live unprocessed 1",
        "booking_callback none malformed 1",
        "booking_callback none timed_out 1",
        "booking_callback none too_large 1",
        "booking_callback none unauthenticated 1",
        "booking_callback test recorded 1",
        "order_ticketed live unknown_booking 1",
        "order_ticketed live unprocessed 1",
        "order_ticketed none unsupported_encoding 1",
        "ticket_status_update live unprocessed 2",
    ];
    assert_eq!(counted.iter().map(String::as_str).collect::<Vec<_>>(), expected);

    for (provider, reason) in [
        ("booking_callback", "invalid"),
        ("booking_callback", "refused"),
        ("order_ticketed", "unknown_booking"),
        ("order_ticketed", "unsupported_type"),
        ("ticket_status_update", "malformed"),
        ("ticket_status_update", "no_ticket"),
    ] {
        let labels = [("provider", provider), ("reason", reason)];
        assert_eq!(scrape.get("ticket_webhooks_unprocessed_total", &labels), 1.0, "{labels:?}");
    }
    assert_eq!(scrape.get("ticket_webhooks_unprocessed_total", &[]), 6.0);
    assert_eq!(scrape.get("ticket_webhooks_revisions_total", &[("provider", "booking_callback")]), 2.0);
    assert_eq!(scrape.get("ticket_webhooks_revisions_total", &[]), 2.0);
    let failures = |provider| scrape.get("ticket_webhooks_authentication_failures_total", &[("provider", provider)]);
    // a body that is not JSON and has no credentials is one too
    assert_eq!((failures("booking_callback"), failures("order_ticketed")), (2.0, 1.0));
}

#[tokio::test]
async fn every_phase_is_measured_and_every_batch() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let before = Scrape::of(&service).await;
    for booking in ["B1", "B2", "B3"] {
        assert_eq!(post(&service, delivery("main", "Success", booking)).await, 200);
    }
    assert_eq!(post(&service, "{}").await, 401);
    let scrape = Scrape::of(&service).await;
    for phase in ["authenticate", "normalize", "queue", "write", "total"] {
        let value = |scrape: &Scrape, part: &str| {
            scrape.get(&format!("ticket_webhooks_phase_duration_seconds_{part}"), &[("phase", phase)])
        };
        assert_eq!((value(&before, "count"), value(&scrape, "count")), (0.0, 3.0), "{phase}");
        assert!((0.0..20.0).contains(&value(&scrape, "sum")), "{phase}");
    }
    let sum = |phase| scrape.get("ticket_webhooks_phase_duration_seconds_sum", &[("phase", phase)]);
    let parts = sum("authenticate") + sum("normalize") + sum("queue") + sum("write");
    assert!(parts > 0.0 && parts < sum("total"), "{parts} {}", sum("total"));
    let bounds = scrape.series.iter().filter(|series| series.name == "ticket_webhooks_phase_duration_seconds_bucket");
    let bounds: Vec<f64> = bounds.map(|series| series.labels["le"].parse().unwrap()).collect();
    assert!([0.000_05, 10.0, f64::INFINITY].iter().all(|bound| bounds.contains(bound)), "{bounds:?}");
    assert_eq!(scrape.get("ticket_webhooks_batch_size_sum", &[]), 3.0);
    assert_eq!(scrape.get("ticket_webhooks_batch_size_count", &[]), 3.0);
}

#[tokio::test]
async fn any_change_of_a_final_status_is_a_conflict() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let conflicts = async || {
        let scrape = Scrape::of(&service).await;
        scrape.get("ticket_webhooks_conflicts_total", &[("provider", "booking_callback")])
    };
    for (status, expected) in [
        ("Pending", 0.0),
        ("Success", 0.0),
        ("Success", 0.0),
        ("Failed", 1.0),
        ("Failed", 1.0),
        ("Aborted", 2.0),
        ("Pending", 3.0),
        ("Failed", 3.0),
        ("Success", 4.0),
    ] {
        assert_eq!(post(&service, delivery("main", status, "B1")).await, 200);
        assert_eq!(conflicts().await, expected, "after {status}");
    }
    // a booking of another environment is another booking
    assert_eq!(post(&service, delivery("other", "Failed", "B1")).await, 200);
    // a revision with the same status is none
    let mut more = delivery("main", "Success", "B1");
    more["Remark"] = json!("another remark");
    assert_eq!(post(&service, more).await, 200);
    assert_eq!(conflicts().await, 4.0);
    assert_eq!(Scrape::of(&service).await.get("ticket_webhooks_conflicts_total", &[]), 4.0);
}

#[tokio::test]
async fn warnings_are_counted_once() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let mut delivery = delivery("main", "Success", "B1");
    for member in ["GdsPNR", "TraceId"] {
        delivery[member] = json!([]);
    }
    for _ in 0..2 {
        assert_eq!(post(&service, &delivery).await, 200);
    }
    let recorded = database.events().await[0]["warnings"].as_array().unwrap().len();
    assert!(recorded >= 2);
    let scrape = Scrape::of(&service).await;
    assert_eq!(scrape.get("ticket_webhooks_warnings_total", &[("provider", "booking_callback")]), recorded as f64);
}

#[tokio::test]
async fn silence_is_counted_by_provider_and_ends_with_an_authenticated_delivery() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let ages = |scrape: &Scrape| {
        let age = |provider| scrape.get("ticket_webhooks_last_delivery_age_seconds", &[("provider", provider)]);
        (age("booking_callback"), age("order_ticketed"))
    };
    let silent = Scrape::until(&service, |scrape| ages(scrape).0 > 0.3).await;
    assert_eq!(post(&service, "{}").await, 401);
    let still = Scrape::of(&service).await;
    assert!(ages(&still).0 > ages(&silent).0, "nobody knows who that was");
    assert_eq!(post(&service, delivery("main", "No such status", "B1")).await, 422);
    let scrape = Scrape::of(&service).await;
    let (spoken, silent) = ages(&scrape);
    assert!(silent >= spoken + 0.3, "{spoken} {silent}");
}

#[tokio::test]
async fn no_label_comes_from_what_was_sent() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let before = Scrape::of(&service).await;
    for provider in &PROVIDERS {
        for account in ["main", "other"] {
            service.post(provider, (provider.delivery)(account, "BOOKING-77").to_string()).await;
        }
        service.post(provider, "{\"BookingId\":").await;
        let request = service.request("POST", &format!("{}/stranger-77", provider.path));
        let sent = request.header("x-request-id", "request-77").header("user-agent", "agent-77").body("{}").send();
        assert_eq!(sent.await.unwrap().status(), 404);
    }
    assert_eq!(service.request("STRANGE77", PROVIDERS[0].path).send().await.unwrap().status(), 405);
    let mut other_type = (provider("order_ticketed").delivery)("main", "B1");
    other_type["type"] = json!("type-77");
    service.post(provider("order_ticketed"), other_type.to_string()).await;
    let after = Scrape::of(&service).await;
    let labels = |scrape: &Scrape| {
        let named = |series: &Series| format!("{} {:?}", series.name, series.labels);
        // the service's own positions appear when there is something to read
        let series = scrape.series.iter().filter(|series| !series.name.starts_with("ticket_webhooks_consumer_lag"));
        series.map(named).collect::<BTreeSet<_>>()
    };
    let (before, after) = (labels(&before), labels(&after));
    assert_eq!(before, after, "a series was made by a delivery");
    assert!(!after.iter().any(|series| series.contains("77")));
}

#[tokio::test]
async fn only_a_provider_that_is_routed_can_be_silent() {
    let database = Database::new().await;
    let mut settings = settings(&database.url());
    settings.retain(|(name, _)| !name.contains("ORDER_TICKETED"));
    let start = spawn_blocking(move || Service::over(Command::new(&["serve"]).envs(&settings).start()));
    let scrape = Scrape::of(&start.await.unwrap()).await;
    let silent = scrape.series.iter().filter(|series| series.name == "ticket_webhooks_last_delivery_age_seconds");
    let silent: Vec<_> = silent.map(|series| series.labels["provider"].as_str()).collect();
    assert_eq!(silent.len(), 2, "{silent:?}");
    assert!(!silent.contains(&"order_ticketed"));
}

#[tokio::test]
async fn deliveries_in_flight_show_in_queue_memory_and_connections() {
    let database = Database::new().await;
    let variables = [("TICKET_WEBHOOKS__DATABASE__WRITE_TIMEOUT_MS", "20000")];
    let service = Service::start(&database, &variables).await;
    let value = |scrape: &Scrape, name: &str| scrape.get(&format!("ticket_webhooks_{name}"), &[]);
    let used = |scrape: &Scrape| scrape.get("ticket_webhooks_database_connections", &[("state", "used")]);
    let idle = Scrape::of(&service).await;
    let names = ["queue_deliveries", "queue_memory_bytes", "connections"];
    assert_eq!(names.map(|name| value(&idle, name)), [0.0; 3]);

    let mut lock = database.pool.begin().await.unwrap();
    sqlx::query("lock table ticket_events in exclusive mode").execute(&mut *lock).await.unwrap();
    // the committers take two batches of one, which the lock holds up; the rest waits
    let mut waiting = Vec::new();
    for n in 0..5 {
        let mut wire = Wire::to(&service);
        let body = delivery("main", "Success", &format!("B{n}")).to_string();
        let path = provider("booking_callback").path;
        wire.send(
            format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len()).as_bytes(),
        );
        waiting.push(wire);
        Scrape::until(&service, |scrape| value(scrape, "queue_memory_bytes") >= 1024.0 * f64::from(n + 1)).await;
    }
    let full = Scrape::until(&service, |scrape| value(scrape, "queue_deliveries") > 0.0).await;
    assert_eq!(value(&full, "connections"), 5.0);
    assert!(used(&full) >= 2.0);
    lock.rollback().await.unwrap();
    for mut wire in waiting {
        let (head, _) = spawn_blocking(move || wire.answer()).await.unwrap();
        assert!(head.starts_with("http/1.1 200"), "{head}");
    }
    let is_over = |scrape: &Scrape| names.iter().all(|name| value(scrape, name) == 0.0) && used(scrape) == 0.0;
    let over = Scrape::until(&service, is_over).await;
    assert!(over.get("ticket_webhooks_database_connections", &[("state", "idle")]) >= 2.0);
}
