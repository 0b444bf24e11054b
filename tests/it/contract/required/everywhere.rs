//! What holds for every field of every provider.

use serde_json::{Value, json};

use super::{Bench, set};
use crate::support::{PROVIDERS, Provider};

/// Where a provider has what all of them have, and where the event has it.
struct Places {
    reference: &'static str,
    passengers: &'static str,
    /// Within a passenger.
    tickets: &'static str,
    /// Texts: the provider's place, the event's, and the name in warnings.
    texts: &'static [(&'static str, &'static str, &'static str)],
    /// A record locator, and the event's place.
    locator: (&'static str, &'static str),
}

fn places(provider: &Provider) -> Places {
    match provider.name {
        "ticket_status_update" => Places {
            reference: "/BookingTransactionRef",
            passengers: "/TicketInfoes",
            tickets: "/TicketNumbers",
            texts: &[
                ("/BookingTransactionRef", "/booking_ref", "BookingTransactionRef"),
                ("/BookingRefNumber", "/booking_number", "BookingRefNumber"),
                (
                    "/TicketInfoes/0/PassengerInfo/NameElement/FirstName",
                    "/passengers/0/first_name",
                    "passengers[0].FirstName",
                ),
                (
                    "/TicketInfoes/0/PassengerInfo/NameElement/LastName",
                    "/passengers/0/last_name",
                    "passengers[0].LastName",
                ),
                ("/TicketInfoes/0/TicketNumbers/0", "/passengers/0/tickets/0/raw", "passengers[0].TicketNumbers"),
            ],
            locator: ("/PNR", "/pnr"),
        },
        "booking_callback" => Places {
            reference: "/BookingId",
            passengers: "/Passengers",
            tickets: "/TicketNumber",
            texts: &[
                ("/BookingId", "/booking_ref", "BookingId"),
                ("/Remark", "/remark", "Remark"),
                ("/TraceId", "/trace_id", "TraceId"),
                ("/Passengers/0/Title", "/passengers/0/title", "passengers[0].Title"),
                ("/Passengers/0/LastName", "/passengers/0/last_name", "passengers[0].LastName"),
                ("/Passengers/0/TicketNumber", "/passengers/0/tickets/0/raw", "passengers[0].TicketNumber"),
            ],
            locator: ("/GdsPNR", "/gds_pnr"),
        },
        _ => Places {
            reference: "/data/orderNo",
            passengers: "/data/paxTicketInfos",
            tickets: "/ticketNos",
            texts: &[
                ("/data/orderNo", "/booking_ref", "data.orderNo"),
                ("/status", "/provider_status", "status"),
                ("/data/paxTicketInfos/0/name", "/passengers/0/last_name", "passengers[0].name"),
                ("/data/paxTicketInfos/0/cardType", "/passengers/0/document/type", "passengers[0].cardType"),
                ("/data/paxTicketInfos/0/cardNum", "/passengers/0/document/number", "passengers[0].cardNum"),
                ("/data/paxTicketInfos/0/ticketNos/0", "/passengers/0/tickets/0/raw", "passengers[0].ticketNos"),
            ],
            locator: ("/data/paxTicketInfos/0/airlinePNRs/0", "/airline_pnrs/0"),
        },
    }
}

fn at<'a>(event: &'a Value, pointer: &str) -> &'a Value {
    event.pointer(pointer).unwrap_or_else(|| panic!("no {pointer} in {event:#}"))
}

#[tokio::test]
async fn texts_are_trimmed() {
    let bench = Bench::new().await;
    for provider in &PROVIDERS {
        for (place, column, _) in places(provider).texts {
            let event = bench.event(provider, &[(place, json!(" \t va lue\u{a0}\r\n"))]).await;
            assert_eq!(at(&event, column), "va lue", "{place}");
            assert_eq!(event["warnings"], json!([]));
        }
    }
}

