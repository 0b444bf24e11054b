//! Ticket numbers, in all the ways in which they are written.

use serde_json::{Value, json};

use super::Bench;
use crate::support::{PROVIDERS, Provider, provider};

fn tickets_at(provider: &Provider) -> (&'static str, &'static str, &'static str) {
    match provider.name {
        "ticket_status_update" => ("/TicketInfoes", "/TicketInfoes/0/TicketNumbers", "TicketNumbers"),
        "booking_callback" => ("/Passengers", "/Passengers/0/TicketNumber", "TicketNumber"),
        _ => ("/data/paxTicketInfos", "/data/paxTicketInfos/0/ticketNos", "ticketNos"),
    }
}

/// The numbers of the only passenger, and the warnings less the field's name.
async fn read(bench: &Bench, provider: &Provider, sent: Value) -> (Value, Vec<String>) {
    let (_, pointer, key) = tickets_at(provider);
    let event = bench.event(provider, &[(pointer, sent)]).await;
    let warnings = event["warnings"].as_array().unwrap().iter();
    let warnings = warnings.map(|warning| warning.as_str().unwrap().replace(&format!("passengers[0].{key} "), ""));
    let tickets = &event["passengers"][0]["tickets"];
    let numbers: Vec<_> = tickets.as_array().unwrap().iter().map(|ticket| ticket["number"].clone()).collect();
    assert_eq!(event["ticket_numbers"], json!(numbers));
    (tickets.clone(), warnings.collect())
}

fn plain(raw: &str, number: &str) -> Value {
    json!({"raw": raw, "number": number})
}

