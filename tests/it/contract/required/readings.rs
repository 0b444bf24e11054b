//! Words, locators and encodings that are read as what they mean.

use serde_json::{Value, json};

use super::{Bench, set};
use crate::support::{PROVIDERS, Provider};

/// Where a name and the reference stand.
fn places(provider: &Provider) -> (&'static str, &'static str, &'static str) {
    match provider.name {
        "ticket_status_update" => {
            ("/TicketInfoes/0/PassengerInfo/NameElement/LastName", "/BookingTransactionRef", "unique trans id field is")
        }
        "booking_callback" => ("/Passengers/0/LastName", "/BookingId", "BookingId is"),
        _ => ("/data/paxTicketInfos/0/name", "/data/orderNo", "data.orderNo is"),
    }
}

#[tokio::test]
async fn the_word_null_in_a_string_is_missing_and_a_person_may_be_called_so() {
    let bench = Bench::new().await;
    for provider in &PROVIDERS {
        let (name, reference, required) = places(provider);
        for word in ["null", "NULL", " Null "] {
            let words = bench.refusal(provider, &[(reference, json!(word))]).await;
            assert!(words.contains(&format!("{required} required")), "{words}");
            let event = bench.event(provider, &[(name, json!(word))]).await;
            assert_eq!((&event["passengers"][0]["last_name"], &event["warnings"]), (&json!(word.trim()), &json!([])));
        }
    }
    let callback = &PROVIDERS[1];
    for (pointer, column) in [("/PNR", "pnr"), ("/GdsPNR", "gds_pnr"), ("/Remark", "remark"), ("/TraceId", "trace_id")]
    {
        let event = bench.event(callback, &[(pointer, json!("null"))]).await;
        assert_eq!(event[column], Value::Null);
        assert_eq!(event["warnings"], json!([format!("{} is the word null", &pointer[1..])]));
    }
}

#[tokio::test]
async fn several_record_locators_in_one_string_are_several() {
    let bench = Bench::new().await;
    for (provider, pointer) in [(&PROVIDERS[0], "/PNR"), (&PROVIDERS[1], "/PNR")] {
        let rest = if provider.name == "ticket_status_update" { &["LMN456", "XYZ789"][..] } else { &[] };
        let event = bench.event(provider, &[(pointer, json!("abc123, DEF456|abc123"))]).await;
        assert_eq!(event["pnr"], "ABC123");
        assert_eq!(event["airline_pnrs"], json!([&["ABC123", "DEF456"], rest].concat()));
        assert_eq!(event["warnings"], json!(["PNR holds several record locators; the first counts"]));
    }
    let order = &PROVIDERS[2];
    let event = bench.event(order, &[("/data/paxTicketInfos/0/airlinePNRs", json!(["a1,b2 C3", "N/A", "A1"]))]).await;
    assert_eq!(event["airline_pnrs"], json!(["A1", "B2", "C3"]));
    assert_eq!(event["passengers"][0]["airline_pnrs"], json!(["A1", "B2", "C3"]));
    assert_eq!(event["warnings"], json!(["passengers[0].airlinePNRs holds a word for none"]));
    let event = bench.event(&PROVIDERS[1], &[("/PNR", json!("TBA"))]).await;
    assert_eq!((&event["pnr"], &event["warnings"]), (&Value::Null, &json!(["PNR holds a word for none"])));
}

#[tokio::test]
async fn a_body_is_read_in_the_encoding_that_it_is_in() {
    let bench = Bench::new().await;
    let windows_1252 = |text: &str| text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect::<Vec<_>>();
    for provider in &PROVIDERS {
        let (name, ..) = places(provider);
        let delivery = bench.delivery(provider, &[(name, json!("Müller-Éa"))]).to_string();
        let utf_16: Vec<u16> = std::iter::once(0xfeff).chain(delivery.encode_utf16()).collect();
        let mut broken = delivery.clone().into_bytes();
        for (what, bytes, read, warning) in [
            ("UTF-16LE", utf_16.iter().flat_map(|unit| unit.to_le_bytes()).collect(), "Müller-Éa", "UTF-16LE"),
            ("UTF-16BE", utf_16.iter().flat_map(|unit| unit.to_be_bytes()).collect(), "Müller-Éa", "UTF-16BE"),
            ("Windows-1252", windows_1252(&delivery), "Müller-Éa", "windows-1252"),
        ] {
            let answer = bench.service.post(provider, bytes).await;
            assert_eq!(answer.status, 200, "{} {what} {answer:?}", provider.name);
            let events = bench.database.events().await;
            let event = events.last().unwrap();
            assert_eq!(event["passengers"][0]["last_name"], read, "{what}");
            assert_eq!(event["warnings"], json!([format!("the body was read as {warning}")]));
            bench.database.execute("truncate ticket_events cascade").await;
        }
        // whole sequences of UTF-8, and one that is broken
        let position = broken.windows(2).position(|pair| pair == "É".as_bytes()).unwrap();
        broken.remove(position + 1);
        assert_eq!(bench.service.post(provider, broken).await.status, 200);
        let event = bench.database.events().await.pop().unwrap();
        assert_eq!(event["passengers"][0]["last_name"], "Müller-\u{fffd}a");
        let warning = "the body was not valid UTF-8; what is broken in it was replaced";
        assert_eq!(event["warnings"], json!([warning]));
        bench.database.execute("truncate ticket_events cascade").await;
    }
}

