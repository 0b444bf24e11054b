use serde_json::Value;

use super::{console, deliver};
use crate::support::{ApiClient, Browser, Database, provider};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_that_cannot_be_processed_shows_why_and_where() {
    let database = Database::new().await;
    let (service, _api, browser) = console(&database).await;
    browser.go("/unprocessed").await;
    browser.until_text("Everything was processed").await;
    deliver(&service, "booking_callback", "CB-1", |body| body["Status"] = 7.into()).await;
    browser.go("/unprocessed").await;
    browser.until_text("Status must be").await;
    browser.press("1 invalid").await;
    browser.until("location.search === '?reason=invalid'").await;
    browser.ask("document.querySelector('tbody a').click()").await;
    browser.until("document.querySelector('mark') !== null").await;
    assert_eq!(browser.ask("document.querySelector('mark').textContent").await, "7");
    browser.press("Process again").await;
    browser.until_text("It still cannot be processed").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    let log = service.stop().await;
    assert!(!log.contains("Mehta"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_of_a_kind_are_processed_again_once_their_cause_is_mended() {
    let database = Database::new().await;
    let reject = [("TICKET_WEBHOOKS__PROVIDERS__ORDER_TICKETED__UNKNOWN_BOOKING", "reject")];
    let (service, api) = ApiClient::start(&database, &reject).await;
    for booking in ["ORD-1", "ORD-2", "ORD-3"] {
        deliver(&service, "order_ticketed", booking, |_| {}).await;
    }
    let unprocessed = api.get("/v1/unprocessed").await;
    assert_eq!(unprocessed.body["unprocessed"].as_array().unwrap().len(), 3);
    service.stop().await;
    // the operator lets unknown bookings in
    let (service, _api) = ApiClient::start(&database, &[]).await;
    let browser = Browser::signed_in(&service.admin).await;
    browser.go("/unprocessed?reason=unknown_booking").await;
    browser.press("Process all of these again").await;
    browser.accept_question().await.unwrap();
    browser.until_text("What came of 3").await;
    let text = browser.text().await;
    for booking in ["ORD-1", "ORD-2", "ORD-3"] {
        assert!(text.contains(&format!("It was recorded: revision 1 of {booking}")), "{text}");
    }
    browser.go("/bookings/order_ticketed/live/ORD-2").await;
    browser.until_text("Revision 1").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_no_json_is_shown_with_the_place_where_it_ends_to_be() {
    let database = Database::new().await;
    let (service, _api, browser) = console(&database).await;
    // authenticated by a header, so that it is kept
    let provider = provider("ticket_status_update");
    service.post(provider, "{\"PNR\": \"ABC123\",\n  oops}".to_owned()).await;
    browser.go("/unprocessed").await;
    browser.ask("document.querySelector('tbody a').click()").await;
    browser.until("document.querySelector('mark') !== null").await;
    assert_eq!(browser.ask("document.querySelector('mark').textContent").await, Value::from("o"));
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_in_a_body_of_any_encoding_are_hidden_until_somebody_asks() {
    let database = Database::new().await;
    let (service, api, browser) = console(&database).await;
    let provider = provider("ticket_status_update");
    let text = "{\"DocumentNumber\":\"E1234\", broken";
    let utf_16 = |to_bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(to_bytes).collect::<Vec<u8>>();
    let with_mark = [&[0xff, 0xfe][..], &utf_16(u16::to_le_bytes)].concat();
    for body in [text.as_bytes().to_vec(), with_mark, utf_16(u16::to_le_bytes), utf_16(u16::to_be_bytes)] {
        let request = service.request("POST", provider.path).body(body);
        let authorization = (provider.authorization)("main").unwrap();
        request.header("authorization", authorization.as_bytes()).send().await.unwrap();
    }
    let rows = api.get("/v1/unprocessed").await.body["unprocessed"].as_array().unwrap().clone();
    assert_eq!(rows.len(), 4);
    for row in rows {
        browser.go(&format!("/unprocessed/{}", row["id"].as_str().unwrap())).await;
        let html = browser.client.source().await.unwrap().replace('\0', "");
        assert!(!html.contains("E1234") && html.contains("hidden as a whole"), "{html}");
        browser.press("Show documents and birth dates").await;
        browser.accept_question().await.unwrap();
        browser.until("document.body.innerText.replaceAll('\\0', '').includes('E1234')").await;
        // coming back to the address
        let path = browser.path().await;
        browser.go(&path).await;
        browser.until_text("hidden as a whole").await;
    }
    assert!(service.stop().await.contains("personal data was shown"));
}
