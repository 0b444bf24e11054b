//! The spool by itself: what it must survive, and what it must not do.

mod commands;
mod damage;
mod full_disk;
mod gone;

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use serde_json::json;
use tempfile::TempDir;
use tokio::task::spawn_blocking;

use crate::support::{Answer, Command, Database, Process, Server, Service, provider, settings};

const NOWHERE: &str = "postgres://nobody@127.0.0.1:1/nothing";

/// For a service that reaches no Postgres: it waits this long whenever it writes, also at its stop.
const NOWHERE_WRITE_TIMEOUT_MS: &str = "200";

fn command(url: &str, spool: &Path, variables: &[(&str, &str)]) -> Command {
    let mut settings = settings(url);
    settings.push(("TICKET_WEBHOOKS__SPOOL__DIRECTORY".to_owned(), spool.display().to_string()));
    if url == NOWHERE {
        settings.push(("TICKET_WEBHOOKS__DATABASE__WRITE_TIMEOUT_MS".to_owned(), NOWHERE_WRITE_TIMEOUT_MS.to_owned()));
    }
    settings.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    Command::new(&["serve"]).envs(&settings)
}

async fn start(url: &str, spool: &Path, variables: &[(&str, &str)]) -> Service {
    let command = command(url, spool, variables);
    spawn_blocking(move || Service::over(command.start())).await.unwrap()
}

async fn post(service: &Service, booking: &str) -> Answer {
    let provider = provider("order_ticketed");
    service.post(provider, (provider.delivery)("main", booking).to_string()).await
}

async fn wait(process: Process, line: &'static str) -> Process {
    spawn_blocking(move || {
        process.line(line);
        process
    })
    .await
    .unwrap()
}

async fn bookings(database: &Database) -> Vec<serde_json::Value> {
    database.rows("select booking_ref as b, revision as r, delivery_count as d from ticket_events order by 1").await
}

