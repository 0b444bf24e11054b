//! Several processes at once, a process that is killed, and bookings that are announced meanwhile.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection};
use tokio::{task::spawn_blocking, time::sleep};

use super::{Kept, events, id, payload, reprocess, reprocess_all, rows, says, summary};
use crate::support::{ApiClient, Command, Database, Scrape, Service, provider, settings};

const REJECT: &str = "TICKET_WEBHOOKS__PROVIDERS__BOOKING_CALLBACK__UNKNOWN_BOOKING";

/// Waits until the query gives a row.
async fn until(database: &Database, query: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while database.rows(query).await.is_empty() {
        assert!(Instant::now() < deadline, "never: {query}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn several_processes_at_once_record_and_count_each_delivery_once() {
    let database = Database::new().await;
    let (first, api) = ApiClient::start(&database, &[]).await;
    let (_second, another) = ApiClient::start(&database, &[]).await;
    let (_third, third) = ApiClient::start(&database, &[]).await;
    let callback = provider("booking_callback");
    for booking in 0..10 {
        let body = (callback.delivery)("main", &format!("B{booking}")).to_string();
        assert_eq!(first.post(callback, body).await.status, 200);
    }
    // of each booking, by turns: a new revision, and a repetition of what was recorded directly
    for number in 0..120 {
        let booking = format!("B{}", number % 10);
        let body = match number / 10 % 2 {
            0 => says("Pending", &booking, &format!("change {number}")),
            _ => format!("{}{}", payload("booking_callback", &booking), " ".repeat(number as usize)),
        };
        Kept { count: 2, ..Kept::new("booking_callback", "invalid", body) }.store(&database, number + 1).await;
    }
    let all = async |api: &ApiClient| {
        let answer = api.post("/v1/unprocessed/reprocess?limit=500", Value::Null).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body["reprocessed"].as_array().unwrap().iter().filter(|one| one["outcome"] == "recorded").count()
    };
    let (a, b, c, (code, output)) = tokio::join!(all(&api), all(&another), all(&third), reprocess(&database, &[], &[]));
    assert_eq!(code, 0, "{output}");
    let by_command = output.lines().filter(|line| line.contains(": revision ")).count();
    assert_eq!(a + b + c + by_command, 60, "{a} {b} {c} {output}");
    let counts = "select count(*) as events, count(distinct (booking_ref, revision)) as revisions, \
                  sum(delivery_count) as deliveries, max(revision) as newest from ticket_events";
    let expected = json!({"events": 70, "revisions": 70, "deliveries": 10 + 240, "newest": 7});
    assert_eq!(database.rows(counts).await, [expected]);
    let unlinked = "select from unprocessed_deliveries where event_id is null or reprocessed_at is null";
    assert_eq!(database.rows(unlinked).await.len(), 0);
    // the order of the feed is that of the revisions
    let disorder = "select from (select revision, lag(revision) over (partition by booking_ref order by generation, \
                    recorded_xid, sequence) as before from ticket_events) as fed where revision <> before + 1";
    assert_eq!(database.rows(disorder).await.len(), 0);
}

#[tokio::test]
async fn a_process_that_is_killed_between_recording_and_linking_leaves_neither() {
    let database = Database::new().await;
    Kept { count: 2, ..Kept::new("booking_callback", "invalid", says("Pending", "B1", "")) }.store(&database, 1).await;
    let mut lock = PgConnection::connect_with(&database.connect_options()).await.unwrap();
    lock.execute("begin; lock table unprocessed_deliveries in share mode").await.unwrap();
    let command = Command::new(&["reprocess"]).envs(&settings(&database.url()));
    let mut process = spawn_blocking(move || command.start()).await.unwrap();
    let waiting = "select pid from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' \
                   and query like '%update unprocessed_deliveries%'";
    until(&database, waiting).await;
    process.signal("KILL");
    spawn_blocking(move || process.wait()).await.unwrap();
    lock.execute("rollback").await.unwrap();
    let gone = "select where not exists (select from pg_stat_activity where datname = current_database() \
                and query like '%update unprocessed_deliveries%' and pid <> pg_backend_pid() and state <> 'idle')";
    until(&database, gone).await;
    assert_eq!((events(&database).await.len(), &rows(&database).await[0]["done"]), (0, &json!(false)));
    reprocess_all(&database, &summary(1, 0, 0)).await;
    let recorded = events(&database).await;
    assert_eq!((recorded.len(), &recorded[0]["delivery_count"]), (1, &json!(2)));

    // an event without the link, as a database that was repaired by hand may have it
    database.execute("update unprocessed_deliveries set reprocessed_at = null, event_id = null").await;
    reprocess_all(&database, &summary(1, 0, 0)).await;
    assert_eq!(events(&database).await, recorded);
    assert_eq!(rows(&database).await[0]["event_id"], id(1));
}

#[tokio::test]
async fn an_unknown_booking_that_is_announced_in_sql_is_processed_by_itself() {
    let database = Database::new().await;
    let services = [
        Service::start(&database, &[(REJECT, "reject")]).await,
        Service::start(&database, &[(REJECT, "reject")]).await,
    ];
    let callback = provider("booking_callback");
    for (booking, times) in [("B1", 3), ("B2", 1)] {
        for _ in 0..times {
            let answer = services[0].post(callback, (callback.delivery)("main", booking).to_string()).await;
            assert_eq!(answer.status, 404);
        }
    }
    // a delivery of the test account is about another booking
    assert_eq!(services[0].post(callback, (callback.delivery)("other", "B1").to_string()).await.status, 404);
    let known = "select booking_ref, environment from unprocessed_deliveries order by id";
    let refs: Vec<_> = database.rows(known).await.iter().map(|row| row["booking_ref"].clone()).collect();
    assert_eq!(refs, ["B1", "B2", "B1"]);
    database
        .execute("insert into bookings (provider, environment, booking_ref) values ('booking_callback', 'live', 'B1')")
        .await;
    until(&database, "select from unprocessed_deliveries where reprocessed_at is not null").await;
    let recorded = events(&database).await;
    assert_eq!((recorded.len(), &recorded[0]["booking_ref"]), (1, &json!("B1")));
    assert_eq!((&recorded[0]["delivery_count"], &recorded[0]["late"]), (&json!(3), &json!(false)));
    let done: Vec<_> = rows(&database).await.iter().map(|row| row["done"].clone()).collect();
    assert_eq!(done, [true, false, false]);
    // a repetition that comes directly now is one
    let body = (callback.delivery)("main", "B1").to_string();
    assert_eq!(services[1].post(callback, body).await.status, 200);
    assert_eq!(events(&database).await[0]["delivery_count"], 4);
    let waiting = [("reason", "unknown_booking")];
    let scrape =
        Scrape::until(&services[1], |scrape| scrape.get("ticket_webhooks_unprocessed_waiting", &waiting) == 2.0).await;
    let by_this = scrape.get("ticket_webhooks_reprocessed_total", &[("outcome", "recorded")]);
    let other = Scrape::of(&services[0]).await.get("ticket_webhooks_reprocessed_total", &[("outcome", "recorded")]);
    assert_eq!(by_this + other, 1.0);
    let [one, two] = services;
    let log = one.stop().await + &two.stop().await;
    let line = log.lines().find(|line| line.contains("delivery reprocessed")).unwrap();
    assert!(line.contains("\"outcome\":\"recorded\"") && !line.contains("Mehta"), "{line}");
}

#[tokio::test]
async fn what_was_spooled_before_is_known_by_its_booking_too() {
    let (database, spool) = (Database::new().await, tempfile::TempDir::new().unwrap());
    let directory = spool.path().display().to_string();
    let variables = [(REJECT, "reject"), ("TICKET_WEBHOOKS__SPOOL__DIRECTORY", &directory)];
    let service = Service::start(&database, &variables).await;
    database.execute("alter table ticket_events rename to elsewhere").await;
    let callback = provider("booking_callback");
    assert_eq!(service.post(callback, (callback.delivery)("main", "B1").to_string()).await.status, 200);
    database.execute("alter table elsewhere rename to ticket_events").await;
    until(&database, "select from unprocessed_deliveries where booking_ref = 'B1'").await;
    database
        .execute("insert into bookings (provider, environment, booking_ref) values ('booking_callback', 'live', 'B1')")
        .await;
    until(&database, "select from unprocessed_deliveries where event_id = id and reprocessed_at is not null").await;
    assert_eq!(events(&database).await.len(), 1);
}