#[tokio::test]
async fn a_broken_body_is_kept_where_the_credentials_in_it_are_right() {
    let bench = Bench::new().await;
    for provider in &PROVIDERS[1..] {
        let delivery = bench.delivery(provider, &[]);
        let whole = delivery.to_string();
        let python = "{'cid': 'AG_TEST_cid_90c4e1', 'data': None}".to_owned();
        let mut bodies = vec![
            whole.clone() + ",",
            whole.replace("\"data\"", "\"data").replace("\"TraceId\"", "\"TraceId"),
            whole[..whole.len() - 1].to_owned(),
            whole.replacen('{', "{,", 1),
            json!(whole.clone() + ",").to_string(),
        ];
        if provider.name == "order_ticketed" {
            bodies.push(python);
        }
        for body in bodies {
            let before = bench.database.unprocessed().await.len();
            let answer = bench.service.post(provider, body.clone()).await;
            assert!([400, 422].contains(&answer.status), "{body} {answer:?}");
            let kept = bench.database.unprocessed().await;
            assert_eq!(kept.len(), before + 1, "{body}");
            let row = kept.last().unwrap();
            let text = row["text"].as_str().unwrap();
            assert!(["malformed", "invalid"].contains(&row["reason"].as_str().unwrap()));
            for secret in ["10001", "agency-api", "wörd-41", "AG_TEST_cid_90c4e1"] {
                assert!(!text.contains(secret), "{text}");
            }
        }
        // with wrong ones it is refused, and without any it is only no JSON; nothing is kept of either
        let before = bench.database.unprocessed().await.len();
        let mut wrong = delivery.clone();
        for member in ["Password", "cid"] {
            if wrong[member].is_string() {
                set(&mut wrong, &format!("/{member}"), json!("wrong"));
            }
        }
        assert_eq!(bench.service.post(provider, wrong.to_string() + ",").await.status, 401);
        for body in ["", "{", "cid=AG_TEST_cid_90c4e1", "<xml/>", "{\"a\":1,}"] {
            assert_eq!(bench.service.post(provider, body).await.status, 400, "{body}");
        }
        assert_eq!(bench.database.unprocessed().await.len(), before);
    }
}

#[tokio::test]
async fn another_content_encoding_is_told_which_is_right_and_kept_where_it_proves_itself() {
    let bench = Bench::new().await;
    for (n, provider) in PROVIDERS.iter().enumerate() {
        for (encoding, body) in
            [("br", "\u{1}\u{2}".to_owned()), ("deflate", bench.delivery(provider, &[]).to_string())]
        {
            let mut request = bench.service.request("POST", provider.path).header("content-encoding", encoding);
            if let Some(authorization) = (provider.authorization)("main") {
                request = request.header("authorization", authorization.as_bytes());
            }
            let answer = crate::support::Answer::of(request.body(body)).await;
            assert_eq!((answer.status, answer.headers["accept-encoding"].to_str().unwrap()), (415, "gzip"));
            let codes = ["/code", "/Error/ErrorCode", "/status"].map(|pointer| answer.body.pointer(pointer).cloned());
            assert_eq!(codes[n], Some(json!(415)), "{answer:?}");
        }
    }
    let kept = bench.database.rows("select provider, reason, detail from unprocessed_deliveries order by id").await;
    let seen: Vec<_> = kept.iter().map(|row| row["provider"].as_str().unwrap()).collect();
    assert_eq!(seen, ["ticket_status_update", "ticket_status_update", "booking_callback", "order_ticketed"]);
    assert!(kept.iter().all(|row| row["reason"] == "malformed"), "{kept:?}");
}
