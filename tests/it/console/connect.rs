use super::{console, deliver};
use crate::support::{ApiClient, Browser, Database, credentials, provider};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_provider_tries_appears_with_the_reason_and_without_credentials() {
    let database = Database::new().await;
    let (service, _api, browser) = console(&database).await;
    browser.go("/connect").await;
    browser.until("location.pathname === '/connect/ticket_status_update'").await;
    browser.press("order_ticketed").await;
    browser.until_text("Nothing came.").await;
    let text = browser.text().await;
    for part in ["/webhooks/order-ticketed", "configured", "main (live), other (test)", "curl -sS", "YOUR-CID"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    deliver(&service, "order_ticketed", "ORD-1", |body| body["cid"] = "a-mistyped-cid".into()).await;
    browser.until_text("401: wrong credentials").await;
    let request = service.request("POST", "/webhooks/orderticketed").body("{}");
    assert_eq!(request.send().await.unwrap().status(), 404);
    browser.until_text("/webhooks/orderticketed").await;
    deliver(&service, "order_ticketed", "ORD-1", |body| body["data"]["orderNo"] = "".into()).await;
    browser.until_text("unprocessed: invalid").await;
    deliver(&service, "order_ticketed", "ORD-1", |_| {}).await;
    browser.until_text("recorded: ticketed").await;
    // of another provider nothing
    deliver(&service, "booking_callback", "CB-1", |_| {}).await;
    browser.press("booking_callback").await;
    browser.until_text("CB-1").await;
    let html = browser.client.source().await.unwrap();
    assert!(!html.contains("ORD-1"));
    browser.go("/connect/order_ticketed").await;
    let html = browser.client.source().await.unwrap();
    let secrets = credentials("order_ticketed", "main").into_iter().map(|(_, value)| value);
    for secret in secrets.chain(["a-mistyped-cid"]) {
        assert!(!html.contains(secret), "{secret}");
    }
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_path_is_that_of_the_configuration() {
    let database = Database::new().await;
    let key = "TICKET_WEBHOOKS__PROVIDERS__ORDER_TICKETED__PATH";
    let (service, _api) = ApiClient::start(&database, &[(key, "/from/elsewhere")]).await;
    let browser = Browser::signed_in(&service.admin).await;
    browser.go("/connect/order_ticketed").await;
    browser.until_text("/from/elsewhere").await;
    assert!(!browser.text().await.contains(provider("order_ticketed").path));
    browser.go("/connect/unknown").await;
    browser.until_text("there is no such provider").await;
}
