use super::{console, deliver};
use crate::support::Database;

const HOSTILE: &str =
    "<script>document.title='hacked'</script><img src=x onerror=\"document.title='hacked'\">&amp;\" '";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_booking_shows_what_each_revision_changed() {
    let database = Database::new().await;
    let (service, _api, browser) = console(&database).await;
    deliver(&service, "booking_callback", "CB 1/ü", |body| body["Status"] = "Pending".into()).await;
    deliver(&service, "booking_callback", "CB 1/ü", |body| body["Status"] = "Success".into()).await;
    deliver(&service, "booking_callback", "CB 1/ü", |body| body["Status"] = "Success".into()).await;
    browser.go("/events").await;
    browser.press("CB 1/ü").await;
    browser.until_text("Revision 2").await;
    let text = browser.text().await;
    for part in
        ["CB 1/ü", "ticketed", "status: pending → ticketed", "Delivered 2 times", "Arjun Mehta", "\"BookingId\""]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(text.find("Revision 2") < text.find("Revision 1"), "the newest first");
    // the next one appears by itself
    deliver(&service, "booking_callback", "CB 1/ü", |body| body["Status"] = "Failed".into()).await;
    browser.until_text("status: ticketed → failed").await;
    // as each revision was sent
    browser.until_text("\"Status\": \"Failed\"").await;
    browser.ask("[...document.querySelectorAll('.timeline a')].at(-1).click()").await;
    browser.until_text("\"Status\": \"Pending\"").await;
    assert!(browser.text().await.contains("As it was sent revision 1"), "{}", browser.text().await);
    browser.go("/bookings/booking_callback/live/unknown").await;
    browser.until_text("Nothing is known of this booking").await;
    assert!(browser.text().await.contains("Sign out"), "the menu is there, too");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_and_birth_dates_are_masked_until_somebody_asks_who_is_named_in_the_log() {
    let database = Database::new().await;
    let (service, _api, browser) = console(&database).await;
    deliver(&service, "order_ticketed", "ORD-1", |_| {}).await;
    browser.go("/bookings/order_ticketed/live/ORD-1").await;
    browser.until_text("zhang").await;
    let secret = ["123458", "20160202", "2016-02-02", "20400101"];
    let html = browser.client.source().await.unwrap();
    for secret in secret {
        assert!(!html.contains(secret), "{secret}");
    }
    browser.press("Show documents and birth dates").await;
    browser.accept_question().await.unwrap();
    browser.until_text("123458").await;
    let text = browser.text().await;
    for shown in ["2016-02-02", "20160202", "PP · 123458 · CN"] {
        assert!(text.contains(shown), "{shown}: {text}");
    }
    browser.press("Hide documents and birth dates").await;
    browser.until("!document.body.innerText.includes('123458')").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    let log = service.stop().await;
    let line = log.lines().find(|line| line.contains("personal data was shown")).unwrap();
    assert!(line.contains("\"name\":\"Ada\"") && line.contains("ORD-1"), "{line}");
    assert!(!log.contains("123458"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn markup_and_scripts_of_providers_stay_text() {
    let database = Database::new().await;
    let (service, _api, browser) = console(&database).await;
    deliver(&service, "booking_callback", HOSTILE, |body| {
        body["Remark"] = HOSTILE.into();
        body["PNR"] = HOSTILE.into();
        body["Passengers"][0]["FirstName"] = HOSTILE.into();
        body["Passengers"][0]["TicketNumber"] = HOSTILE.into();
        body[HOSTILE] = HOSTILE.into();
    })
    .await;
    deliver(&service, "booking_callback", "CB-2", |body| {
        body["BookingId"] = serde_json::Value::Null;
        body[HOSTILE] = HOSTILE.into();
    })
    .await;
    // the pages of the booking and of the delivery that could not be processed
    for path in ["/events", "/unprocessed"] {
        browser.go(path).await;
        browser.ask("document.querySelector('tbody a').click()").await;
        browser.until(&format!("location.pathname !== '{path}' && document.body.innerText.includes('onerror')")).await;
        assert_eq!(browser.ask("document.querySelectorAll('main img, main script').length").await, 0, "behind {path}");
        assert!(!browser.client.title().await.unwrap().starts_with("hacked"));
    }
    for path in ["/events", "/bookings", "/unprocessed", "/reconciliation"] {
        browser.go(path).await;
        assert_eq!(browser.ask("document.querySelectorAll('main img, main script').length").await, 0, "{path}");
        assert!(!browser.client.title().await.unwrap().starts_with("hacked"));
    }
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}
