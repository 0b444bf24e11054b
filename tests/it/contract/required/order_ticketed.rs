//! `order_ticketed`

use serde_json::{Value, json};

use super::{Bench, missing, no_text};
use crate::support::{Provider, provider};

const PASSENGER: &str = "/data/paxTicketInfos/0";

fn this() -> &'static Provider {
    provider("order_ticketed")
}

/// The first passenger of a delivery in which a field of theirs is changed, and the warnings.
async fn passenger(bench: &Bench, field: &str, value: Value) -> (Value, Value) {
    let event = bench.event(this(), &[(&format!("{PASSENGER}/{field}"), value)]).await;
    (event["passengers"][0].clone(), event["warnings"].clone())
}

#[tokio::test]
async fn type_and_three_members_of_data_are_required() {
    let bench = Bench::new().await;
    for (pointer, field) in [
        ("/type", "type"),
        ("/data/orderNo", "data.orderNo"),
        ("/data/orderStatus", "data.orderStatus"),
        ("/data/paxTicketInfos", "data.paxTicketInfos"),
    ] {
        let words = bench.refusal(this(), &[(pointer, json!(null))]).await;
        assert_eq!(words, format!("{field} is required"));
        for value in no_text().into_iter().filter(|_| !pointer.ends_with("Infos")) {
            let words = bench.refusal(this(), &[(pointer, value)]).await;
            assert!(words.starts_with(&format!("{field} must be ")), "{words}");
        }
    }
    for value in missing() {
        assert_eq!(bench.refusal(this(), &[("/data/orderNo", value)]).await, "data.orderNo is required");
    }
    for data in [json!(null), json!([]), json!("x"), json!({})] {
        let words = bench.refusal(this(), &[("/data", data)]).await;
        assert_eq!(words, "data.orderNo is required; data.orderStatus is required; data.paxTicketInfos is required");
    }
    let event = bench.event(this(), &[("/data/orderNo", json!(20230922153224323_u64))]).await;
    assert_eq!(event["booking_ref"], "20230922153224323");
}

#[tokio::test]
async fn the_order_status_is_an_integer_or_a_string_of_one() {
    let bench = Bench::new().await;
    for (sent, status) in [
        (json!(2), "ticketed"),
        (json!("2"), "ticketed"),
        (json!(" 2 "), "ticketed"),
        (json!(0), "pending"),
        (json!(1), "pending"),
        (json!("1"), "pending"),
        (json!(-3), "cancelled"),
        (json!("-3"), "cancelled"),
    ] {
        assert_eq!(bench.event(this(), &[("/data/orderStatus", sent.clone())]).await["status"], status, "{sent}");
    }
    for sent in [
        json!(3),
        json!(-1),
        json!(-2),
        json!(20),
        json!("two"),
        json!("2x"),
        json!(u64::MAX),
        json!(2.0),
        json!(true),
        json!([2]),
        json!({}),
        json!("2.0"),
    ] {
        let words = bench.refusal(this(), &[("/data/orderStatus", sent)]).await;
        assert_eq!(words, "data.orderStatus must be one of the integers 2, 1, 0, -3");
    }
}

#[tokio::test]
async fn a_ticketed_order_means_as_much_as_the_passengers_have_tickets() {
    let bench = Bench::new().await;
    let (with, without) = (json!({"ticketNos": ["781-2400000001"]}), json!({"ticketNos": []}));
    for (passengers, status) in [
        (json!([with, with]), "ticketed"),
        (json!([with, without]), "partially_ticketed"),
        (json!([without, {}]), "confirmed"),
        (json!([]), "confirmed"),
    ] {
        let event = bench.event(this(), &[("/data/paxTicketInfos", passengers.clone())]).await;
        assert_eq!(event["status"], status, "{passengers}");
    }
}

#[tokio::test]
async fn the_status_at_the_top_is_stored_and_decides_nothing() {
    let bench = Bench::new().await;
    for (sent, stored, warnings) in [
        (json!(-1), json!("-1"), json!([])),
        (json!(0), json!("0"), json!([])),
        (json!("error"), json!("error"), json!([])),
        (json!(null), json!(null), json!(["status is missing"])),
        (json!([-1]), json!(null), json!(["status is not a string"])),
    ] {
        let event = bench.event(this(), &[("/status", sent)]).await;
        assert_eq!((&event["status"], &event["provider_status"]), (&json!("ticketed"), &stored));
        assert_eq!(event["warnings"], warnings);
    }
}

