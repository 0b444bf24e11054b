//! The alerts and the dashboard with a real Prometheus: each alert is caused, and fires.
//! `make alerts-test` runs it; Prometheus comes from the system's packages.
//!
//! The rules are those of ops/alerts.yml with their times shortened to seconds. Two services write to one
//! Postgres, of which one has no spool.

mod prometheus;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::{Value, json};
use sqlx::Executor;
use tempfile::TempDir;

use self::prometheus::Prometheus;
use crate::support::{Command, Provider, Reaction, Receiver, SECRET, Server, Service, Wire, provider, settings};

/// Room for some dozens of deliveries.
const SPOOL_BYTES: &str = "40000";

/// Longer than TicketWebhooksSlow allows, shorter than the timeout of a scrape, which asks Postgres too.
const WRITE_TIMEOUT_MS: &str = "700";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it needs Prometheus: make alerts-test"]
async fn every_alert_fires_when_it_is_caused_and_every_panel_shows_something() {
    let (mut server, spool) = (Server::start(true).await, TempDir::new().unwrap());
    let (gone, down, blocked) = (Agency::start(410).await, Agency::start(500).await, Agency::start(500).await);
    let (gone_url, down_url, blocked_url) = (&*gone.receiver.url, &*down.receiver.url, &*blocked.receiver.url);
    let mut with_spool = start(
        &server,
        &[
            ("SPOOL__DIRECTORY", &spool.path().display().to_string()),
            ("FORWARD__GONE__URL", gone_url),
            ("FORWARD__GONE__SECRETS", SECRET),
            ("FORWARD__DOWN__URL", down_url),
            ("FORWARD__DOWN__SECRETS", SECRET),
            ("FORWARD__BLOCKED__URL", blocked_url),
            ("FORWARD__BLOCKED__SECRETS", SECRET),
        ],
    )
    .await;
    let mut without_spool = start(&server, &[]).await;
    let prometheus = Prometheus::start(&[&with_spool, &without_spool]).await;
    prometheus.scrapes(2).await;
    let (updates, callbacks, orders) =
        (provider("ticket_status_update"), provider("booking_callback"), provider("order_ticketed"));
    for provider in [updates, callbacks, orders] {
        deliver(&with_spool, provider, "first").await;
    }
    prometheus.evaluates(3).await;
    assert_eq!(prometheus.firing().await, BTreeSet::new(), "all is well");

    // without any delivery
    prometheus.fires("TicketWebhooksProviderSilent").await;

    for _ in 0..8 {
        let answer = with_spool.post(orders, json!({"cid": "wrong", "type": "order.ticketed"}).to_string()).await;
        assert_eq!(answer.status, 401);
    }
    prometheus.fires("TicketWebhooksAuthenticationFailures").await;

    for _ in 0..20 {
        let guess = reqwest::get(format!("{}/v1/nothing", with_spool.admin)).await.unwrap();
        assert!([401, 429].contains(&guess.status().as_u16()));
    }
    prometheus.fires("TicketWebhooksAdminTokenGuessed").await;

    let nowhere = with_spool.request("POST", "/webhooks/order-tickted").body("{}").send().await.unwrap();
    assert_eq!(nowhere.status(), 404);
    prometheus.fires("TicketWebhooksUnroutedRequests").await;

    let silent: Vec<_> = (0..100).map(|_| Wire::to(&with_spool)).collect();
    prometheus.fires("TicketWebhooksConnectionsShort").await;
    drop(silent);

    let mut delivery = (callbacks.delivery)("main", "odd");
    delivery["Status"] = "Postponed".into();
    assert_eq!(with_spool.post(callbacks, delivery.to_string()).await.status, 422);
    prometheus.fires("TicketWebhooksUnprocessedGrowing").await;

    // different bodies, more than 16 MiB of them
    for _ in 0..90 {
        delivery["Status"] = format!("{}{}", uuid::Uuid::now_v7(), "?".repeat(200_000)).into();
        assert_eq!(with_spool.post(callbacks, delivery.to_string()).await.status, 422);
    }
    prometheus.fires("TicketWebhooksUnprocessedNotKept").await;

    let mut delivery = (callbacks.delivery)("main", "first");
    delivery["Status"] = "Failed".into();
    // counted as a warning, which a panel shows
    delivery["Passengers"][0]["Title"] = Value::Null;
    assert_eq!(with_spool.post(callbacks, delivery.to_string()).await.status, 200);
    prometheus.fires("TicketWebhooksConflicts").await;

    for agency in [&gone, &down, &blocked] {
        agency.refuses.store(true, Ordering::SeqCst);
    }
    assert_eq!(deliver(&with_spool, orders, "refused").await, 200);
    prometheus.fires("TicketWebhooksForwardGone").await;
    prometheus.fires("TicketWebhooksForwardBlocked").await;
    prometheus.fires("TicketWebhooksForwardDown").await;

    let pool = server.pool();
    let mut delivery = (callbacks.delivery)("main", "silent");
    delivery["Status"] = "Pending".into();
    assert_eq!(with_spool.post(callbacks, delivery.to_string()).await.status, 200);
    let bookings = "insert into bookings (provider, environment, booking_ref, expected_by) \
                    values ('booking_callback', 'live', 'missing', now()); \
                    update ticket_events set last_received_at = now() - interval '3 hours' where booking_ref = 'silent'; \
                    insert into open_bookings values ('booking_callback', 'live', 'silent', now() - interval '3 hours') \
                    on conflict (provider, environment, booking_ref) \
                    do update set last_received_at = excluded.last_received_at";
    pool.execute(bookings).await.unwrap();
    prometheus.fires("TicketWebhooksBookingsOverdue").await;
    prometheus.fires("TicketWebhooksBookingsStuck").await;

    // a consumer that is behind by more than half a day, of one
    let behind = "insert into consumers (name, position) values ('back-office', '0.0.0.00000000.0'); \
                  update ticket_events set recorded_at = now() - interval '13 hours' where sequence = \
                  (select sequence from ticket_events order by generation, recorded_xid, sequence limit 1)";
    pool.execute(behind).await.unwrap();
    prometheus.fires("TicketWebhooksConsumerNearRetention").await;

    let mut transaction = pool.begin().await.unwrap();
    transaction.execute("lock table ticket_events in access exclusive mode").await.unwrap();
    let (answer, ()) = tokio::join!(deliver(&with_spool, updates, "slow"), async {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        transaction.rollback().await.unwrap();
    });
    assert_eq!(answer, 200);
    pool.close().await;
    prometheus.fires("TicketWebhooksSlow").await;

    let mut transaction = server.pool().begin().await.unwrap();
    let pid: i32 = sqlx::query_scalar("select pg_backend_pid() from pg_current_xact_id()")
        .fetch_one(&mut *transaction)
        .await
        .unwrap();
    assert_eq!(deliver(&with_spool, updates, "held back").await, 200);
    let summary = prometheus.fires("TicketWebhooksFeedHeldBack").await;
    assert!(summary.contains(&format!("backend {pid} is open")), "{summary}");
    transaction.rollback().await.unwrap();

    server.signal("KILL");
    server.gone().await;
    prometheus.fires("TicketWebhooksNotReady").await;
    assert_eq!(deliver(&without_spool, callbacks, "refused").await, 503);
    prometheus.fires("TicketWebhooksDeliveriesNotDurable").await;
    // until the spool is full
    let mut number = 0;
    while deliver(&with_spool, updates, &format!("spooled-{number}")).await == 200 {
        number += 1;
    }
    assert!(number > 10, "the spool takes some: {number}");
    prometheus.fires("TicketWebhooksSpoolInUse").await;
    prometheus.fires("TicketWebhooksSpoolHalfFull").await;
    // replaced by another file, which is then set aside
    let file = spool.path().join("deliveries.redb");
    std::fs::write(spool.path().join("other"), "something else").unwrap();
    std::fs::rename(spool.path().join("other"), &file).unwrap();
    deliver(&with_spool, updates, "noticed").await;
    prometheus.fires("TicketWebhooksSpoolFileReplaced").await;
    prometheus.fires("TicketWebhooksSpoolFileSetAside").await;
    // damage is found when the file is opened or drained
    let mut bytes = std::fs::read(&file).unwrap();
    let copies: Vec<_> = memchr::memmem::find_iter(&bytes, b"spooled-5").collect();
    copies.into_iter().for_each(|at| bytes[at] ^= 1);
    let hit = std::fs::OpenOptions::new().write(true).open(&file).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&hit, &bytes, 0).unwrap();
    with_spool.process.signal("KILL");
    with_spool.process.wait();
    let admin = with_spool.admin.trim_start_matches("http://").to_owned();
    let directory = spool.path().display().to_string();
    let variables = [
        ("SPOOL__DIRECTORY", &*directory),
        ("SERVER__ADMIN_ADDRESS", &admin),
        ("FORWARD__DOWN__URL", down_url),
        ("FORWARD__DOWN__SECRETS", SECRET),
    ];
    let with_spool = start(&server, &variables).await;
    prometheus.fires("TicketWebhooksSpoolRecordDamaged").await;
    server.start_again().await;

    without_spool.process.signal("KILL");
    without_spool.process.wait();
    prometheus.fires("TicketWebhooksDown").await;

    assert_eq!(prometheus.fired(), prometheus.rules().await, "no alert is left out");
    prometheus.every_panel_shows_something().await;
    with_spool.stop().await;
}

