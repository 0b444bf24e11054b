//! The metrics while Postgres is unavailable.

use tempfile::TempDir;
use tokio::task::spawn_blocking;

use super::{delivery, post};
use crate::support::{Command, Scrape, Server, Service, settings};

async fn start(server: &Server, variables: &[(&str, &str)]) -> Service {
    let mut settings = settings(server.url());
    settings.push(("TICKET_WEBHOOKS__DATABASE__WRITE_TIMEOUT_MS".to_owned(), "500".to_owned()));
    settings.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let start = spawn_blocking(move || Service::over(Command::new(&["serve", "--no-migrate"]).envs(&settings).start()));
    start.await.unwrap()
}

fn value(scrape: &Scrape, name: &str) -> f64 {
    scrape.get(&format!("ticket_webhooks_{name}"), &[])
}

#[tokio::test]
async fn an_outage_shows_in_database_and_spool_and_so_does_its_end() {
    let mut server = Server::start(true).await;
    let directory = TempDir::new().unwrap();
    let spool = [
        ("TICKET_WEBHOOKS__SPOOL__DIRECTORY", directory.path().to_str().unwrap()),
        ("TICKET_WEBHOOKS__SPOOL__MAX_BYTES", "1000000"),
    ];
    let service = start(&server, &spool).await;
    assert_eq!(post(&service, delivery("main", "Success", "B1")).await, 200);
    let before = Scrape::of(&service).await;
    let empty = |scrape: &Scrape| {
        ["spool_records", "spool_bytes", "spool_oldest_age_seconds"].iter().all(|name| value(scrape, name) == 0.0)
    };
    assert!(empty(&before));
    assert_eq!((value(&before, "spool_enabled"), value(&before, "spool_limit_bytes")), (1.0, 1_000_000.0));

    // without any delivery
    server.signal("QUIT");
    server.gone().await;
    let away = Scrape::until(&service, |scrape| value(scrape, "database_up") == 0.0).await;
    assert_eq!((value(&away, "ready"), value(&away, "spool_records")), (1.0, 0.0));

    assert_eq!(post(&service, delivery("main", "Failed", "B1")).await, 200);
    assert_eq!(post(&service, delivery("main", "No such status", "B1")).await, 422);
    let away = Scrape::until(&service, |scrape| value(scrape, "spool_oldest_age_seconds") > 0.2).await;
    assert_eq!((value(&away, "spool_records"), value(&away, "spool_spooled_total")), (2.0, 2.0));
    assert!(value(&away, "spool_bytes") > 500.0);
    let spooled = [("environment", "live"), ("outcome", "spooled")];
    assert_eq!(away.get("ticket_webhooks_deliveries_total", &spooled), 2.0);
    let written = ["conflicts_total", "unprocessed_total", "spool_drained_total"];
    assert_eq!(written.map(|name| value(&away, name)), [0.0; 3], "they are counted when the spool is drained");

    server.start_again().await;
    let back = Scrape::until(&service, |scrape| value(scrape, "spool_drained_total") == 2.0 && empty(scrape)).await;
    assert_eq!(value(&back, "database_up"), 1.0);
    assert_eq!(written.map(|name| value(&back, name)), [1.0, 1.0, 2.0]);
    assert_eq!(value(&back, "revisions_total"), 2.0);
}

#[tokio::test]
async fn without_a_spool_a_frozen_database_shows_as_not_ready_and_not_durable() {
    let server = Server::start(true).await;
    let service = start(&server, &[]).await;
    server.signal_all("STOP");
    assert_eq!(post(&service, delivery("main", "Success", "B1")).await, 503);
    let away = Scrape::of(&service).await;
    assert_eq!((value(&away, "ready"), value(&away, "database_up")), (0.0, 0.0));
    let not_durable = [("environment", "live"), ("outcome", "not_durable")];
    assert_eq!(away.get("ticket_webhooks_deliveries_total", &not_durable), 1.0);
    server.signal_all("CONT");
    Scrape::until(&service, |scrape| value(scrape, "ready") == 1.0 && value(scrape, "database_up") == 1.0).await;
}

#[tokio::test]
async fn a_service_that_is_about_to_stop_is_not_ready() {
    let server = Server::start(true).await;
    let service = start(&server, &[("TICKET_WEBHOOKS__SERVER__DRAIN_DELAY_MS", "60000")]).await;
    assert_eq!(value(&Scrape::of(&service).await, "ready"), 1.0);
    service.process.signal("TERM");
    let stopping = Scrape::until(&service, |scrape| value(scrape, "ready") == 0.0).await;
    assert_eq!(value(&stopping, "database_up"), 1.0);
}
