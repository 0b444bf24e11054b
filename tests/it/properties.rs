//! What holds for any input at all: nothing panics, what was accepted says the same when it is read again from what was
//! stored, and no secret survives.

mod generators;

use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngSeed, TestRunner},
};
use secrecy::SecretString;
use ticket_webhooks::{
    credentials::{Account, Accounts, Verified},
    json,
    payload::Payload,
    providers::{self, Rejection},
    redaction::Redactor,
    ticket_event::{Booking, Environment},
};

use self::generators::{bytes, delivery, document};
use crate::support::{Database, PROVIDERS, Provider, Service, credentials};

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
    let all = || PROVIDERS.iter().flat_map(|provider| credentials(provider.name, "main"));
    let is_name = |key: &str| ["client_id", "user_name"].contains(&key);
    Redactor::new(
        all().filter(|(key, _)| !is_name(key)).map(|(_, value)| value.into()),
        all().filter(|(key, _)| is_name(key)).map(|(_, value)| value.into()),
    )
}

/// The proof that the right credentials were presented.
fn proof<'a>(accounts: &'a Accounts, provider: &Provider) -> Verified<'a> {
    let presented: Vec<_> = credentials(provider.name, "main").into_iter().map(|(_, value)| value.into()).collect();
    accounts.verify(Some(&presented)).expect("these are the right ones")
}

/// What the pure part of the service makes of a body whose sender is known.
fn normalized(
    provider: &Provider,
    proof: Verified<'_>,
    redactor: &Redactor,
    body: &[u8],
) -> Option<(Result<Booking, Rejection>, String)> {
    let document = json::Document::parse(body).ok()?;
    let provider = providers::by_name(provider.name).unwrap();
    let payload = Payload::new(proof, document, &provider.credential_members(), redactor);
    Some((provider.normalize(&payload), payload.into_string()))
}

/// Every text of a document, keys included, decoded.
fn texts(value: json::Value<'_>, texts: &mut Vec<String>) {
    texts.extend(value.text().map(|text| text.value.into_owned()));
    for element in value.elements().into_iter().flatten() {
        self::texts(element, texts);
    }
}

fn assert_no_secret(text: &str) -> Result<(), TestCaseError> {
    for secret in ["tsu-Key_7f3a9c\"51\\é", "Pa\"ss\\wörd-41", "AG_TEST_cid_90c4e1"] {
        let quoted = serde_json::to_string(secret).unwrap();
        prop_assert!(!text.contains(secret), "{text} shows {secret}");
        prop_assert!(!text.contains(&quoted[1..quoted.len() - 1]), "{text} shows {secret}");
    }
    Ok(())
}

/// Holds for one body of one provider.
fn check(provider: &Provider, proof: Verified<'_>, redactor: &Redactor, body: &[u8]) -> Result<bool, TestCaseError> {
    let Some((result, stored)) = normalized(provider, proof, redactor, body) else { return Ok(false) };
    let document = json::Document::parse(stored.as_bytes()).expect("what is stored is JSON");
    let mut all = vec![stored.clone()];
    texts(document.root(), &mut all);
    if let Ok(decoded) = serde_json::from_str::<serde_json::Value>(&stored) {
        all.push(decoded.to_string());
    }
    for text in &all {
        assert_no_secret(text)?;
    }
    let (again, stored_again) = normalized(provider, proof, redactor, stored.as_bytes()).expect("it is JSON");
    prop_assert_eq!(&stored_again, &stored);
    prop_assert_eq!(&again, &result);
    if let Ok(booking) = &result {
        prop_assert_eq!(again.unwrap().content_hash(), booking.content_hash());
        // what Postgres could not take, or would take apart again
        let written = format!("{booking:?}");
        prop_assert!(!written.contains("\\0") && !written.contains("\\u{0}"), "{}", written);
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
            accepted.set(accepted.get() + u32::from(check(provider, proof, &redactor, body.as_bytes())?));
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
            check(provider, proof, &redactor, &body)?;
            let kept = redactor.bytes(&body);
            assert_no_secret(&String::from_utf8_lossy(&kept))
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
            let document = json::Document::parse(body.as_bytes()).ok();
            let presented = this.presented(&headers, document.as_ref().map(json::Document::root));
            let expected: Vec<_> = right.iter().map(|(_, value)| *value).collect();
            let is_right = presented.as_ref().is_some_and(|presented| *presented == expected);
            prop_assert_eq!(accounts.verify(presented.as_ref()).is_some(), is_right);
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
