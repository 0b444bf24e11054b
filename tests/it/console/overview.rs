use serde_json::json;

use super::{console, deliver};
use crate::support::{ADMIN_TOKEN, ApiClient, Browser, Database, Server, Service, settings};

/// The badge of a provider's card.
fn health(provider: &str) -> String {
    format!("document.querySelector('section[aria-labelledby={provider}] .badge').textContent")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_provider_is_healthy_silent_or_failing_at_one_glance() {
    let database = Database::new().await;
    let (service, api, browser) = console(&database).await;
    browser.go("/").await;
    browser.until(&format!("{} === 'silent'", health("order_ticketed"))).await;
    deliver(&service, "order_ticketed", "ORD-1", |_| {}).await;
    deliver(&service, "order_ticketed", "ORD-1", |_| {}).await;
    deliver(&service, "booking_callback", "CB-1", |body| body["Status"] = 7.into()).await;
    api.put("/v1/bookings/order_ticketed/live/ORD-2", json!({"expected_by": "2026-01-01T00:00:00Z"})).await;
    // it updates by itself
    browser.until(&format!("{} === 'healthy'", health("order_ticketed"))).await;
    browser.until(&format!("{} === 'failing'", health("booking_callback"))).await;
    let charts =
        "[...document.querySelectorAll('section[aria-labelledby=order_ticketed] svg')].map(one => one.ariaLabel)";
    browser.until(&format!("{charts}[1].startsWith('duplicates: 1 in the last day')")).await;
    let charts = browser.ask(charts).await;
    assert!(
        charts[0].as_str().unwrap().starts_with("recorded: 1 in the last day, at most 1 in ten minutes"),
        "{charts}"
    );
    browser.until("document.querySelector('.counts').innerText.includes('1 overdue')").await;
    browser.until("document.querySelector('.counts').innerText.includes('1 unprocessed')").await;
    let text = browser.text().await;
    for part in ["Postgres", "Spool of this replica", "none is configured", "Position search"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_postgres_is_away_it_says_so_and_what_waits_in_the_spool() {
    let mut server = Server::start(true).await;
    let spool = tempfile::tempdir().unwrap();
    let mut variables = settings(server.url());
    variables.push(("TICKET_WEBHOOKS__ADMIN__TOKEN".to_owned(), ADMIN_TOKEN.to_owned()));
    variables.push(("TICKET_WEBHOOKS__SPOOL__DIRECTORY".to_owned(), spool.path().display().to_string()));
    let command = crate::support::Command::new(&["serve"]).envs(&variables);
    let service = tokio::task::spawn_blocking(move || Service::over(command.start())).await.unwrap();
    ApiClient::of(&service.admin).await;
    let browser = Browser::signed_in(&service.admin).await;
    browser.until_text("empty").await;
    server.signal("QUIT");
    server.gone().await;
    deliver(&service, "order_ticketed", "ORD-1", |_| {}).await;
    browser.until_text("1 deliveries wait in its spool").await;
    browser.go("/events").await;
    browser.until_text("This cannot be shown now").await;
    server.start_again().await;
    browser.go("/events").await;
    browser.until_text("Events").await;
    browser.go("/").await;
    browser.until_text("answers").await;
}
