//! The console in a real browser.

/// The rules of WCAG, by axe-core (`.ci/console-check`).
mod accessibility;
/// A booking: its history, what is masked, and showing it.
mod booking;
/// Bookings that are expected, announcing one, and the reconciliation.
mod bookings;
/// What is open while a provider is being connected.
mod connect;
/// The link and the samples of `dev`.
mod dev;
/// Events: search, filters, arrival.
mod events;
/// How it stands, also while Postgres is away.
mod overview;
/// Signing in and out, and who gets in.
mod sign_in;
/// How long pages take (`make search-test`).
mod speed;
/// What could not be processed, and its second chance.
mod unprocessed;

use serde_json::Value;

use crate::support::{ApiClient, Browser, Database, Service, provider};

/// A service with the token, a client of its API, and a browser that is signed in.
async fn console(database: &Database) -> (Service, ApiClient, Browser) {
    let (service, api) = ApiClient::start(database, &[]).await;
    let browser = Browser::signed_in(&service.admin).await;
    (service, api, browser)
}

/// Delivers with the account `main` what a change makes of a sample.
async fn deliver(service: &Service, name: &str, booking: &str, change: impl FnOnce(&mut Value)) {
    let provider = provider(name);
    let mut body = (provider.delivery)("main", booking);
    change(&mut body);
    service.post(provider, body.to_string()).await;
}