#[tokio::test]
async fn nobody_else_may_read_it_also_where_others_could_before() {
    let parent = TempDir::new().unwrap();
    let spool = parent.path().join("spool");
    let file = spool.join("deliveries.redb");
    let modes = || [&spool, &file].map(|path| fs::metadata(path).unwrap().permissions().mode() & 0o777);
    let service = start(NOWHERE, &spool, &[]).await;
    assert_eq!(post(&service, "B1").await.status, 200);
    assert_eq!(modes(), [0o700, 0o600]);
    assert!(!service.stop().await.contains("others could read the spool"));
    for (path, mode) in [(&spool, 0o755), (&file, 0o644)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let service = start(NOWHERE, &spool, &[]).await;
    assert_eq!(modes(), [0o700, 0o600]);
    assert_eq!(service.stop().await.matches("others could read the spool").count(), 2);
}

#[tokio::test]
async fn a_service_starts_and_receives_without_postgres_and_keeps_it_through_a_kill() {
    let spool = TempDir::new().unwrap();
    let mut service = start(NOWHERE, spool.path(), &[]).await;
    assert_eq!(Answer::of(service.request("GET", "/readyz")).await.status, 200);
    for booking in ["B1", "B2", "B1"] {
        assert_eq!(post(&service, booking).await.status, 200);
    }
    let kinds = [provider("ticket_status_update"), provider("order_ticketed")];
    assert_eq!(service.post(kinds[0], "no json").await.status, 422);
    let mut other_type = (kinds[1].delivery)("main", "B3");
    other_type["type"] = json!("order.void");
    assert_eq!(service.post(kinds[1], other_type.to_string()).await.status, 200);
    service.process.signal("KILL");
    spawn_blocking(move || service.process.wait()).await.unwrap();

    // the tables come with the database
    let database = Database::empty().await;
    let service = start(&database.url(), spool.path(), &[]).await;
    let process = wait(service.process, "the spool is empty again").await;
    assert_eq!(bookings(&database).await, [json!({"b": "B1", "r": 1, "d": 2}), json!({"b": "B2", "r": 1, "d": 1})]);
    let reasons = database.rows("select reason, provider from unprocessed_deliveries order by id").await;
    assert_eq!(
        reasons,
        [
            json!({"reason": "malformed", "provider": "ticket_status_update"}),
            json!({"reason": "unsupported_type", "provider": "order_ticketed"})
        ]
    );
    drop(process);
}

#[tokio::test]
async fn a_spooled_delivery_of_an_unknown_booking_is_kept_unprocessed_when_it_is_drained() {
    let (database, spool) = (Database::new().await, TempDir::new().unwrap());
    let reject = [("TICKET_WEBHOOKS__PROVIDERS__ORDER_TICKETED__UNKNOWN_BOOKING", "reject")];
    let service = start(NOWHERE, spool.path(), &reject).await;
    for booking in ["KNOWN", "UNKNOWN"] {
        assert_eq!(post(&service, booking).await.status, 200, "it is decided later");
    }
    service.stop().await;
    database.execute("insert into bookings values ('order_ticketed', 'live', 'KNOWN')").await;
    let service = start(&database.url(), spool.path(), &reject).await;
    let process = wait(service.process, "the spool is empty again").await;
    assert_eq!(bookings(&database).await, [json!({"b": "KNOWN", "r": 1, "d": 1})]);
    let kept = database.unprocessed().await;
    assert_eq!((kept.len(), &kept[0]["reason"]), (1, &json!("unknown_booking")));
    drop(process);
}

#[tokio::test]
async fn without_a_spool_a_service_waits_for_postgres_not_ready_and_says_why() {
    let mut server = Server::start(false).await;
    server.signal("QUIT");
    server.gone().await;
    let command = Command::new(&["serve"]).envs(&settings(server.url()));
    let service = spawn_blocking(move || Service::over(command.start())).await.unwrap();
    let ready = Answer::of(service.request("GET", "/readyz")).await;
    assert_eq!((ready.status, ready.body["reason"].as_str().unwrap().contains("has not answered yet")), (503, true));
    let refused = post(&service, "B1").await;
    assert_eq!((refused.status, refused.headers.contains_key("retry-after")), (503, true));
    assert!(service.process.output().contains("there is no spool"));
    server.start_again().await;
    while Answer::of(service.request("GET", "/readyz")).await.status != 200 {
        tokio::task::yield_now().await;
    }
    assert_eq!(post(&service, "B1").await.status, 200);
}

#[tokio::test]
async fn a_full_spool_refuses_and_goes_on_when_it_is_drained() {
    let spool = TempDir::new().unwrap();
    let mut server = Server::start(true).await;
    server.signal("QUIT");
    server.gone().await;
    let limit = [("TICKET_WEBHOOKS__SPOOL__MAX_BYTES", "3000")];
    let service = start(server.url(), spool.path(), &limit).await;
    let mut accepted = 0;
    let refused = loop {
        let answer = post(&service, &format!("B{accepted}")).await;
        if answer.status != 200 {
            break answer;
        }
        accepted += 1;
        assert!(accepted < 20, "it never fills");
    };
    assert_eq!((refused.status, refused.headers.contains_key("retry-after")), (503, true));
    let ready = Answer::of(service.request("GET", "/readyz")).await;
    assert_eq!((ready.status, ready.body["reason"].as_str()), (503, Some("the spool is full, or its disk fails")));
    server.start_again().await;
    let process = wait(service.process, "the spool is empty again").await;
    let count: i64 = sqlx::query_scalar("select count(*) from ticket_events").fetch_one(&server.pool()).await.unwrap();
    assert_eq!(count, accepted);
    drop(process);
}

#[tokio::test]
async fn a_damaged_spool_is_set_aside_and_a_new_one_begun() {
    let spool = TempDir::new().unwrap();
    for damage in ["overwritten in the middle", "cut short", "something else"] {
        let service = start(NOWHERE, spool.path(), &[]).await;
        for n in 0..50 {
            assert_eq!(post(&service, &format!("B{n}")).await.status, 200);
        }
        service.stop().await;
        let file = spool.path().join("deliveries.redb");
        let mut bytes = fs::read(&file).unwrap();
        match damage {
            "overwritten in the middle" => bytes[4096..150_000].fill(0xa5),
            "cut short" => bytes.truncate(10_000),
            _ => bytes = b"this is no spool".to_vec(),
        }
        fs::write(&file, &bytes).unwrap();

        let service = start(NOWHERE, spool.path(), &[]).await;
        assert!(service.process.output().contains("is set aside"), "{damage}: {}", service.process.output());
        assert_eq!(post(&service, "B1").await.status, 200);
        service.stop().await;
        let aside = fs::read_dir(spool.path()).unwrap().map(|entry| entry.unwrap().path());
        let aside: Vec<_> = aside.filter(|path| path.display().to_string().contains("damaged")).collect();
        assert_eq!((aside.len(), fs::read(&aside[0]).unwrap() == bytes), (1, true), "{damage}");
        fs::remove_file(&aside[0]).unwrap();
        fs::remove_file(file).unwrap();
    }
}

#[tokio::test]
async fn a_directory_serves_one_process_and_one_that_cannot_be_used_is_named() {
    let spool = TempDir::new().unwrap();
    let service = start(NOWHERE, spool.path(), &[]).await;
    let second = command(NOWHERE, spool.path(), &[]);
    let (code, _, errors) = spawn_blocking(move || second.run()).await.unwrap();
    assert_eq!((code, errors.contains("in use by another process")), (1, true), "{errors}");
    assert_eq!(post(&service, "B1").await.status, 200);
    let no_directory = command(NOWHERE, Path::new("/dev/null/spool"), &[]);
    let (code, _, errors) = spawn_blocking(move || no_directory.run()).await.unwrap();
    assert_eq!((code, errors.contains("spool.directory: /dev/null/spool cannot be used")), (1, true), "{errors}");
}

#[tokio::test]
async fn no_credential_is_in_the_file() {
    let spool = TempDir::new().unwrap();
    let service = start(NOWHERE, spool.path(), &[]).await;
    for name in ["ticket_status_update", "booking_callback", "order_ticketed"] {
        let provider = provider(name);
        assert_eq!(service.post(provider, (provider.delivery)("main", "B1").to_string()).await.status, 200);
    }
    service.stop().await;
    let file = fs::read(spool.path().join("deliveries.redb")).unwrap();
    let text = String::from_utf8_lossy(&file);
    assert!(text.contains("BookingId"), "the deliveries are in it");
    for secret in ["tsu-Key_7f3a9c", "Pa\\\"ss", "agency-api", "AG_TEST_cid_90c4e1"] {
        assert!(!text.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn what_others_have_overtaken_is_late_and_never_the_state() {
    let spool = TempDir::new().unwrap();
    let database = Database::new().await;
    let provider = provider("booking_callback");
    let says = |status: &str| {
        let mut delivery = (provider.delivery)("main", "B1");
        delivery["Status"] = json!(status);
        delivery.to_string()
    };
    let other = Service::start(&database, &[]).await;
    other.post(provider, says("Pending")).await;
    // this replica is cut off: what it receives here waits
    let cut_off = start(NOWHERE, spool.path(), &[]).await;
    for status in ["Aborted", "Failed"] {
        assert_eq!(cut_off.post(provider, says(status)).await.status, 200);
    }
    cut_off.stop().await;
    // the other goes on
    other.post(provider, says("Success")).await;
    let back = start(&database.url(), spool.path(), &[]).await;
    let process = wait(back.process, "the spool is empty again").await;
    // the same as the state: a duplicate, whatever was recorded late in between
    other.post(provider, says("Success")).await;
    other.post(provider, says("Failed")).await;
    let query = "select revision, status, previous_status as before, late, delivery_count as deliveries \
                 from ticket_events order by revision";
    let row = |revision: i32, status: &str, before: Option<&str>, late: bool, deliveries: i32| json!({"revision": revision, "status": status, "before": before, "late": late, "deliveries": deliveries});
    assert_eq!(
        database.rows(query).await,
        [
            row(1, "pending", None, false, 1),
            row(2, "ticketed", Some("pending"), false, 2),
            row(3, "aborted", Some("pending"), true, 1),
            row(4, "failed", Some("aborted"), true, 1),
            row(5, "failed", Some("ticketed"), false, 1),
        ]
    );
    drop(process);
}

#[tokio::test]
async fn postgres_is_asked_a_few_times_a_second_whoever_asks_how_often() {
    let database = Database::new().await;
    let service = Service::start(&database, &[("RUST_LOG", "info,sqlx::query=debug")]).await;
    let began = std::time::Instant::now();
    for _ in 0..300 {
        assert_eq!(Answer::of(service.request("GET", "/readyz")).await.status, 200);
    }
    let seconds = began.elapsed().as_secs_f64();
    let asked = service.stop().await.matches("transaction_read_only").count();
    // a line names the statement twice
    assert!(asked > 0 && (asked as f64) <= 4.0 + 8.0 * seconds, "{asked} in {seconds} s");
}