#[tokio::test]
async fn a_name_is_last_slash_first_middle() {
    let bench = Bench::new().await;
    for (sent, last, first, middle) in [
        ("zhang/lisi", json!("zhang"), json!("lisi"), json!(null)),
        ("ZHANG/LI SI", json!("ZHANG"), json!("LI"), json!("SI")),
        ("VAN DER BERG/ANNA MARIA LUISE", json!("VAN DER BERG"), json!("ANNA"), json!("MARIA LUISE")),
        (" zhang / lisi ", json!("zhang"), json!("lisi"), json!(null)),
        ("zhang lisi", json!("zhang lisi"), json!(null), json!(null)),
        ("zhang/", json!("zhang"), json!(null), json!(null)),
        ("/lisi", json!(null), json!("lisi"), json!(null)),
    ] {
        let (passenger, warnings) = passenger(&bench, "name", json!(sent)).await;
        let names = (&passenger["last_name"], &passenger["first_name"], &passenger["middle_name"]);
        assert_eq!(names, (&last, &first, &middle), "{sent:?}");
        assert_eq!(warnings, json!([]));
    }
}

#[tokio::test]
async fn a_date_is_yyyymmdd_and_a_bad_one_is_null_and_a_warning() {
    let bench = Bench::new().await;
    for (field, column) in [("birthday", "/birth_date"), ("cardExpired", "/document/expires_on")] {
        for (sent, kept) in [
            (json!("20160202"), "2016-02-02"),
            (json!(20160202), "2016-02-02"),
            (json!(" 20240229 "), "2024-02-29"),
            (json!("00010101"), "0001-01-01"),
            (
                json!(if field == "birthday" { "20000229" } else { "99991231" }),
                if field == "birthday" { "2000-02-29" } else { "9999-12-31" },
            ),
        ] {
            let (passenger, warnings) = passenger(&bench, field, sent).await;
            assert_eq!((passenger.pointer(column), warnings), (Some(&json!(kept)), json!([])));
        }
        for bad in [
            "20230229",
            "20161301",
            "2016-02-02",
            "2016022",
            "201602021",
            "00000000",
            "00000101",
            "+2016020",
            "-20160202",
            "x",
            "０",
        ] {
            let (passenger, warnings) = passenger(&bench, field, json!(bad)).await;
            assert_eq!(passenger.pointer(column), None, "{bad}");
            assert_eq!(warnings, json!([format!("passengers[0].{field} is not a date (YYYYMMDD)")]), "{bad}");
        }
        let (passenger, warnings) = passenger(&bench, field, json!("")).await;
        assert_eq!(passenger.pointer(column), None);
        assert_eq!(warnings, json!([format!("passengers[0].{field} is missing")]));
    }
}

#[tokio::test]
async fn the_passenger_type_is_a_number_or_a_code_of_the_trade_and_one_without_a_meaning_is_unknown() {
    let bench = Bench::new().await;
    let odd = || json!(["passengers[0].passengerType is none of 0, 1, 2"]);
    for (sent, kept, warnings) in [
        (json!(0), json!("adult"), json!([])),
        (json!(1), json!("child"), json!([])),
        (json!(2), json!("infant"), json!([])),
        (json!("2"), json!("infant"), json!([])),
        (json!(3), json!("unknown"), odd()),
        (json!(-1), json!("unknown"), odd()),
        (json!("ADT"), json!("adult"), odd()),
        (json!("chd"), json!("child"), odd()),
        (json!("Infant"), json!("infant"), odd()),
        (json!("YTH"), json!("unknown"), odd()),
        (json!(null), json!(null), json!(["passengers[0].passengerType is missing"])),
        (json!("null"), json!(null), json!(["passengers[0].passengerType is the word null"])),
    ] {
        let (passenger, seen) = passenger(&bench, "passengerType", sent.clone()).await;
        assert_eq!((&passenger["type"], &seen), (&kept, &warnings), "{sent}");
    }
}

#[tokio::test]
async fn gender_and_nationality_are_read_in_any_case_and_as_words() {
    let bench = Bench::new().await;
    for (field, column, sent, kept, warning) in [
        ("gender", "gender", "f", "F", None),
        ("gender", "gender", "Male", "M", None),
        ("gender", "gender", "FEMALE", "F", None),
        ("gender", "gender", "X", "X", Some("is neither F nor M")),
        ("nationality", "nationality", "cn", "CN", None),
        ("nationality", "nationality", "chn", "CHN", None),
        ("nationality", "nationality", "China", "China", Some("is no country code")),
    ] {
        let (passenger, warnings) = passenger(&bench, field, json!(sent)).await;
        let expected: Vec<_> = warning.iter().map(|warning| format!("passengers[0].{field} {warning}")).collect();
        assert_eq!((&passenger[column], warnings), (&json!(kept), json!(expected)), "{sent}");
    }
}

