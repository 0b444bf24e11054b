use serde_json::json;

use super::{console, deliver};
use crate::support::{ADMIN_TOKEN, Database};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_booking_is_announced_by_hand_and_overdue_ones_are_listed() {
    let database = Database::new().await;
    let (_service, api, browser) = console(&database).await;
    browser.go("/bookings?show=overdue").await;
    browser.until_text("Nothing is overdue").await;
    browser.press("Announce a booking").await;
    browser.choose("form[method=post] [name=provider]", "order_ticketed").await;
    browser.choose("form[method=post] [name=environment]", "test").await;
    browser.fill("[name=booking_ref]", "ORD-9").await;
    browser.ask("document.querySelector('[name=expected_by]').value = '2026-01-02T03:04'").await;
    browser.press("Announce").await;
    browser.until_text("nothing about it has come yet").await;
    assert_eq!(browser.path().await, "/bookings/order_ticketed/test/ORD-9");
    let state = api.get("/v1/bookings/order_ticketed/test/ORD-9").await.body["state"].clone();
    assert_eq!((&state["is_overdue"], &state["expected_by"]), (&json!(true), &json!("2026-01-02T03:04:00Z")));
    browser.go("/bookings?show=overdue").await;
    browser.until("document.querySelectorAll('tbody tr').length === 1").await;
    browser.go("/bookings?show=stuck").await;
    browser.until_text("Nothing is stuck").await;
    // what cannot be announced is told, and what was written stays
    browser.press("Announce a booking").await;
    browser.fill("[name=booking_ref]", "   ").await;
    browser.press("Announce").await;
    browser.until_text("It was not announced: a booking reference has 1 to").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reconciliation_is_shown_and_downloaded() {
    let database = Database::new().await;
    let (service, _api, browser) = console(&database).await;
    browser.go("/reconciliation").await;
    browser.until_text("There is no difference").await;
    deliver(&service, "order_ticketed", "ORD-1", |_| {}).await;
    browser.go("/reconciliation").await;
    browser.until_text("ticketed, and not expected").await;
    let csv = browser.ask("document.querySelector('[download]').getAttribute('href')").await;
    let cookie = browser.client.get_named_cookie("ticket-webhooks-session").await.unwrap();
    let request = reqwest::Client::new().get(format!("{}{}", service.admin, csv.as_str().unwrap()));
    let shown = request.header("cookie", format!("ticket-webhooks-session={}", cookie.value())).send().await.unwrap();
    let shown = shown.text().await.unwrap();
    let api = reqwest::Client::new().get(format!("{}/v1/reconciliation", service.admin)).header("accept", "text/csv");
    assert_eq!(shown, api.bearer_auth(ADMIN_TOKEN).send().await.unwrap().text().await.unwrap());
    assert!(shown.contains("not_expected,order_ticketed,live,ORD-1"), "{shown}");
}