#[tokio::test]
async fn words_for_none_are_none_with_a_warning() {
    let bench = Bench::new().await;
    for provider in &PROVIDERS[1..] {
        for word in
            ["0", "NA", "n/a", "null", "NULL", "None", "nil", "Pending", "tba", "-", ".", " N/A ", "--", "\u{2013}"]
        {
            let (tickets, warnings) = read(&bench, provider, json!([word])).await;
            assert_eq!(tickets, json!([]), "{word}");
            assert_eq!(warnings, ["holds a word for none"], "{word}");
        }
        let (tickets, warnings) = read(&bench, provider, json!([0])).await;
        assert_eq!((tickets, warnings), (json!([]), vec!["holds a word for none".to_owned()]));
        let (tickets, warnings) = read(&bench, provider, json!("null")).await;
        assert_eq!((tickets, warnings), (json!([]), vec!["is the word null".to_owned()]));
        for word in ["00", "NAN", "N.A", "TBAX", "1."] {
            assert_eq!(read(&bench, provider, json!([word])).await.0[0]["raw"], *word);
        }
    }
    // where a ticket is required, none is none
    let words = bench.refusal(&PROVIDERS[0], &[("/TicketInfoes/0/TicketNumbers", json!(["PENDING", "0"]))]).await;
    assert_eq!(words, r#"["Ticket info not found"]"#);
}

#[tokio::test]
async fn several_numbers_in_one_string_are_several() {
    let bench = Bench::new().await;
    for provider in &PROVIDERS {
        for text in ["157-1, 1572", "157-1,1572", "157-1;1572", "157-1 | 1572", ",157-1;|1572,", "157-1,1572,157 1"] {
            let (tickets, warnings) = read(&bench, provider, json!([text])).await;
            assert_eq!(tickets, json!([plain("157-1", "1571"), plain("1572", "1572")]), "{text}");
            assert_eq!(warnings, [""; 0]);
        }
        let (tickets, warnings) = read(&bench, provider, json!(["1571, N/A"])).await;
        assert_eq!((tickets, warnings), (json!([plain("1571", "1571")]), vec!["holds a word for none".to_owned()]));
    }
}

#[tokio::test]
async fn a_conjunction_is_every_number_and_the_first_has_what_was_sent() {
    let bench = Bench::new().await;
    for provider in &PROVIDERS {
        for text in ["098-2412345678-79", "098-2412345678/79", "098-2412345678/679", "098 2412345678 / 79"] {
            let (tickets, warnings) = read(&bench, provider, json!([text])).await;
            assert_eq!(tickets, json!([plain(text, "0982412345678"), {"number": "0982412345679"}]), "{text}");
            assert_eq!(warnings, [""; 0]);
        }
        let (tickets, _) = read(&bench, provider, json!("098-2412345678-81")).await;
        let numbers = ["0982412345678", "0982412345679", "0982412345680", "0982412345681"];
        assert_eq!(tickets.as_array().unwrap().iter().map(|ticket| &ticket["number"]).collect::<Vec<_>>(), numbers);
        for (text, number) in [
            ("098-2412345678-82", "098241234567882"),
            ("098-2412345678/99", "0982412345678/99"),
            ("098-2412345678-7", "09824123456787"),
        ] {
            let (tickets, warnings) = read(&bench, provider, json!([text])).await;
            assert_eq!(tickets, json!([plain(text, number)]));
            assert_eq!(warnings, ["holds a number whose suffix makes no range"]);
        }
    }
}

#[tokio::test]
async fn spaces_and_dashes_of_every_kind_are_no_part_of_a_number() {
    let bench = Bench::new().await;
    for provider in &PROVIDERS {
        for text in [
            "157\u{2011}1234567890",
            "157\u{a0}1234\u{2013}567890",
            "157\u{200b}1234567890\u{feff}",
            "157\u{2212}1234567890",
        ] {
            let (tickets, warnings) = read(&bench, provider, json!([text])).await;
            assert_eq!((tickets, warnings), (json!([plain(text, "1571234567890")]), vec![]), "{text:?}");
        }
    }
}

#[tokio::test]
async fn more_tickets_than_anybody_has_are_refused_and_kept() {
    let bench = Bench::new().await;
    for provider in &PROVIDERS {
        let (passengers, pointer, key) = tickets_at(provider);
        let numbers = |count: usize| (0..count).map(|n| format!("157{n:010}")).collect::<Vec<_>>();
        assert_eq!(read(&bench, provider, json!(numbers(64))).await.0.as_array().unwrap().len(), 64);
        // one that is there twice is one
        let mut twice = numbers(64);
        twice.extend(numbers(64));
        assert_eq!(read(&bench, provider, json!(twice)).await.0.as_array().unwrap().len(), 64);
        let words = bench.refusal(provider, &[(pointer, json!(numbers(65)))]).await;
        assert!(words.contains(key) && words.contains("at most 64 ticket numbers"), "{words}");
        let in_one = numbers(65).join(",");
        assert!(bench.refusal(provider, &[(pointer, json!(in_one))]).await.contains("at most 64"));

        let one = (provider.delivery)("main", "").pointer(passengers).unwrap()[0].clone();
        let many = |tickets: usize| {
            let all = numbers(tickets);
            let passengers = all.chunks(50).map(|numbers| {
                let mut passenger = one.clone();
                passenger[key] = json!(numbers);
                passenger
            });
            json!(passengers.collect::<Vec<_>>())
        };
        let event = bench.event(provider, &[(passengers, many(2000))]).await;
        assert_eq!(event["ticket_numbers"].as_array().unwrap().len(), 2000);
        let words = bench.refusal(provider, &[(passengers, many(2001))]).await;
        assert!(words.contains("at most 2000 ticket numbers"), "{words}");
        let kept = bench.database.unprocessed().await;
        assert!(kept.iter().all(|row| row["reason"] == "invalid"));
    }
    assert_eq!(bench.database.unprocessed().await.len(), 9);
}

#[tokio::test]
async fn more_record_locators_than_anybody_has_are_refused_and_kept() {
    let bench = Bench::new().await;
    let locators = |count: usize| (0..count).map(|n| format!("L{n:05}")).collect::<Vec<_>>();
    let orders = provider("order_ticketed");
    let pointer = "/data/paxTicketInfos/0/airlinePNRs";
    let event = bench.event(orders, &[(pointer, json!(locators(64)))]).await;
    assert_eq!(event["airline_pnrs"].as_array().unwrap().len(), 64);
    let words = bench.refusal(orders, &[(pointer, json!(locators(65)))]).await;
    assert!(words.contains("airlinePNRs") && words.contains("at most 64 record locators"), "{words}");
    let one = (orders.delivery)("main", "").pointer("/data/paxTicketInfos/0").unwrap().clone();
    let all = locators(2001);
    let passengers = all.chunks(60).map(|locators| {
        let mut passenger = one.clone();
        passenger["airlinePNRs"] = json!(locators);
        passenger
    });
    let passengers = json!(passengers.collect::<Vec<_>>());
    let words = bench.refusal(orders, &[("/data/paxTicketInfos", passengers)]).await;
    assert!(words.contains("at most 2000 record locators"), "{words}");
    let updates = provider("ticket_status_update");
    let words = bench.refusal(updates, &[("/AirlinesPNR", json!(locators(65).join(", ")))]).await;
    assert!(words.contains("at most 64 record locators"), "{words}");
}
