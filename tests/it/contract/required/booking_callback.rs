//! `booking_callback`

use serde_json::{Value, json};

use super::{Bench, missing, no_text};
use crate::support::{Provider, provider};

fn this() -> &'static Provider {
    provider("booking_callback")
}

#[tokio::test]
async fn the_booking_id_is_a_string_or_a_number() {
    let bench = Bench::new().await;
    for (sent, kept) in [
        (json!("BK-1"), "BK-1"),
        (json!(12345), "12345"),
        (json!(" 12345678901234567 "), "12345678901234567"),
        (json!(18446744073709551615_u64), "18446744073709551615"),
    ] {
        assert_eq!(bench.event(this(), &[("/BookingId", sent)]).await["booking_ref"], kept);
    }
    for value in missing() {
        assert_eq!(bench.refusal(this(), &[("/BookingId", value)]).await, "BookingId is required");
    }
    for value in no_text() {
        assert_eq!(bench.refusal(this(), &[("/BookingId", value)]).await, "BookingId must be a string");
    }
}

#[tokio::test]
async fn the_passengers_are_required_on_a_success_and_expected_on_anything_else() {
    let bench = Bench::new().await;
    for missing in [json!(null), json!(""), json!("null")] {
        assert_eq!(bench.refusal(this(), &[("/Passengers", missing)]).await, "Passengers is required");
    }
    for (status, kept) in [("Failed", "failed"), ("Aborted", "aborted"), ("On Hold", "pending")] {
        let event = bench.event(this(), &[("/Status", json!(status)), ("/Passengers", json!(null))]).await;
        assert_eq!((&event["status"], &event["passengers"]), (&json!(kept), &json!([])));
        assert_eq!(event["warnings"], json!(["Passengers is missing"]));
    }
    assert_eq!(bench.event(this(), &[("/Passengers", json!([]))]).await["passengers"], json!([]));
}

#[tokio::test]
async fn a_success_means_as_much_as_the_passengers_have_tickets() {
    let bench = Bench::new().await;
    let (with, without) = (json!({"TicketNumber": "098-2412345678"}), json!({"TicketNumber": ""}));
    for (passengers, status) in [
        (json!([with]), "ticketed"),
        (json!([with, with]), "ticketed"),
        (json!([with, without]), "partially_ticketed"),
        (json!([without, {}, with]), "partially_ticketed"),
        (json!([without, {}]), "confirmed"),
        (json!([]), "confirmed"),
    ] {
        let event = bench.event(this(), &[("/Passengers", passengers.clone())]).await;
        assert_eq!(event["status"], status, "{passengers}");
    }
}

#[tokio::test]
async fn each_status_has_its_meaning_in_any_case() {
    let bench = Bench::new().await;
    for (sent, status) in [
        ("Success", "ticketed"),
        ("SUCCESS", "ticketed"),
        (" success ", "ticketed"),
        ("Failed", "failed"),
        ("\tFAILED\n", "failed"),
        ("Aborted", "aborted"),
        ("aborted", "aborted"),
        ("Pending", "pending"),
        ("pENDING", "pending"),
        ("In Process", "pending"),
        (" in process ", "pending"),
        ("On Hold", "pending"),
        ("ON HOLD", "pending"),
    ] {
        let event = bench.event(this(), &[("/Status", json!(sent)), ("/Remark", json!("Fare is gone"))]).await;
        assert_eq!((&event["status"], &event["remark"]), (&json!(status), &json!("Fare is gone")), "{sent:?}");
    }
    for sent in ["Successful", "Fail", "Cancelled", "In", "InProcess", "0", "true", "Success, Failed", "Ѕuccess"] {
        let words = bench.refusal(this(), &[("/Status", json!(sent))]).await;
        assert_eq!(words, "Status must be one of Success, Failed, Aborted, Pending, In Process, On Hold", "{sent}");
    }
    for value in no_text().into_iter().chain([json!(1)]) {
        assert!(bench.refusal(this(), &[("/Status", value)]).await.starts_with("Status must be"));
    }
    for value in missing() {
        assert_eq!(bench.refusal(this(), &[("/Status", value)]).await, "Status is required");
    }
}

#[tokio::test]
async fn no_pnr_is_normal_on_a_failure_and_worth_a_warning_on_a_success() {
    let bench = Bench::new().await;
    for (status, warnings) in [("Failed", json!([])), ("Success", json!(["PNR is missing"]))] {
        for pnr in missing().into_iter().take(3) {
            let event = bench.event(this(), &[("/Status", json!(status)), ("/PNR", pnr)]).await;
            assert_eq!((&event["pnr"], &event["warnings"]), (&Value::Null, &warnings));
        }
    }
}

#[tokio::test]
async fn everything_is_where_consumers_look_for_it() {
    let bench = Bench::new().await;
    let event = bench.event(this(), &[("/GdsPNR", json!(" 7hx2lm ")), ("/PNR", json!("k4t9qz"))]).await;
    assert_eq!((&event["pnr"], &event["gds_pnr"]), (&json!("K4T9QZ"), &json!("7HX2LM")));
    assert_eq!((&event["trace_id"], &event["remark"]), (&json!("trace-1"), &json!("Ticketed")));
    assert_eq!((&event["booking_number"], &event["provider_status"]), (&Value::Null, &Value::Null));
    assert_eq!(event["ticket_numbers"], json!(["0982412345678"]));
    assert_eq!(
        event["passengers"],
        json!([{
            "title": "Mr", "first_name": "Arjun", "last_name": "Mehta",
            "tickets": [{"raw": "098-2412345678", "number": "0982412345678"}]
        }])
    );
    assert_eq!(event["warnings"], json!([]));
}

#[tokio::test]
async fn what_else_is_mandatory_is_only_expected_and_what_is_optional_is_not_even_that() {
    let bench = Bench::new().await;
    for (pointer, warnings) in [
        ("/EndUserIp", json!(["EndUserIp is missing"])),
        ("/TraceId", json!(["TraceId is missing"])),
        ("/PNR", json!(["PNR is missing"])),
        ("/Passengers/0/Title", json!(["passengers[0].Title is missing"])),
        ("/Passengers/0/FirstName", json!(["passengers[0].FirstName is missing"])),
        ("/Passengers/0/LastName", json!(["passengers[0].LastName is missing"])),
        ("/GdsPNR", json!([])),
        ("/Remark", json!([])),
        ("/Passengers/0/TicketNumber", json!([])),
    ] {
        assert_eq!(bench.event(this(), &[(pointer, json!(null))]).await["warnings"], warnings);
    }
    for pointer in ["/PNR", "/GdsPNR", "/TraceId", "/Remark", "/Passengers/0/Title", "/Passengers/0/TicketNumber"] {
        let event = bench.event(this(), &[(pointer, json!({}))]).await;
        let field = pointer.replace("/Passengers/0/", "passengers[0].").replace('/', "");
        let warnings = event["warnings"].as_array().unwrap();
        assert!(warnings.len() == 1 && warnings[0].as_str().unwrap().starts_with(&field), "{field}: {warnings:?}");
    }
}
