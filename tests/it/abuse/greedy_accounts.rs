//! Accounts that want too much: a test account's load is in no live delivery's way, and one booking's is in nobody's.

use std::sync::Arc;

use serde_json::json;
use sqlx::Executor;
use tempfile::TempDir;
use tokio::task::{JoinSet, spawn_blocking};

use crate::support::{Command, Database, Scrape, Service, provider, settings};

const NOWHERE: &str = "postgres://nobody@127.0.0.1:1/nothing";

fn delivery(account: &str, booking: &str, remark: &str) -> String {
    let mut delivery = (provider("booking_callback").delivery)(account, booking);
    delivery["Remark"] = json!(remark);
    delivery.to_string()
}

/// The statuses of the answers, in time.
fn post_all(service: &Arc<Service>, bodies: impl Iterator<Item = String>) -> JoinSet<u16> {
    let mut posts = JoinSet::new();
    for body in bodies {
        let service = Arc::clone(service);
        posts.spawn(async move { service.post(provider("booking_callback"), body).await.status });
    }
    posts
}

async fn start(url: &str, spool: &TempDir, max_bytes: &str) -> Service {
    let mut settings = settings(url);
    settings.push(("TICKET_WEBHOOKS__SPOOL__DIRECTORY".to_owned(), spool.path().display().to_string()));
    settings.push(("TICKET_WEBHOOKS__SPOOL__MAX_BYTES".to_owned(), max_bytes.to_owned()));
    let command = Command::new(&["serve"]).envs(&settings);
    spawn_blocking(move || Service::over(command.start())).await.unwrap()
}

#[tokio::test]
async fn where_a_test_account_fills_its_queue_live_deliveries_still_wait_in_theirs() {
    let database = Database::new().await;
    let variables = [("TICKET_WEBHOOKS__DATABASE__WRITE_TIMEOUT_MS", "60000")];
    let service = Arc::new(Service::start(&database, &variables).await);
    let mut lock = database.pool.begin().await.unwrap();
    lock.execute("lock table ticket_events in exclusive mode").await.unwrap();
    // more than its queue and a batch take, on fewer connections than an address may have
    let large = "x".repeat(200_000);
    let tests = post_all(&service, (0..120).map(|n| delivery("other", &format!("T{n}"), &large)));
    let refused = |scrape: &Scrape| scrape.get("ticket_webhooks_deliveries_total", &[("outcome", "not_durable")]);
    Scrape::until(&service, |scrape| refused(scrape) > 0.0).await;
    let lives = post_all(&service, (0..50).map(|n| delivery("main", &format!("L{n}"), &large)));
    let waits = |scrape: &Scrape| {
        scrape.get("ticket_webhooks_queue_memory_bytes", &[("environment", "live")]) > 50.0 * large.len() as f64
    };
    Scrape::until(&service, waits).await;
    lock.rollback().await.unwrap();
    assert!(lives.join_all().await.iter().all(|status| *status == 200));
    let tests = tests.join_all().await;
    assert!(tests.contains(&503) && tests.contains(&200), "{tests:?}");
}

#[tokio::test]
async fn where_a_test_account_fills_its_part_of_the_spool_live_deliveries_have_theirs_and_go_first() {
    let (database, spool) = (Database::new().await, TempDir::new().unwrap());
    let service = start(NOWHERE, &spool, "400000").await;
    let callbacks = provider("booking_callback");
    let mut taken = 0;
    while service.post(callbacks, delivery("other", &format!("T{taken}"), "")).await.status == 200 {
        taken += 1;
    }
    assert!((20..300).contains(&taken), "{taken}");
    for n in 0..50 {
        assert_eq!(service.post(callbacks, delivery("main", &format!("L{n}"), "")).await.status, 200);
    }
    assert_eq!(service.request("GET", "/readyz").send().await.unwrap().status(), 200);
    service.stop().await;
    let service = start(&database.url(), &spool, "400000").await;
    Scrape::until(&service, |scrape| scrape.get("ticket_webhooks_spool_records", &[]) == 0.0).await;
    let query = "select environment, count(*) as n from ticket_events group by 1 order by 1";
    let row = |environment: &str, n: u32| json!({"environment": environment, "n": n});
    assert_eq!(database.rows(query).await, [row("live", 50), row("test", taken)]);
    let query = "select max(sequence) filter (where environment = 'live') \
                 < min(sequence) filter (where environment = 'test') as is_first from ticket_events";
    assert_eq!(database.rows(query).await, [json!({"is_first": true})]);
}

#[tokio::test]
async fn of_one_booking_a_batch_takes_few_changes_and_any_number_of_repetitions() {
    let database = Database::new().await;
    let variables = [("TICKET_WEBHOOKS__DATABASE__WRITE_TIMEOUT_MS", "60000")];
    let service = Arc::new(Service::start(&database, &variables).await);
    let mut lock = database.pool.begin().await.unwrap();
    lock.execute("lock table ticket_events in exclusive mode").await.unwrap();
    let hot = post_all(&service, (0..100).map(|n| delivery("main", "HOT", &n.to_string())));
    let same = post_all(&service, (0..60).map(|_| delivery("main", "SAME", "")));
    let others = post_all(&service, (0..20).map(|n| delivery("main", &format!("B{n}"), "")));
    let authenticated = [("phase", "normalize")];
    let counted = |scrape: &Scrape| scrape.get("ticket_webhooks_phase_duration_seconds_count", &authenticated);
    Scrape::until(&service, |scrape| counted(scrape) >= 180.0).await;
    lock.rollback().await.unwrap();
    for posts in [hot, same, others] {
        assert!(posts.join_all().await.iter().all(|status| *status == 200));
    }
    let query = "select booking_ref, count(*) as revisions, sum(delivery_count) as deliveries from ticket_events \
                 where booking_ref in ('HOT', 'SAME') group by 1 order by 1";
    let row = |booking: &str, revisions: u32, deliveries: u32| json!({"booking_ref": booking, "revisions": revisions, "deliveries": deliveries});
    assert_eq!(database.rows(query).await, [row("HOT", 100, 100), row("SAME", 1, 60)]);
    let query = "select max(n) as most from (select count(*) as n from ticket_events where booking_ref = 'HOT' \
                 group by recorded_xid) as of_transaction";
    let most = database.rows(query).await[0]["most"].as_i64().unwrap();
    assert!((2..=32).contains(&most), "{most}");
}