#[tokio::test]
async fn a_number_is_taken_as_its_digits() {
    const NUMBERS: [&str; 5] = ["1234567890123456789012345678901234567890", "9007199254740993", "7", "-7", "1.50"];
    let bench = Bench::new().await;
    for provider in &PROVIDERS {
        let reference = places(provider).reference;
        let delivery = bench.delivery(provider, &[(reference, json!("DIGITS"))]).to_string();
        let too_long = delivery.replace("\"DIGITS\"", &"9".repeat(256));
        assert_eq!(bench.service.post(provider, too_long).await.status, 422);
        for (place, column, _) in places(provider).texts {
            let of_a_reference = ["18446744073709551616", "-0", "1.0", "1e3"].iter().filter(|_| *place == reference);
            for digits in of_a_reference.chain(&NUMBERS) {
                let delivery = bench.delivery(provider, &[(place, json!("DIGITS"))]).to_string();
                let event = bench.event_of(provider, &delivery.replace("\"DIGITS\"", digits)).await;
                assert_eq!(at(&event, column), *digits, "{place}");
                assert_eq!(event["warnings"], json!([]));
                // the bookings differ only where the reference is what is changed
                bench.database.execute("delete from ticket_events").await;
            }
        }
    }
}

#[tokio::test]
async fn nul_characters_are_removed_with_a_warning() {
    let bench = Bench::new().await;
    for provider in &PROVIDERS {
        for (place, column, name) in places(provider).texts {
            let event = bench.event(provider, &[(place, json!("\0 be\0fore\0 \0"))]).await;
            assert_eq!(at(&event, column), "before", "{place}");
            assert_eq!(event["warnings"], json!([format!("{name} held NUL characters, which were removed")]));
            assert!(event["payload"].as_str().unwrap().contains(r"be\u0000fore"), "it is kept as it was sent");
            bench.database.execute("delete from ticket_events").await;
        }
    }
}

#[tokio::test]
async fn null_counts_as_missing() {
    let bench = Bench::new().await;
    for provider in &PROVIDERS {
        for (place, _, _) in places(provider).texts.iter().skip(1) {
            let (parent, key) = place.rsplit_once('/').unwrap();
            let mut delivery = bench.delivery(provider, &[(place, json!(null))]);
            // what is recorded must differ in nothing but its payload
            set(&mut delivery, places(provider).reference, json!("the same"));
            if delivery.pointer(parent).is_some_and(Value::is_array) {
                continue;
            }
            let mut with_null = bench.event_of(provider, &delivery.to_string()).await;
            bench.database.execute("delete from ticket_events").await;
            delivery.pointer_mut(parent).unwrap().as_object_mut().unwrap().shift_remove(key);
            let mut without = bench.event_of(provider, &delivery.to_string()).await;
            bench.database.execute("delete from ticket_events").await;
            assert_ne!(with_null["payload"].take(), without["payload"].take());
            let is_volatile = *place == "/TraceId" || *place == "/status";
            assert_eq!(with_null["content_hash"].take() == without["content_hash"].take(), is_volatile, "{place}");
            assert_eq!(with_null, without, "{place}");
        }
    }
}

#[tokio::test]
async fn unknown_fields_are_kept_and_are_no_error() {
    let bench = Bench::new().await;
    for provider in &PROVIDERS {
        let in_passenger = format!("{}/0/SeatNumber", places(provider).passengers);
        let (anything, seat) = (json!({"deep": [1, {"er": null}]}), json!("12A"));
        let event = bench.event(provider, &[("/Unknown", anything.clone()), (&in_passenger, seat.clone())]).await;
        assert_eq!(event["warnings"], json!([]));
        let payload: Value = serde_json::from_str(event["payload"].as_str().unwrap()).unwrap();
        assert_eq!((at(&payload, "/Unknown"), at(&payload, &in_passenger)), (&anything, &seat));
    }
}

