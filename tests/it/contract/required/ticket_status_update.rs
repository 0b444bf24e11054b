//! `ticket_status_update`

use serde_json::{Value, json};

use super::{Bench, missing, no_text};
use crate::support::{Provider, provider};

const REF: &str = "/BookingTransactionRef";
const TICKETS: &str = "/TicketInfoes/0/TicketNumbers";

fn this() -> &'static Provider {
    provider("ticket_status_update")
}

#[tokio::test]
async fn the_reference_is_a_non_empty_string_or_a_number() {
    let bench = Bench::new().await;
    for (sent, kept) in [
        (json!("NZ48980452471047237"), "NZ48980452471047237"),
        (json!("  nz-1 "), "nz-1"),
        (json!(48980452471047237_u64), "48980452471047237"),
        (json!(0), "0"),
        (json!(-5), "-5"),
        (json!("x".repeat(255)), &*"x".repeat(255)),
    ] {
        assert_eq!(bench.event(this(), &[(REF, sent)]).await["booking_ref"], kept);
    }
    for value in missing() {
        let words = bench.refusal(this(), &[(REF, value)]).await;
        assert_eq!(words, r#"["The unique trans id field is required."]"#);
    }
    for value in no_text().into_iter().chain([json!("x".repeat(256))]) {
        let words = bench.refusal(this(), &[(REF, value)]).await;
        assert!(words.starts_with(r#"["The unique trans id field must be"#), "{words}");
    }
}

#[tokio::test]
async fn there_is_a_list_with_at_least_one_ticket() {
    let bench = Bench::new().await;
    let words = bench.refusal(this(), &[("/TicketInfoes", Value::Null)]).await;
    assert_eq!(words, r#"["The ticket infoes field is required."]"#);
    for value in [
        json!([]),
        json!([null]),
        json!([{}]),
        json!(["ETKT1"]),
        json!([{"TicketNumbers": null}]),
        json!([{"TicketNumbers": []}, {"TicketNumbers": ["", " ", null, "-", "\0", {}]}]),
    ] {
        assert_eq!(bench.refusal(this(), &[("/TicketInfoes", value)]).await, r#"["Ticket info not found"]"#);
    }
    for value in [json!(["1"]), json!([7]), json!("1"), json!([null, "", "1"])] {
        assert_eq!(bench.event(this(), &[(TICKETS, value)]).await["status"], "ticketed");
    }
}

#[tokio::test]
async fn it_is_partially_ticketed_when_some_passenger_has_none() {
    let bench = Bench::new().await;
    let ticketed = json!({"TicketNumbers": ["1", "2"]});
    for (passengers, status) in [
        (json!([ticketed]), "ticketed"),
        (json!([ticketed, ticketed]), "ticketed"),
        (json!([ticketed, {}]), "partially_ticketed"),
        (json!([{"TicketNumbers": [" "]}, ticketed, ticketed]), "partially_ticketed"),
        (json!([ticketed, "who?"]), "partially_ticketed"),
        (json!([ticketed, null]), "ticketed"),
    ] {
        let event = bench.event(this(), &[("/TicketInfoes", passengers.clone())]).await;
        assert_eq!(event["status"], status, "{passengers}");
    }
}

#[tokio::test]
async fn the_airlines_locators_are_a_list_in_a_string() {
    let bench = Bench::new().await;
    for (sent, kept) in [
        (json!("LMN456, XYZ789"), json!(["LMN456", "XYZ789"])),
        (json!("a1,b2;c3|d4 e5\tf6\ng7 ,;| ,a1 A1"), json!(["A1", "B2", "C3", "D4", "E5", "F6", "G7"])),
        (json!("LMN456"), json!(["LMN456"])),
        (json!(["lmn456", "XYZ789 lmn456"]), json!(["LMN456", "XYZ789"])),
        (json!(123456), json!(["123456"])),
        (json!(" ,; "), json!([])),
        (json!(null), json!([])),
    ] {
        let event = bench.event(this(), &[("/AirlinesPNR", sent)]).await;
        assert_eq!(event["airline_pnrs"], kept);
        assert_eq!(event["pnr"], "ABC123");
        assert_eq!(event["gds_pnr"], Value::Null);
    }
}

#[tokio::test]
async fn the_document_number_stands_in_one_of_two_places() {
    let bench = Bench::new().await;
    let in_name = "/TicketInfoes/0/PassengerInfo/NameElement/DocumentNumber";
    let in_document = "/TicketInfoes/0/PassengerInfo/DocumentInfo";
    let document = |number: &str| json!({"number": number});
    for (name, info, kept) in [
        (json!("A1234567"), json!(null), document("A1234567")),
        (json!(null), json!({"DocumentNumber": "B7654321"}), document("B7654321")),
        (json!(""), json!({"DocumentNumber": 7654321}), document("7654321")),
        (json!("A1"), json!({"DocumentNumber": "B2"}), document("A1")),
        (json!(null), json!(null), json!(null)),
        (json!(null), json!({}), json!(null)),
    ] {
        let event = bench.event(this(), &[(in_name, name), (in_document, info)]).await;
        assert_eq!(event["passengers"][0]["document"], kept);
        let missing = json!(["passengers[0].DocumentNumber is missing"]);
        assert_eq!(event["warnings"], if kept.is_null() { missing } else { json!([]) });
    }
}

#[tokio::test]
async fn everything_is_where_consumers_look_for_it() {
    let bench = Bench::new().await;
    let passenger = json!({
        "PassengerInfo": {"NameElement": {
            "Title": "Ms", "FirstName": " Jane ", "MiddleName": "Q", "LastName": "Smith", "DocumentNumber": "A1"
        }},
        "TicketNumbers": ["ETKT9876543210", "etkt-9876543211"]
    });
    let event = bench.event(this(), &[("/TicketInfoes", json!([passenger])), ("/PNR", json!("abc123"))]).await;
    assert_eq!(event["booking_number"], "NZ-2026-0001");
    assert_eq!(event["pnr"], "ABC123");
    assert_eq!(event["ticket_numbers"], json!(["ETKT9876543210", "ETKT9876543211"]));
    assert_eq!(
        event["passengers"],
        json!([{
            "title": "Ms", "first_name": "Jane", "middle_name": "Q", "last_name": "Smith",
            "document": {"number": "A1"},
            "tickets": [
                {"raw": "ETKT9876543210", "number": "ETKT9876543210"},
                {"raw": "etkt-9876543211", "number": "ETKT9876543211"}
            ]
        }])
    );
    for column in ["gds_pnr", "trace_id", "provider_status", "remark"] {
        assert_eq!(event[column], Value::Null);
    }
    assert_eq!(event["warnings"], json!([]));
}

#[tokio::test]
async fn nothing_else_is_required() {
    let bench = Bench::new().await;
    let least = r#"{"BookingTransactionRef": "least", "TicketInfoes": [{"TicketNumbers": ["1"]}]}"#;
    let event = bench.event_of(this(), least).await;
    assert_eq!(event["status"], "ticketed");
    assert_eq!(
        event["warnings"],
        json!([
            "passengers[0].DocumentNumber is missing",
            "passengers[0].FirstName is missing",
            "passengers[0].LastName is missing",
            "PNR is missing",
            "BookingRefNumber is missing"
        ])
    );
    let odd = r#"{"BookingTransactionRef": "odd", "PNR": [], "AirlinesPNR": {}, "BookingRefNumber": false,
                  "TicketInfoes": [{"PassengerInfo": 7, "TicketNumbers": ["1", true]}, 5]}"#;
    let event = bench.event_of(this(), odd).await;
    assert_eq!(event["status"], "partially_ticketed");
    let warnings: Vec<_> = event["warnings"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    for odd in ["PNR", "AirlinesPNR", "BookingRefNumber", "PassengerInfo", "TicketNumbers", "passengers[1]"] {
        assert!(warnings.iter().any(|text| text.contains(odd)), "nothing about {odd}: {warnings:#?}");
    }
}
