use serde_json::{Value, json};

use super::{console, deliver};
use crate::support::Database;

/// With an expected, overdue booking and a delivery that cannot be processed there is something on each page.
const PAGES: [&str; 9] = [
    "/",
    "/events",
    "/events?q=nobody",
    "/bookings/order_ticketed/live/ORD-1",
    "/bookings?show=overdue",
    "/reconciliation",
    "/unprocessed",
    "/connect/order_ticketed",
    "/bookings/order_ticketed/live/unknown",
];

/// `AXE` is the path of `axe.min.js`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs axe-core: .ci/console-check"]
async fn every_page_keeps_the_rules_of_wcag_aa_in_light_and_dark_wide_and_narrow() {
    let axe = std::fs::read_to_string(std::env::var("AXE").expect("AXE is the path of axe.min.js")).unwrap();
    let database = Database::new().await;
    let (service, api, browser) = console(&database).await;
    deliver(&service, "order_ticketed", "ORD-1", |_| {}).await;
    deliver(&service, "booking_callback", "CB-1", |body| body["Status"] = 7.into()).await;
    deliver(&service, "order_ticketed", "ORD-1", |body| body["cid"] = "wrong".into()).await;
    api.put("/v1/bookings/order_ticketed/live/ORD-2", json!({"expected_by": "2026-01-01T00:00:00Z"})).await;
    let unprocessed = api.get("/v1/unprocessed").await.body["unprocessed"][0]["id"].clone();
    let unprocessed = format!("/unprocessed/{}", unprocessed.as_str().unwrap());
    browser.go("/connect/order_ticketed").await;
    browser.until_text("401: wrong credentials").await;
    let mut problems = Vec::new();
    for (width, dark) in [(1280, false), (1280, true), (390, false), (390, true)] {
        browser.client.set_window_size(width, 900).await.unwrap();
        browser.prefer(if dark { "dark" } else { "light" }).await;
        for page in PAGES.into_iter().chain([unprocessed.as_str(), "/sign-in"]) {
            browser.go(page).await;
            browser.client.execute(&axe, Vec::new()).await.unwrap();
            let script = "const done = arguments[0]; \
                          axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']})\
                          .then(found => done(found.violations), error => done(String(error)))";
            let violations = browser.client.execute_async(script, Vec::new()).await.unwrap();
            for violation in violations.as_array().unwrap_or_else(|| panic!("{page}: {violations}")) {
                let nodes = violation["nodes"].as_array().unwrap().iter().map(|node| node["html"].clone());
                problems.push((page.to_owned(), width, dark, violation["id"].clone(), nodes.collect::<Vec<Value>>()));
            }
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
}