#[tokio::test]
async fn record_locators_are_upper_case() {
    let bench = Bench::new().await;
    for provider in &PROVIDERS {
        let (place, column) = places(provider).locator;
        assert_eq!(at(&bench.event(provider, &[(place, json!(" q1w2e3 "))]).await, column), "Q1W2E3");
    }
}

#[tokio::test]
async fn no_form_of_a_ticket_number_is_refused() {
    let bench = Bench::new().await;
    for provider in &PROVIDERS {
        let place = format!("{}/0{}", places(provider).passengers, places(provider).tickets);
        for (raw, number) in [
            ("ETKT1234567890", "ETKT1234567890"),
            ("etkt 1234-567-890", "ETKT1234567890"),
            ("157-1234567890", "1571234567890"),
            ("1571234567890", "1571234567890"),
            ("S30814", "S30814"),
            ("?", "?"),
            ("票号", "票号"),
            ("<b>\"':--", "<B>\"':"),
            (&"9".repeat(3000), &"9".repeat(3000)),
        ] {
            let event = bench.event(provider, &[(&place, json!([raw]))]).await;
            assert_eq!(event["passengers"][0]["tickets"], json!([{"raw": raw, "number": number}]));
            assert_eq!((&event["ticket_numbers"], &event["status"]), (&json!([number]), &json!("ticketed")));
            assert_eq!(event["warnings"], json!([]));
        }
    }
}

#[tokio::test]
async fn ticket_numbers_stand_once_with_each_passenger_and_once_on_the_booking() {
    let bench = Bench::new().await;
    for provider in &PROVIDERS {
        let places = places(provider);
        let mut first = bench.delivery(provider, &[]).pointer(places.passengers).unwrap()[0].clone();
        let mut second = first.clone();
        set(&mut first, places.tickets, json!(["157-2", " 1572", "157 2", "157-1", 1571, null, ""]));
        set(&mut second, places.tickets, json!(["1571", "157-3", "157-2"]));
        let event = bench.event(provider, &[(places.passengers, json!([first, second]))]).await;
        let ticket = |raw: &str, number: &str| json!({"raw": raw, "number": number});
        assert_eq!(event["passengers"][0]["tickets"], json!([ticket("157-2", "1572"), ticket("157-1", "1571")]));
        assert_eq!(
            event["passengers"][1]["tickets"],
            json!([ticket("1571", "1571"), ticket("157-3", "1573"), ticket("157-2", "1572")])
        );
        assert_eq!(event["ticket_numbers"], json!(["1572", "1571", "1573"]));
    }
}

#[tokio::test]
async fn of_a_repeated_key_the_last_counts_with_a_warning() {
    let bench = Bench::new().await;
    for provider in &PROVIDERS {
        for (place, column, name) in places(provider).texts {
            let (_, key) = place.rsplit_once('/').unwrap();
            if key == "0" {
                continue;
            }
            let delivery = bench.delivery(provider, &[(place, json!("VALUE"))]).to_string();
            let delivery = delivery.replace("\"VALUE\"", &format!("\"first\",\"{key}\":\"last\""));
            let event = bench.event_of(provider, &delivery).await;
            assert_eq!(at(&event, column), "last");
            assert_eq!(event["warnings"], json!([format!("{name} occurs more than once; the last one counts")]));
            bench.database.execute("delete from ticket_events").await;
        }
    }
}

#[tokio::test]
async fn a_repeated_list_is_warned_of_once() {
    let bench = Bench::new().await;
    let provider = &PROVIDERS[2];
    for key in ["airlinePNRs", "ticketNos"] {
        let place = format!("/data/paxTicketInfos/0/{key}");
        let delivery = bench.delivery(provider, &[(&place, json!("VALUE"))]).to_string();
        let delivery = delivery.replace("\"VALUE\"", &format!("[\"first\"],\"{key}\":[\"last\"]"));
        let event = bench.event_of(provider, &delivery).await;
        let warning = format!("passengers[0].{key} occurs more than once; the last one counts");
        assert_eq!(event["warnings"], json!([warning]));
    }
}
