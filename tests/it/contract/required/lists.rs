//! Lists that are no lists, and bodies that are no objects.

use serde_json::{Value, json};

use super::{Bench, set};
use crate::support::{PROVIDERS, Provider};

/// Where the passengers stand, and their tickets.
fn lists(provider: &Provider) -> (&'static str, &'static str) {
    match provider.name {
        "ticket_status_update" => ("/TicketInfoes", "TicketNumbers"),
        "booking_callback" => ("/Passengers", "TicketNumber"),
        _ => ("/data/paxTicketInfos", "ticketNos"),
    }
}

fn name(pointer: &str) -> String {
    pointer.trim_start_matches('/').replace('/', ".")
}

#[tokio::test]
async fn whatever_stands_for_a_list_of_passengers_is_read_as_one_with_a_warning() {
    let bench = Bench::new().await;
    for provider in &PROVIDERS {
        let (passengers, tickets) = lists(provider);
        let mut first = (provider.delivery)("main", "").pointer(passengers).unwrap()[0].clone();
        let mut second = first.clone();
        first[tickets] = json!("1");
        second[tickets] = json!("2");
        for (sent, numbers) in [
            (first.clone(), json!(["1"])),
            (json!({"0": first, "2": second}), json!(["1", "2"])),
            (json!({"17": second}), json!(["2"])),
            (json!({"1": second, "0": first}), json!(["2", "1"])),
        ] {
            let event = bench.event(provider, &[(passengers, sent.clone())]).await;
            assert_eq!(event["ticket_numbers"], numbers, "{sent}");
            assert_eq!(event["passengers"].as_array().unwrap().len(), numbers.as_array().unwrap().len());
            let warnings = event["warnings"].as_array().unwrap();
            assert!(warnings.contains(&json!(format!("{} is not an array", name(passengers)))), "{warnings:?}");
        }
    }
}