#[tokio::test]
async fn no_birth_date_lies_in_the_future() {
    let bench = Bench::new().await;
    let day = |offset: i64| {
        let day = time::OffsetDateTime::now_utc().date() + time::Duration::days(offset);
        format!("{:04}{:02}{:02}", day.year(), u8::from(day.month()), day.day())
    };
    let (born, warnings) = passenger(&bench, "birthday", json!(day(-1))).await;
    assert!(born["birth_date"].is_string() && warnings == json!([]), "{warnings}");
    let (unborn, warnings) = passenger(&bench, "birthday", json!(day(2))).await;
    assert_eq!(unborn["birth_date"], Value::Null);
    assert_eq!(warnings, json!(["passengers[0].birthday lies in the future"]));
}

#[tokio::test]
async fn ancillaries_are_kept_as_they_were_sent() {
    let bench = Bench::new().await;
    for sent in [
        json!([]),
        json!([{"type": "BAG", "weight": 23.50, "of": null}, "SEAT 12A"]),
        json!({"bag": {"pieces": 2}}),
        json!("20KG"),
        json!("\0 \"é\""),
    ] {
        let (passenger, warnings) = passenger(&bench, "ancillaries", sent.clone()).await;
        let kept = if sent.to_string().contains("\\u0000") { json!(" \"é\"") } else { sent };
        assert_eq!((&passenger["ancillaries"], warnings), (&kept, json!([])));
    }
    let delivery = bench.delivery(this(), &[("/data/paxTicketInfos/0/ancillaries", json!("ODD"))]).to_string();
    let event = bench.event_of(this(), &delivery.replace("\"ODD\"", r#"[1e999999,"\ud800"]"#)).await;
    assert_eq!(event["passengers"][0]["ancillaries"], json!(["1e999999", "\u{fffd}"]));
}

#[tokio::test]
async fn everything_is_where_consumers_look_for_it() {
    let bench = Bench::new().await;
    let mut second = (this().delivery)("main", "")["data"]["paxTicketInfos"][0].clone();
    second["airlinePNRs"] = json!(["x1y2z3", "s30814", "a,b"]);
    second["ticketNos"] = json!(["781-2400000002", "7812400000001"]);
    let event = bench.event(this(), &[("/data/paxTicketInfos/-", second)]).await;
    assert_eq!(event["airline_pnrs"], json!(["S30814", "X1Y2Z3", "A", "B"]));
    assert_eq!(event["ticket_numbers"], json!(["7812400000001", "7812400000002"]));
    assert_eq!(
        event["passengers"][0],
        json!({
            "first_name": "lisi", "last_name": "zhang", "type": "child",
            "gender": "F", "birth_date": "2016-02-02", "nationality": "CN",
            "document": {"type": "PP", "number": "123458", "issued_by": "CN", "expires_on": "2040-01-01"},
            "tickets": [{"raw": "781-2400000001", "number": "7812400000001"}],
            "airline_pnrs": ["S30814"], "ancillaries": []
        })
    );
    assert_eq!(event["passengers"][1]["airline_pnrs"], json!(["X1Y2Z3", "S30814", "A", "B"]));
    for column in ["pnr", "gds_pnr", "booking_number", "trace_id", "remark"] {
        assert_eq!(event[column], Value::Null);
    }
    assert_eq!(event["warnings"], json!([]));
}

#[tokio::test]
async fn every_other_field_that_the_document_requires_is_only_expected() {
    let bench = Bench::new().await;
    let fields = (this().delivery)("main", "")["data"]["paxTicketInfos"][0].clone();
    let fields: Vec<_> = fields.as_object().unwrap().keys().cloned().collect();
    assert_eq!(fields.len(), 12);
    for field in &fields {
        let (_, warnings) = passenger(&bench, field, json!(null)).await;
        assert_eq!(warnings, json!([format!("passengers[0].{field} is missing")]));
    }
    let event = bench.event(this(), &[("/data/paxTicketInfos", json!([{}])), ("/status", json!(null))]).await;
    assert_eq!(event["status"], "confirmed");
    assert_eq!(event["passengers"][0]["document"], Value::Null);
    let warnings: Vec<_> = event["warnings"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    assert_eq!(warnings.len(), 13, "{warnings:#?}");
    for field in fields {
        assert!(warnings.contains(&&*format!("passengers[0].{field} is missing")), "{field}: {warnings:#?}");
    }
}
