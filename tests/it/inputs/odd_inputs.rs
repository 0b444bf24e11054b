//! What no provider documents and some will send one day: never an answer of 5xx, never a hang, never the end.

mod wire;

use serde_json::{Value, json};

use crate::support::{Answer, Database, PROVIDERS, Provider, Service};

/// A delivery with text put in the place of JSON values.
fn with(provider: &Provider, booking: &str, edits: &[(&str, &str)]) -> String {
    let mut delivery = (provider.delivery)("main", booking);
    for (n, (pointer, _)) in edits.iter().enumerate() {
        *delivery.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}")) = json!(format!("<{n}>"));
    }
    let mut text = delivery.to_string();
    for (n, (_, value)) in edits.iter().enumerate() {
        text = text.replace(&format!("\"<{n}>\""), value);
    }
    text
}

fn reference(provider: &Provider) -> &'static str {
    match provider.name {
        "ticket_status_update" => "/BookingTransactionRef",
        "booking_callback" => "/BookingId",
        _ => "/data/orderNo",
    }
}

fn passengers(provider: &Provider) -> &'static str {
    match provider.name {
        "ticket_status_update" => "/TicketInfoes",
        "booking_callback" => "/Passengers",
        _ => "/data/paxTicketInfos",
    }
}

/// Where every text of a delivery stands, the credentials and what decides aside.
fn texts(value: &Value, pointer: &str) -> Vec<String> {
    let fixed = ["ClientId", "UserName", "Password", "cid", "type", "Status", "orderStatus"];
    match value {
        Value::Object(members) => {
            let members = members.iter().filter(|(key, _)| !fixed.contains(&key.as_str()));
            members.flat_map(|(key, value)| texts(value, &format!("{pointer}/{key}"))).collect()
        }
        Value::Array(elements) => {
            let elements = elements.iter().enumerate();
            elements.flat_map(|(n, value)| texts(value, &format!("{pointer}/{n}"))).collect()
        }
        Value::String(_) => vec![pointer.to_owned()],
        _ => Vec::new(),
    }
}

/// The columns of every event, less the payload, which `jsonb` does not always take.
async fn events(database: &Database) -> Vec<Value> {
    let columns = "provider, booking_ref, status, pnr, remark, passengers, ticket_numbers, warnings";
    database.rows(&format!("select {columns}, payload::text as payload from ticket_events order by sequence")).await
}

/// It still takes deliveries.
async fn assert_alive(service: &Service) {
    for provider in &PROVIDERS {
        let answer = service.post(provider, (provider.delivery)("main", "the next one").to_string()).await;
        assert_eq!(answer.status, 200);
    }
}

async fn post_with(service: &Service, provider: &Provider, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
    let mut request = service.request("POST", provider.path).body(body);
    if let Some(authorization) = (provider.authorization)("main") {
        request = request.header("authorization", authorization.as_bytes());
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Answer::of(request).await
}

#[tokio::test]
async fn characters_of_every_kind_arrive_as_they_were_sent() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let names = [
        "O'Neil \"Bob\" \\ Smith",
        "<script>alert(1)</script>&amp;",
        "'; drop table ticket_events; --",
        "محمد",
        "张伟",
        "Ṩṁïťh\u{301}",
        "👩‍👩‍👧 😀",
        "\u{202e}reversed\u{202c}",
        "{}\",[]\\n%s%n$1{0}",
        "line\nfeed\ttab\u{7f}\u{85}\u{2028}end",
    ];
    for provider in &PROVIDERS {
        let name = match provider.name {
            "ticket_status_update" => "/TicketInfoes/0/PassengerInfo/NameElement/LastName",
            "booking_callback" => "/Passengers/0/LastName",
            _ => "/data/paxTicketInfos/0/cardIssuePlace",
        };
        for text in names {
            let body = with(provider, text, &[(name, &json!(text).to_string())]);
            assert_eq!(service.post(provider, body).await.status, 200, "{text:?}");
            let event = events(&database).await.pop().unwrap();
            let passenger = &event["passengers"][0];
            let seen = if provider.name == "order_ticketed" {
                &passenger["document"]["issued_by"]
            } else {
                &passenger["last_name"]
            };
            assert_eq!((seen, &event["booking_ref"]), (&json!(text), &json!(text)));
            assert_eq!(event["warnings"], json!([]));
        }
    }
}

#[tokio::test]
async fn lone_surrogates_and_nul_characters_do_not_make_a_delivery_fail_wherever_they_stand() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let odd = r#""\ud800a\u0000b\udc00""#;
    for provider in &PROVIDERS {
        for pointer in texts(&(provider.delivery)("main", "B"), "") {
            let body = with(provider, &pointer, &[(&pointer, odd)]);
            assert_eq!(service.post(provider, body).await.status, 200, "{pointer}");
            let event = events(&database).await.pop().unwrap();
            assert!(event["payload"].as_str().unwrap().contains(odd), "{pointer}");
            assert!(!event["passengers"].to_string().contains("\\u0000"), "{pointer}");
        }
        // in keys, too
        let delivery = (provider.delivery)("main", "keys").to_string();
        let body = delivery.replacen('{', &format!("{{{odd}:{odd},"), 1);
        assert_eq!(service.post(provider, body).await.status, 200);
    }
    assert_alive(&service).await;
}