#[tokio::test]
async fn an_empty_object_is_an_empty_list_and_any_value_a_list_of_one() {
    let bench = Bench::new().await;
    for provider in &PROVIDERS[1..] {
        let (passengers, _) = lists(provider);
        let odd = json!(format!("{} is not an array", name(passengers)));
        let event = bench.event(provider, &[(passengers, json!({}))]).await;
        assert_eq!((&event["passengers"], &event["warnings"]), (&json!([]), &json!([odd])));
        for value in [json!("x"), json!(7), json!(true)] {
            let event = bench.event(provider, &[(passengers, value)]).await;
            assert_eq!((event["passengers"].as_array().unwrap().len(), &event["status"]), (1, &json!("confirmed")));
            let warnings = event["warnings"].as_array().unwrap();
            assert!(warnings.contains(&odd) && warnings.contains(&json!("passengers[0] is not an object")));
        }
    }
    // where a ticket is required
    for value in [json!({}), json!("x"), json!(7), json!(true)] {
        let words = bench.refusal(&PROVIDERS[0], &[("/TicketInfoes", value)]).await;
        assert_eq!(words, r#"["Ticket info not found"]"#);
    }
}

#[tokio::test]
async fn lists_of_texts_are_read_the_same_way() {
    let bench = Bench::new().await;
    for provider in &PROVIDERS {
        let (passengers, tickets) = lists(provider);
        let pointer = format!("{passengers}/0/{tickets}");
        for (sent, numbers, is_odd) in [
            (json!(["1", "2"]), json!(["1", "2"]), false),
            (json!({"0": "1", "5": "2"}), json!(["1", "2"]), true),
            (json!("1"), json!(["1"]), provider.name != "booking_callback"),
            (json!(1), json!(["1"]), provider.name != "booking_callback"),
        ] {
            let event = bench.event(provider, &[(&pointer, sent.clone())]).await;
            assert_eq!(event["ticket_numbers"], numbers, "{sent}");
            let odd = json!([format!("passengers[0].{tickets} is not an array")]);
            assert_eq!(event["warnings"], if is_odd { odd } else { json!([]) }, "{sent}");
        }
    }
}

#[tokio::test]
async fn a_body_must_be_an_object_and_is_kept_when_it_is_none() {
    let bench = Bench::new().await;
    for provider in &PROVIDERS {
        let delivery = bench.delivery(provider, &[]);
        let mut bodies = vec![json!([delivery]).to_string(), json!([json!([]), delivery]).to_string()];
        if provider.name == "ticket_status_update" {
            bodies.extend(["null", "[]", "1", "\"x\"", "true", "\"null\"", "\"[]\""].map(str::to_owned));
        }
        for body in bodies {
            let answer = bench.service.post(provider, body.clone()).await;
            assert_eq!(answer.status, 422, "{body}");
            assert!(answer.body.to_string().contains("must be an object"), "{answer:?}");
            let kept = bench.database.unprocessed().await.pop().unwrap();
            assert_eq!((&kept["reason"], &kept["detail"]), (&json!("invalid"), &json!("body must be an object")));
            let text: Value = serde_json::from_str(&kept["text"].as_str().unwrap().replace("\\\\", "\\")).unwrap();
            assert!(!text.to_string().contains("Password") && !text.to_string().contains("cid"), "{text}");
        }
    }
}

#[tokio::test]
async fn a_body_without_any_required_field_is_invalid_or_not_authenticated() {
    let bench = Bench::new().await;
    for body in ["[]", "1", "\"x\"", "null", "true", "[{}]", "{}", "-1e999", " \n{ } "] {
        for provider in &PROVIDERS {
            // where the credentials stand in the body there are none
            let expected = if provider.name == "ticket_status_update" { 422 } else { 401 };
            assert_eq!(bench.service.post(provider, body).await.status, expected, "{body}");
        }
    }
    let kept = bench.database.unprocessed().await;
    assert_eq!(kept.len(), 9);
    assert!(kept.iter().all(|row| row["reason"] == "invalid"), "{kept:#?}");
    for provider in &PROVIDERS {
        bench.event(provider, &[]).await;
    }
}

#[tokio::test]
async fn lists_and_objects_in_strings_of_json_are_unpacked() {
    let bench = Bench::new().await;
    for provider in &PROVIDERS {
        let (passengers, tickets) = lists(provider);
        let list = (provider.delivery)("main", "").pointer(passengers).unwrap().clone();
        let in_passenger = format!("{passengers}/0/{tickets}");
        for (pointer, value) in [(passengers, list.to_string()), (&in_passenger, json!(["1", "2"]).to_string())] {
            let event = bench.event(provider, &[(pointer, json!(value))]).await;
            assert_eq!(event["status"], "ticketed");
            let warnings = event["warnings"].to_string();
            assert!(warnings.contains("was a string of JSON, which was unpacked"), "{warnings}");
        }
    }
    let mut order = bench.delivery(&PROVIDERS[2], &[]);
    order["data"]["paxTicketInfos"] = json!(order["data"]["paxTicketInfos"].to_string());
    order["data"] = json!(order["data"].to_string());
    let event = bench.event_of(&PROVIDERS[2], &order.to_string()).await;
    assert_eq!(event["ticket_numbers"], json!(["7812400000001"]));
    let unpacked = |path: &str| format!("{path} was a string of JSON, which was unpacked");
    assert_eq!(event["warnings"], json!([unpacked("data"), unpacked("data.paxTicketInfos")]));
}

#[tokio::test]
async fn json_in_a_string_is_unpacked_with_a_warning() {
    let bench = Bench::new().await;
    for provider in &PROVIDERS {
        let delivery = bench.delivery(provider, &[("/Note", json!("é \"x\" \\ /"))]);
        let (once, unpacked) = (json!(delivery.to_string()), "the body was a string of JSON, which was unpacked");
        let event = bench.event_of(provider, &json!(once.to_string()).to_string()).await;
        assert_eq!(event["warnings"], json!([unpacked, unpacked]));
        bench.database.execute("truncate ticket_events cascade").await;
        let event = bench.event_of(provider, &once.to_string()).await;
        assert_eq!(event["status"], "ticketed");
        assert_eq!(event["warnings"], json!([unpacked]));
        let payload: Value = serde_json::from_str(event["payload"].as_str().unwrap()).unwrap();
        assert_eq!(payload["Note"], delivery["Note"]);
        assert!(payload.get("Password").is_none() && payload.get("cid").is_none());
        // wrong credentials in it are wrong ones
        let mut wrong = delivery.clone();
        for member in ["/Password", "/cid"] {
            if wrong.pointer(member).is_some() {
                set(&mut wrong, member, json!("wrong"));
                let answer = bench.service.post(provider, json!(wrong.to_string()).to_string()).await;
                assert_eq!(answer.status, 401);
            }
        }
    }
}
