//! What holds for any input at all: nothing panics, what was accepted says the same when it is read again from what was
//! stored, and no secret survives.

mod generators;

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngSeed, TestRunner},
};
use secrecy::SecretString;
use serde_json::Value;
use ticket_webhooks::{
    credentials::{Account, Accounts, Verified},
    json,
    payload::{Payload, RedactedPayload},
    providers::{self, NormalizeError},
    receive::{CollectedBody, Content},
    redaction::Redactor,
    ticket_event::{Booking, Environment},
};

use time::macros::date;

use self::generators::{bytes, delivery, document, variant};
use crate::support::{Database, PROVIDERS, Provider, Service, credentials};

/// The largest body, in bytes.
const LIMIT: usize = 256 * 1024;

/// The same cases in every run, so that a failure comes again.
fn cases(cases: u32) -> Config {
    let seed = RngSeed::Fixed(20_260_731);
    Config { cases, rng_seed: seed, failure_persistence: None, max_shrink_iters: 2000, ..Config::default() }
}

fn secrets(provider: &Provider) -> Vec<SecretString> {
    credentials(provider.name, "main").into_iter().map(|(_, value)| value.into()).collect()
}

fn accounts(provider: &Provider) -> Accounts {
    Accounts::new(vec![Account::new("main", Environment::Live, &secrets(provider))])
}

fn redactor() -> Redactor {
    let all = PROVIDERS.iter().flat_map(|provider| credentials(provider.name, "main"));
    Redactor::new(all.filter(|(key, _)| !["client_id", "user_name"].contains(key)).map(|(_, value)| value.into()))
}

/// The proof that the right credentials were presented.
fn proof(accounts: &Accounts, provider: &Provider) -> Verified {
    let presented: Vec<_> = credentials(provider.name, "main").into_iter().map(|(_, value)| value.into()).collect();
    accounts.verify(Ok(presented)).expect("these are the right ones")
}

/// What the pure part of the service makes of a body whose sender is known.
fn normalized(
    provider: &Provider,
    proof: &Verified,
    redactor: &Redactor,
    body: &[u8],
) -> Option<(Result<Booking, NormalizeError>, RedactedPayload)> {
    let provider = providers::by_name(provider.name).unwrap();
    let body = CollectedBody::unmetered(body.to_vec());
    let content = Content::read(&body, true, LIMIT, provider.structured_members()).ok()?;
    let payload = Payload::new(proof, content.document.ok()?, &provider.credential_members());
    let booking = provider.normalize(&payload, date!(2026 - 07 - 31));
    Some((booking, payload.redact(redactor, &provider.credential_members())))
}

/// Every text of a document, keys included, decoded.
fn texts(value: json::Value<'_>, texts: &mut Vec<String>) {
    texts.extend(value.text().map(|text| text.value.into_owned()));
    for element in value.elements().into_iter().flatten() {
        self::texts(element, texts);
    }
}

fn assert_no_secret(redactor: &Redactor, text: &str) -> Result<(), TestCaseError> {
    prop_assert!(!redactor.contains_secret(text), "{text} shows a secret");
    for secret in ["tsu-Key_7f3a9c\"51\\é", "Pa\"ss\\wörd-41", "AG_TEST_cid_90c4e1"] {
        for (start, _) in text.match_indices(secret) {
            let before = text[..start].chars().next_back();
            let after = text[start + secret.len()..].chars().next();
            let is_word = ![before, after].into_iter().flatten().any(char::is_alphanumeric);
            prop_assert!(!is_word, "{text} shows {secret}");
        }
    }
    Ok(())
}

