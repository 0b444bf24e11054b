//! A stored body is read as it was when it arrived, and redacted as today.

use serde_json::json;

use super::{Kept, events, payload, reprocess, reprocess_all, rows, summary};
use crate::support::{Database, Service, credentials, provider};

#[tokio::test]
async fn a_stored_body_is_read_in_the_encoding_in_which_it_came() {
    let database = Database::new().await;
    let text = |booking: &str| payload("booking_callback", booking).to_string().replace("Arjun", "Jürgen");
    let windows_1252 = text("B1").chars().map(|char| char as u8).collect::<Vec<_>>();
    let utf_16: Vec<u8> =
        "\u{feff}".chars().chain(text("B2").chars()).flat_map(|char| (char as u16).to_le_bytes()).collect();
    let packed = json!(text("B3")).to_string();
    let bodies = [windows_1252, utf_16, packed.into_bytes(), [b"\xef\xbb\xbf", text("B4").as_bytes()].concat()];
    for (second, body) in (1..).zip(bodies) {
        Kept::new("booking_callback", "malformed", body).store(&database, second).await;
    }
    let broken = text("B5").replace("\"Passengers\":", "\"Passengers\" ");
    Kept::new("booking_callback", "malformed", broken).store(&database, 5).await;
    Kept::new("booking_callback", "malformed", [0x1f, 0x8b, 8, 0, 1, 2, 3]).store(&database, 6).await;
    reprocess_all(&database, &summary(4, 0, 2)).await;
    let names = "select passengers -> 0 ->> 'first_name' as name, warnings[1] as warning from ticket_events order by booking_ref";
    let warnings = [
        json!("the body was read as windows-1252"),
        json!("the body was read as UTF-16LE"),
        json!("the body was a string of JSON, which was unpacked"),
        json!(null),
    ];
    assert_eq!(database.rows(names).await, warnings.map(|warning| json!({"name": "Jürgen", "warning": warning})));
    let left: Vec<_> = rows(&database).await[4..].iter().map(|row| row["reason"].clone()).collect();
    assert_eq!(left, ["malformed", "malformed"]);
}

#[tokio::test]
async fn a_secret_that_was_configured_since_is_replaced_and_credentials_are_removed() {
    let database = Database::new().await;
    let secret = credentials("ticket_status_update", "other")[0].1;
    let mut body = (provider("booking_callback").delivery)("main", "B1");
    body["Remark"] = json!(format!("your key is {secret}"));
    Kept::new("booking_callback", "malformed", body.to_string()).store(&database, 1).await;
    let (_, output) = reprocess(&database, &[], &[]).await;
    assert!(output.contains("1 recorded"), "{output}");
    let stored = database.events().await;
    assert_eq!(stored[0]["remark"], "your key is [redacted]");
    let recorded = format!("{stored:?}{output}");
    let password = credentials("booking_callback", "main")[2].1;
    assert!(!recorded.contains(secret) && !recorded.contains(&format!("{password:?}")), "{recorded}");
    assert!(stored[0]["warnings"][0].as_str().unwrap().contains("Remark held a secret"), "{recorded}");
}

#[tokio::test]
async fn a_reference_that_is_a_secret_is_found_when_it_is_announced() {
    let database = Database::new().await;
    let reject = [("TICKET_WEBHOOKS__PROVIDERS__BOOKING_CALLBACK__UNKNOWN_BOOKING", "reject")];
    let service = Service::start(&database, &reject).await;
    let (callback, secret) = (provider("booking_callback"), credentials("ticket_status_update", "other")[0].1);
    assert_eq!(service.post(callback, (callback.delivery)("main", secret).to_string()).await.status, 404);
    service.stop().await;
    database
        .execute(&format!(
            "insert into bookings (provider, environment, booking_ref) values ('booking_callback', 'live', '{secret}')"
        ))
        .await;
    let (_, output) = reprocess(&database, &[], &reject).await;
    assert!(output.contains("1 recorded"), "{output}");
    assert_eq!(events(&database).await[0]["booking_ref"], secret);
}

#[tokio::test]
async fn what_the_database_refuses_stays_until_it_takes_it() {
    let database = Database::new().await;
    Kept::new("booking_callback", "invalid", payload("booking_callback", "B1").to_string()).store(&database, 1).await;
    database.execute("alter table ticket_events add constraint none check (status <> 'ticketed')").await;
    reprocess_all(&database, &summary(0, 0, 1)).await;
    assert_eq!(rows(&database).await[0]["reason"], "refused");
    database.execute("alter table ticket_events drop constraint none").await;
    reprocess_all(&database, &summary(1, 0, 0)).await;
}
