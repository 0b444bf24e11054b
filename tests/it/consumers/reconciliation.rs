//! The differences between what was expected and what came, as JSON and as CSV.

use serde_json::{Value, json};

use crate::support::{ADMIN_TOKEN, ApiClient, Database, Service, provider};

async fn deliver(service: &Service, name: &str, booking: &str, change: impl FnOnce(&mut Value)) {
    let provider = provider(name);
    let mut delivery = (provider.delivery)("main", booking);
    change(&mut delivery);
    assert_eq!(service.post(provider, delivery.to_string()).await.status, 200);
}

/// Kind, booking, status, ticket number of each.
fn differences(answer: &Value) -> Vec<[&str; 4]> {
    let rows = answer["differences"].as_array().unwrap().iter();
    rows.map(|row| ["kind", "booking_ref", "status", "ticket_number"].map(|key| row[key].as_str().unwrap_or("-")))
        .collect()
}

#[tokio::test]
async fn every_kind_of_difference_is_found_and_nothing_else() {
    let database = Database::new().await;
    let (service, api) = ApiClient::start(&database, &[]).await;
    let announce = async |provider: &str, references: &[&str]| {
        let list = references
            .iter()
            .map(|reference| json!({"provider": provider, "environment": "live", "booking_ref": reference}));
        assert_eq!(api.post("/v1/bookings", list.collect()).await.status, 200);
    };
    announce("booking_callback", &["GOOD", "NOTHING", "PENDING", "CHANGED", "=BAD()"]).await;
    announce("order_ticketed", &["SAME"]).await;
    deliver(&service, "booking_callback", "GOOD", |_| {}).await;
    deliver(&service, "booking_callback", "PENDING", |delivery| {
        delivery["Status"] = "Pending".into();
        delivery["Passengers"] = json!([]);
    })
    .await;
    for status in ["Failed", "Success"] {
        deliver(&service, "booking_callback", "CHANGED", |delivery| {
            delivery["Status"] = status.into();
            delivery["Passengers"][0]["TicketNumber"] = "098-7".into();
        })
        .await;
    }
    // not expected, and its number is that of another booking
    deliver(&service, "ticket_status_update", "SURPRISE", |delivery| {
        delivery["TicketInfoes"][0]["TicketNumbers"] = json!(["781-2400000001"]);
    })
    .await;
    deliver(&service, "order_ticketed", "SAME", |_| {}).await;

    let answer = api.get("/v1/reconciliation").await;
    assert_eq!((answer.status, &answer.body["truncated"]), (200, &json!(false)));
    let mut found = differences(&answer.body);
    // announced in one moment
    found[..3].sort_unstable();
    let expected = [
        ["not_ticketed", "=BAD()", "-", "-"],
        ["not_ticketed", "NOTHING", "-", "-"],
        ["not_ticketed", "PENDING", "pending", "-"],
        ["not_expected", "SURPRISE", "ticketed", "-"],
        ["conflict", "CHANGED", "ticketed", "-"],
        ["shared_ticket_number", "SAME", "-", "7812400000001"],
        ["shared_ticket_number", "SURPRISE", "-", "7812400000001"],
    ];
    assert_eq!(found, expected);
    assert_eq!(answer.body["differences"][4]["previous_status"], "failed");

    for (query, count) in [
        ("?environment=test", 0),
        ("?provider=ticket_status_update", 1),
        ("?to=2026-01-02T00:00:00Z&from=2026-01-01T00:00:00Z", 0),
        ("?limit=1", 4),
    ] {
        let answer = api.get(&format!("/v1/reconciliation{query}")).await.body;
        assert_eq!(differences(&answer).len(), count, "{query}");
        assert_eq!(answer["truncated"], query == "?limit=1", "{query}");
    }
    for query in [
        "from=2026-01-01T00:00:00Z&to=2026-01-01T00:00:00Z",
        "from=2026-01-01T00:00:00Z&to=2026-06-01T00:00:00Z",
        "from=yesterday",
        "from=9999-12-31T23:59:59-23:59",
        "provider=nobody",
        "environment=production",
        "limit=0",
        "since=now",
    ] {
        let answer = api.get(&format!("/v1/reconciliation?{query}")).await;
        assert_eq!(answer.status, 400, "{query}: {answer:?}");
    }

    let request = reqwest::Client::new().get(format!("{}/v1/reconciliation", api.url)).bearer_auth(ADMIN_TOKEN);
    let response = request.header("accept", "application/xml, text/csv;q=0.9").send().await.unwrap();
    assert_eq!((response.status().as_u16(), &response.headers()["x-truncated"]), (200, &"false".parse().unwrap()));
    assert_eq!(response.headers()["content-type"], "text/csv; charset=utf-8");
    let csv = response.text().await.unwrap();
    let lines: Vec<_> = csv.split_terminator("\r\n").collect();
    assert_eq!(
        lines[0],
        "kind,provider,environment,booking_ref,status,previous_status,ticket_number,expected_by,event_id,at"
    );
    assert_eq!(lines.len(), 8);
    assert!(lines.iter().any(|line| line.starts_with("not_ticketed,booking_callback,live,'=BAD(),,,,,,20")), "{csv}");
    assert!(
        lines.iter().any(|line| line.starts_with("conflict,booking_callback,live,CHANGED,ticketed,failed,,,0")),
        "{csv}"
    );
}