/// The agency's own system, which refuses with a status once it is told to.
struct Agency {
    receiver: Receiver,
    refuses: Arc<AtomicBool>,
}

impl Agency {
    async fn start(status: u16) -> Self {
        let refuses = Arc::new(AtomicBool::new(false));
        let is_refusing = Arc::clone(&refuses);
        let react = move |_: &_| Reaction::status(if is_refusing.load(Ordering::SeqCst) { status } else { 204 });
        Self { receiver: Receiver::start(react).await, refuses }
    }
}

async fn start(server: &Server, variables: &[(&str, &str)]) -> Service {
    let mut settings = settings(server.url());
    settings.push(("TICKET_WEBHOOKS__SPOOL__MAX_BYTES".to_owned(), SPOOL_BYTES.to_owned()));
    settings.push(("TICKET_WEBHOOKS__PRIVACY__RETENTION_DAYS".to_owned(), "1".to_owned()));
    settings.push(("TICKET_WEBHOOKS__SERVER__MAX_CONNECTIONS".to_owned(), "64".to_owned()));
    settings.push(("TICKET_WEBHOOKS__DATABASE__WRITE_TIMEOUT_MS".to_owned(), WRITE_TIMEOUT_MS.to_owned()));
    for (name, value) in variables {
        settings.push((format!("TICKET_WEBHOOKS__{name}"), (*value).to_owned()));
    }
    let command = Command::new(&["serve"]).envs(&settings);
    tokio::task::spawn_blocking(move || Service::over(command.start())).await.unwrap()
}

/// Returns the status of the reply.
async fn deliver(service: &Service, provider: &Provider, booking: &str) -> u16 {
    service.post(provider, (provider.delivery)("main", booking).to_string()).await.status
}