#[tokio::test]
async fn a_text_of_any_length_is_taken_and_only_a_reference_is_bounded() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    for provider in &PROVIDERS {
        for pointer in texts(&(provider.delivery)("main", "B"), "") {
            for length in [300, 50_000] {
                // nothing that compresses well, as an index of Postgres could take that in
                let text: String = (0..length).map(|n: u32| char::from_digit(n * n / 7 % 36, 36).unwrap()).collect();
                let body = with(provider, &format!("{pointer} {length}"), &[(&pointer, &json!(text).to_string())]);
                let answer = service.post(provider, body).await;
                let is_reference = pointer == reference(provider);
                assert_eq!(answer.status, if is_reference { 422 } else { 200 }, "{pointer}");
                if is_reference {
                    assert!(answer.body.to_string().contains("must be at most 255 characters long"), "{answer:?}");
                }
            }
        }
        let (long, wide) = ("x".repeat(255), "😀".repeat(255));
        for reference in [long, wide] {
            let answer = service.post(provider, (provider.delivery)("main", &reference).to_string()).await;
            assert_eq!(answer.status, 200);
        }
    }
    assert_alive(&service).await;
}

#[tokio::test]
async fn a_booking_of_300_passengers_is_one_event() {
    let database = Database::new().await;
    let service = Service::start(&database, &[("TICKET_WEBHOOKS__DATABASE__WRITE_TIMEOUT_MS", "20000")]).await;
    for provider in &PROVIDERS {
        let one = (provider.delivery)("main", "B1").pointer(passengers(provider)).unwrap()[0].to_string();
        let old = ["ETKT9876543210", "098-2412345678", "781-2400000001"];
        let many = (0..300).map(|n| old.iter().fold(one.clone(), |text, old| text.replace(old, &format!("157-{n}"))));
        let many = format!("[{}]", many.collect::<Vec<_>>().join(","));
        assert_eq!(service.post(provider, with(provider, "B1", &[(passengers(provider), &many)])).await.status, 200);
        let event = events(&database).await.pop().unwrap();
        assert_eq!(event["passengers"].as_array().unwrap().len(), 300);
        assert_eq!(event["ticket_numbers"].as_array().unwrap().len(), 300);
        assert_eq!(event["status"], "ticketed");
        let too_many = format!("[{}]", vec!["{}"; 100_000 / 2].join(","));
        let answer = service.post(provider, with(provider, "B2", &[(passengers(provider), &too_many)])).await;
        assert_eq!(answer.status, 422);
    }
}

#[tokio::test]
async fn what_is_no_json_is_refused() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let delivery = |provider: &Provider| (provider.delivery)("main", "B1").to_string();
    let nested = |levels: usize| format!("{}{}", "{\"a\":[".repeat(levels / 2), "]}".repeat(levels / 2));
    for provider in &PROVIDERS {
        let bodies: [(&str, Vec<u8>); 12] = [
            ("empty", Vec::new()),
            ("white space", b" \r\n\t".to_vec()),
            ("only a byte order mark", b"\xef\xbb\xbf".to_vec()),
            ("UTF-16 without a mark", delivery(provider).encode_utf16().flat_map(u16::to_le_bytes).collect()),
            ("cut off", delivery(provider)[..18].into()),
            ("two documents", delivery(provider).repeat(2).into()),
            ("something behind it", (delivery(provider) + "x").into()),
            ("a control character", with(provider, "B1", &[(reference(provider), "\"a\u{1}b\"")]).into()),
            ("10,000 levels", nested(10_000).into()),
            ("10,000 levels in a field", with(provider, "B1", &[(reference(provider), &nested(10_000))]).into()),
            ("10,000 levels without an end", "[".repeat(10_000).into()),
            ("a form", b"BookingId=1&cid=2".to_vec()),
        ];
        for (what, body) in bodies {
            let answer = post_with(&service, provider, &[], body).await;
            let expected = if provider.name == "ticket_status_update" { 422 } else { 400 };
            assert_eq!(answer.status, expected, "{what}: {answer:?}");
        }
    }
    let kept = database
        .rows("select reason, provider, sum(delivery_count) as n from unprocessed_deliveries group by 1, 2 order by 2")
        .await;
    let row = |provider: &str, n: u32| json!({"reason": "malformed", "provider": provider, "n": n});
    assert_eq!(kept, [row("booking_callback", 4), row("order_ticketed", 4), row("ticket_status_update", 12)]);
    assert_alive(&service).await;
}

#[tokio::test]
async fn json_that_is_only_unusual_is_taken() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    for provider in &PROVIDERS {
        let delivery = |booking: &str| (provider.delivery)("main", booking).to_string();
        let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
        for (n, body) in [
            format!("\u{feff}{}", delivery("0")),
            serde_json::to_string_pretty(&(provider.delivery)("main", "1")).unwrap().replace('\n', "\r\n"),
            delivery("2").replacen('{', &format!("{{\"deep\":{deep},"), 1),
            delivery("3").replacen(
                '{',
                "{\"\":0,\"\":1,\"a\":1e999,\"a\":-0.0,\"b\":123456789012345678901234567890,",
                1,
            ),
            delivery("4").replace('/', "\\/").replace("\"4\"", "\"\\u0034\""),
            delivery("5").replacen('{', &format!("{{\"large\":\"{}\",", "y".repeat(200_000)), 1),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(service.post(provider, body).await.status, 200, "{} {n}", provider.name);
            assert_eq!(events(&database).await.pop().unwrap()["booking_ref"], n.to_string());
        }
    }
}