/// Holds for one body of one provider.
fn check(provider: &Provider, proof: &Verified, redactor: &Redactor, body: &[u8]) -> Result<bool, TestCaseError> {
    let Some((result, kept)) = normalized(provider, proof, redactor, body) else { return Ok(false) };
    let document = json::Document::parse(kept.as_str()).expect("what is stored is JSON");
    let mut all = Vec::new();
    texts(document.root(), &mut all);
    for text in &all {
        assert_no_secret(redactor, text)?;
    }
    let (again, kept_again) = normalized(provider, proof, redactor, kept.as_str().as_bytes()).expect("it is JSON");
    prop_assert_eq!(kept_again.as_str(), kept.as_str());
    prop_assert!(kept_again.warnings().is_empty());
    prop_assert_eq!(kept_again.content_hash(&[]), kept.content_hash(&[]));
    if kept.warnings().is_empty() {
        prop_assert_eq!(&again, &result);
    }
    if let Ok(booking) = &result {
        // what Postgres could not take, or would take apart again
        let written = serde_json::to_string(booking).unwrap();
        prop_assert!(!written.contains("\\u0000"), "{}", written);
        prop_assert_eq!(&serde_json::from_str::<Booking>(&written).unwrap(), booking);
        let mut one_per_line = booking.ticket_numbers();
        one_per_line.extend(booking.airline_pnrs.iter().map(AsRef::<str>::as_ref));
        one_per_line.extend(booking.warnings.iter().map(String::as_str));
        prop_assert!(one_per_line.iter().all(|text| !text.is_empty() && !text.contains('\n')));
        prop_assert!((1..=255).contains(&booking.booking_ref.chars().count()));
    }
    Ok(result.is_ok())
}

#[test]
fn whatever_becomes_of_a_delivery_becomes_of_it_again_and_shows_no_secret() {
    let redactor = redactor();
    for provider in &PROVIDERS {
        let accounts = accounts(provider);
        let proof = proof(&accounts, provider);
        let accepted = std::cell::Cell::new(0);
        let mut runner = TestRunner::new(cases(400));
        let result = runner.run(&delivery(provider), |body| {
            accepted.set(accepted.get() + u32::from(check(provider, &proof, &redactor, body.as_bytes())?));
            Ok(())
        });
        result.unwrap_or_else(|failure| panic!("{}: {failure}", provider.name));
        // the deliveries are near enough to real ones
        assert!(accepted.get() > 100, "{} accepts only {}", provider.name, accepted.get());
    }
}

#[test]
fn no_document_and_no_bytes_make_anything_panic() {
    let redactor = redactor();
    for provider in &PROVIDERS {
        let accounts = accounts(provider);
        let proof = proof(&accounts, provider);
        let mut runner = TestRunner::new(cases(200));
        let inputs = prop_oneof![document().prop_map(String::into_bytes), bytes()];
        let result = runner.run(&inputs, |body| {
            check(provider, &proof, &redactor, &body)?;
            let text = String::from_utf8_lossy(&body);
            let kept = redactor.redact_broken_json(&text, &[]).unwrap_or(text.into_owned());
            assert_no_secret(&redactor, &kept)
        });
        result.unwrap_or_else(|failure| panic!("{}: {failure}", provider.name));
    }
}

#[test]
fn nothing_but_the_right_credentials_is_a_proof() {
    for provider in &PROVIDERS {
        let accounts = accounts(provider);
        let right = credentials(provider.name, "main");
        let this = providers::by_name(provider.name).unwrap();
        let mut runner = TestRunner::new(cases(200));
        let result = runner.run(&(delivery(provider), any::<Vec<u8>>()), |(body, authorization)| {
            let mut headers = HeaderMap::new();
            headers.extend(HeaderValue::from_bytes(&authorization).ok().map(|value| (AUTHORIZATION, value)));
            let document = json::Document::parse(body.as_str()).ok();
            let body = document.as_ref().filter(|_| !this.authenticates_by_header()).map(json::Document::root);
            let presented = match body {
                Some(body) => this.credentials_in_body(body),
                None => this.credentials_in_header(&headers),
            };
            let expected: Vec<_> = right.iter().map(|(_, value)| *value).collect();
            let is_right = presented.as_ref().is_ok_and(|presented| *presented == expected);
            prop_assert_eq!(accounts.verify(presented).is_ok(), is_right);
            Ok(())
        });
        result.unwrap_or_else(|failure| panic!("{}: {failure}", provider.name));
    }
}

