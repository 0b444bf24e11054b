use super::{console, deliver};
use crate::support::Database;

const ROWS: &str = "document.querySelectorAll('tbody tr').length";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_box_finds_a_booking_by_whatever_of_it_is_at_hand() {
    let database = Database::new().await;
    let (service, api, browser) = console(&database).await;
    deliver(&service, "booking_callback", "CB-77", |body| {
        body["PNR"] = "QWERTY".into();
        body["Passengers"][0]["FirstName"] = "Søren".into();
        body["Passengers"][0]["TicketNumber"] = "098-2412345111".into();
    })
    .await;
    deliver(&service, "order_ticketed", "ORD-88", |_| {}).await;
    for text in ["qwerty", "CB-77", "cb-77", "0982412345111", "098-2412345111", "soren", "Mr Søren Mehta"] {
        browser.go("/events").await;
        browser.until(&format!("{ROWS} === 2")).await;
        browser.fill("[name=q]", text).await;
        browser.press("Search").await;
        browser.until(&format!("location.search !== '' && {ROWS} === 1")).await;
        assert!(browser.text().await.contains("CB-77"), "{text}");
        // an address that can be sent to a colleague: without what was not asked
        let query = text.replace(' ', "+").replace('ø', "%C3%B8");
        assert_eq!(browser.path().await, format!("/events?q={query}"));
    }
    // an event by its id
    let id = api.get("/v1/events").await.body["events"][0]["id"].clone();
    browser.go(&format!("/events?q={}", id.as_str().unwrap())).await;
    assert_eq!(browser.path().await, format!("/bookings/booking_callback/live/CB-77?event={}", id.as_str().unwrap()));
    browser.go("/events").await;
    browser.choose("[name=provider]", "order_ticketed").await;
    browser.press("Search").await;
    browser.until(&format!("{ROWS} === 1")).await;
    assert_eq!(browser.path().await, "/events?provider=order_ticketed");
    browser.press("ORD-88").await;
    browser.until("location.pathname === '/bookings/order_ticketed/live/ORD-88'").await;
    for (query, expected) in [
        ("?q=nobody", "Nothing matches"),
        ("?status=failed", "Nothing matches"),
        ("?from=2999-01-01T00:00", "Nothing matches"),
    ] {
        browser.go(&format!("/events{query}")).await;
        browser.until_text(expected).await;
    }
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.go("/events?to=yesterday").await;
    browser.until_text("This cannot be asked: to is to be a time").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_events_appear_by_themselves() {
    let database = Database::new().await;
    let (service, _api, browser) = console(&database).await;
    browser.go("/events").await;
    browser.until_text("Nothing has arrived yet").await;
    deliver(&service, "booking_callback", "CB-1", |_| {}).await;
    browser.until_text("CB-1").await;
    deliver(&service, "booking_callback", "CB-2", |_| {}).await;
    browser.until_text("CB-2").await;
    assert_eq!(browser.ask("document.querySelector('tr.new a').textContent").await, "CB-2", "what is new is marked");
    // in the reader's zone, with the exact instant as the title
    let time = browser.ask("[...document.querySelectorAll('time')].map(one => [one.title, one.textContent])[0]").await;
    assert!(time[0].as_str().unwrap().ends_with('Z') && !time[1].as_str().unwrap().ends_with("UTC"), "{time}");
    // also while something in it has the focus, which stays
    browser.ask("document.querySelector('tbody a').focus()").await;
    deliver(&service, "booking_callback", "CB-3", |_| {}).await;
    browser.until_text("CB-3").await;
    assert_eq!(browser.ask("document.activeElement.textContent").await, "CB-2");
    let log = service.stop().await;
    browser.until("!document.getElementById('offline').hidden").await;
    assert!(!log.contains("Mehta"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn older_events_are_on_further_pages_each_once() {
    let database = Database::new().await;
    let (service, _api, browser) = console(&database).await;
    for number in 0..120 {
        deliver(&service, "booking_callback", &format!("CB-{number}"), |_| {}).await;
    }
    let mut found = Vec::new();
    for query in ["?q=mehta", ""] {
        browser.go(&format!("/events{query}")).await;
        found.clear();
        loop {
            let page = browser.ask("[...document.querySelectorAll('tbody a')].map(one => one.textContent)").await;
            found.extend(page.as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()));
            let before = browser.path().await;
            if browser.ask("document.querySelector('[rel=next]') === null").await == true {
                break;
            }
            browser.press("Older events").await;
            browser.until(&format!("location.pathname + location.search !== '{before}'")).await;
        }
        let expected: Vec<_> = (0..120).rev().map(|number| format!("CB-{number}")).collect();
        assert_eq!(found, expected, "{query}");
    }
}