#[tokio::test]
async fn no_body_whatever_is_a_fault_of_the_service() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let mut runner = TestRunner::new(cases(1));
    for provider in &PROVIDERS {
        let deliveries = prop::collection::vec(delivery(provider), 35);
        let inputs = (deliveries, prop::collection::vec(document(), 8), prop::collection::vec(bytes(), 7));
        let (deliveries, documents, bytes) = inputs.new_tree(&mut runner).unwrap().current();
        let bodies = deliveries.into_iter().chain(documents).map(String::into_bytes).chain(bytes);
        for body in bodies {
            let answer = service.post(provider, body.clone()).await;
            assert!(answer.status < 500, "{answer:?} to {:?}", String::from_utf8_lossy(&body));
            // nor is it told as a mistake of the provider's what was one of the service
            assert!(!answer.body.to_string().contains("Something went wrong"), "{:?}", String::from_utf8_lossy(&body));
        }
    }
    let refused = database
        .rows("select encode(body, 'escape') as body from unprocessed_deliveries where reason = 'refused'")
        .await;
    assert!(refused.is_empty(), "the database refuses rows: {refused:#?}");
    for provider in &PROVIDERS {
        let answer = service.post(provider, (provider.delivery)("main", "the next one").to_string()).await;
        assert_eq!(answer.status, 200);
    }
}

/// A delivery less what differs between deliveries that say the same, and less the credentials.
fn said(mut delivery: Value) -> Value {
    let members = delivery.as_object_mut().unwrap();
    for member in ["TraceId", "EndUserIp", "ClientId", "UserName", "Password", "cid"] {
        members.shift_remove(member);
    }
    // at the top it is volatile, and no other provider has one in lower case
    members.shift_remove("status");
    delivery
}

#[tokio::test]
async fn of_any_two_deliveries_of_a_booking_that_were_accepted_the_later_one_is_in_the_table() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let mut runner = TestRunner::new(cases(1));
    for provider in &PROVIDERS {
        let pairs = prop::collection::vec((variant(provider), variant(provider)), 150).new_tree(&mut runner).unwrap();
        let mut pairs = pairs.current();
        for (n, (first, second)) in pairs.iter_mut().enumerate() {
            for body in [first, second] {
                *body = body.replace("\"B1\"", &format!("\"{}-{n}\"", provider.name));
            }
        }
        let mut accepted = Vec::new();
        for (n, body) in pairs.iter().enumerate().flat_map(|(n, (first, second))| [(n, first), (n, second)]) {
            let status = service.post(provider, body.as_str()).await.status;
            assert!([200, 422].contains(&status), "{status} {body}");
            if status == 200 {
                accepted.push((n, body));
            }
        }
        let query = "select booking_ref, payload::text as payload, delivery_count from ticket_events where provider = ";
        let rows = database.rows(&format!("{query}'{}'", provider.name)).await;
        let duplicates = rows.iter().filter(|row| row["delivery_count"] == 2).count();
        let mut kept: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for row in &rows {
            let payload = serde_json::from_str(row["payload"].as_str().unwrap()).unwrap();
            kept.entry(row["booking_ref"].as_str().unwrap()).or_default().push(said(payload));
        }
        for (n, body) in accepted {
            let of_booking = &kept[&*format!("{}-{n}", provider.name)];
            assert!(of_booking.contains(&said(serde_json::from_str(body).unwrap())), "{:?}\n{of_booking:#?}", pairs[n]);
        }
        // both kinds occur
        assert!((5..145).contains(&duplicates), "{} has {duplicates} duplicates", provider.name);
    }
}
