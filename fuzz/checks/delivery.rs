//! Any bytes as a delivery: authenticate, decompress, parse, normalize, redact, hash, reply.
//!
//! The input is a body. For providers with credentials in the body it is checked again with valid ones appended, so that the
//! code behind authentication is reached; for the others the input is also the header.

use std::{collections::HashSet, io::Write, sync::OnceLock};

use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use secrecy::SecretString;
use serde_json::json;
use ticket_webhooks::{
    credentials::{Account, Accounts, Verified},
    delivery::{Delivery, Reason},
    payload::{MAX_PASSENGERS, MAX_REFERENCE_CHARS, RedactedPayload},
    providers::{self, Provider, Reply},
    receive::{Admitted, Arrival, CollectedBody, Rejected, interpret},
    redaction::Redactor,
    ticket_event::{Booking, Environment},
};
use time::macros::datetime;
use uuid::Uuid;

use super::{
    secrets::{NAME, NUMBER, SECRETS, assert_no_member, assert_none_in, assert_none_in_json, strings},
    spool_record::assert_round_trip,
};

/// In bytes, decompressed. Small, so that inputs above it are found soon.
const LIMIT: usize = 16 * 1024;

/// A hundred, and one with the number of the others.
const MAX_WARNINGS: usize = 101;

/// A configured provider.
struct Target {
    provider: &'static dyn Provider,
    credentials: Vec<&'static str>,
    accounts: Accounts,
    redactor: Redactor,
}

pub fn delivery(provider: &'static str, data: &[u8]) {
    let target = target(provider);
    let mut headers = HeaderMap::new();
    if target.provider.authenticates_by_header() {
        target.check_header(data);
        let value = format!("Bearer {}", target.credentials[0]);
        headers.insert(AUTHORIZATION, HeaderValue::from_bytes(value.as_bytes()).expect("it is one line"));
    }
    if target.check(&headers, data).is_none()
        && let Some(signed) = target.signed(data)
    {
        target.check(&headers, &signed);
    }
}

fn target(provider: &'static str) -> &'static Target {
    // a fuzz target uses one, the tests all
    static TARGETS: [OnceLock<Target>; 3] = [const { OnceLock::new() }; 3];
    let position = providers::PROVIDERS.iter().position(|known| known.name() == provider).expect("it is one of three");
    TARGETS[position].get_or_init(|| {
        let credentials = match provider {
            "ticket_status_update" => vec![SECRETS[0]],
            "booking_callback" => vec![NUMBER, NAME, SECRETS[2]],
            _ => vec![SECRETS[3]],
        };
        let secrets: Vec<SecretString> = credentials.iter().map(|secret| SecretString::from(*secret)).collect();
        Target {
            provider: providers::PROVIDERS[position],
            credentials,
            accounts: Accounts::new(vec![Account::new("main", Environment::Live, &secrets)]),
            redactor: Redactor::new(SECRETS.map(SecretString::from)),
        }
    })
}

impl Target {
    /// The header authenticates exactly when it is valid and unique.
    fn check_header(&self, data: &[u8]) {
        let line = data.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
        let Ok(value) = HeaderValue::from_bytes(line) else { return };
        let mut headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
        let is_right = std::str::from_utf8(line).is_ok_and(|line| {
            let (scheme, key) = line.split_once(' ').unwrap_or_default();
            scheme.eq_ignore_ascii_case("bearer") && key.trim() == self.credentials[0]
        });
        assert_eq!(self.verify(&headers).is_some(), is_right);
        headers.append(AUTHORIZATION, HeaderValue::from_static("Bearer another"));
        assert!(self.verify(&headers).is_none(), "a repeated header authenticates");
    }

    fn verify(&self, headers: &HeaderMap) -> Option<Verified> {
        self.accounts.verify(self.provider.credentials_in_header(headers)).ok()
    }

    /// Appends the valid credentials as members; `None` when the data does not end like an object.
    fn signed(&self, data: &[u8]) -> Option<Vec<u8>> {
        let inside = data.trim_ascii_end().strip_suffix(b"}")?;
        let mut signed = inside.to_vec();
        let is_empty = inside.trim_ascii_end().ends_with(b"{");
        for (position, (credential, value)) in self.provider.credentials().iter().zip(&self.credentials).enumerate() {
            let separator = if is_empty && position == 0 { "" } else { "," };
            let member = format!("{separator}{}:{}", json!(credential.member?), json!(value));
            signed.extend_from_slice(member.as_bytes());
        }
        signed.push(b'}');
        Some(signed)
    }

    /// `None` when the delivery is rejected.
    fn check(&self, headers: &HeaderMap, body: &[u8]) -> Option<Admitted> {
        let admitted = self.interpret(headers, body);
        match &admitted {
            Ok(admitted) => {
                self.check_reply(&admitted.reply);
                self.check_stored(admitted);
            }
            Err(rejected) => self.check_reply(&rejected.reply),
        }
        // compressing is slow: not for every input
        if body.len().is_multiple_of(16) && !body.starts_with(&[0x1f, 0x8b]) {
            assert_eq!(described(&self.interpret(headers, &compressed(body))), described(&admitted));
        }
        admitted.ok()
    }

    /// As `Receiver` does.
    fn interpret(&self, headers: &HeaderMap, body: &[u8]) -> Result<Admitted, Rejected> {
        let proof_in_headers = match self.provider.authenticates_by_header() {
            true => Some(self.accounts.verify(self.provider.credentials_in_header(headers))?),
            false => None,
        };
        interpret(&Arrival {
            provider: self.provider,
            accounts: &self.accounts,
            proof_in_headers,
            body: &CollectedBody::unmetered(body.to_vec()),
            is_encoding_supported: true,
            body_limit_bytes: LIMIT,
            received_at: datetime!(2026-07-31 12:00 UTC),
            redactor: &self.redactor,
            dropped_members: &[],
        })
    }

    fn check_stored(&self, admitted: &Admitted) {
        assert_round_trip(&admitted.delivery);
        match &admitted.delivery {
            Delivery::Event(event) => {
                assert_eq!(admitted.reply, Reply::Accepted);
                self.check_payload(&event.payload);
                check_booking(&event.booking);
                // normalizing the stored payload gives the same booking
                if event.is_restorable {
                    let payload = RedactedPayload::restore(&event.payload).expect("it is JSON");
                    let booking = self.provider.normalize(payload.payload(), event.received_at.date());
                    assert_eq!(booking.as_ref(), Ok(&event.booking));
                    assert_eq!(payload.content_hash(self.provider.volatile_members()), event.content_hash);
                }
            }
            Delivery::Unprocessed(delivery) if delivery.reason == Reason::Malformed => {
                let text = String::from_utf8_lossy(&delivery.body);
                assert_none_in(&text);
            }
            Delivery::Unprocessed(delivery) => {
                self.check_payload(std::str::from_utf8(&delivery.body).expect("the body was JSON"));
            }
        }
    }

    fn check_payload(&self, text: &str) {
        assert!(text.len() <= 3 * LIMIT);
        assert_none_in_json(text);
        assert_no_member(text, &self.provider.credential_members());
        let restored = || RedactedPayload::restore(text).expect("it is JSON");
        let again = restored().into_payload().redact(&self.redactor, &self.provider.credential_members());
        assert_eq!(again.as_str(), restored().as_str(), "redacting is not idempotent");
    }

    /// A reply is JSON with the status of the contract, and shows no secret.
    fn check_reply(&self, reply: &Reply) {
        let has_422_for_all = self.provider.name() == "ticket_status_update";
        let expected = match reply {
            Reply::Accepted => 200,
            Reply::Unauthenticated => 401,
            Reply::Malformed(_) if has_422_for_all => 422,
            Reply::Malformed(_) => 400,
            Reply::Invalid(_) => 422,
            Reply::NoTicket if has_422_for_all => 422,
            Reply::TooLarge(_) => 413,
            other => panic!("{other:?} is no reply to a delivery alone"),
        };
        let encoded = self.provider.encode(reply);
        assert_eq!(encoded.status.as_u16(), expected, "{reply:?}");
        let body: serde_json::Value = serde_json::from_str(&encoded.body).expect("an answer is JSON");
        let code = ["/code", "/Error/ErrorCode", "/status"].iter().find_map(|pointer| body.pointer(pointer));
        let expected_code = if expected == 200 && !has_422_for_all { 0 } else { expected };
        assert_eq!(code.and_then(serde_json::Value::as_u64), Some(expected_code.into()), "{}", encoded.body);
        assert_none_in_json(&encoded.body);
    }
}

/// All of it but the id.
fn described(admitted: &Result<Admitted, Rejected>) -> String {
    match admitted {
        Ok(admitted) => {
            let mut delivery = admitted.delivery.clone();
            // generated
            match &mut delivery {
                Delivery::Event(event) => event.id = Uuid::nil(),
                Delivery::Unprocessed(delivery) => delivery.id = Uuid::nil(),
            }
            format!("{delivery:?} {:?}", admitted.reply)
        }
        Err(rejected) => format!("{:?} {:?}", rejected.reply, rejected.failure),
    }
}

fn compressed(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).and_then(|()| encoder.finish()).expect("writing to a vector never fails")
}

/// A booking is within bounds, can be stored, and its free-text fields show no secret.
fn check_booking(booking: &Booking) {
    assert!((1..=MAX_REFERENCE_CHARS).contains(&booking.booking_ref.chars().count()));
    assert!(booking.passengers.len() <= MAX_PASSENGERS);
    assert!(booking.warnings.len() <= 2 * MAX_WARNINGS + 2);
    for passenger in &booking.passengers {
        let mut seen = HashSet::new();
        assert!(passenger.tickets.iter().all(|ticket| seen.insert(&ticket.number)), "{passenger:?}");
        assert!(passenger.tickets.iter().all(|ticket| !ticket.number.contains([' ', '-'])), "{passenger:?}");
    }
    // lists are bound as lines
    let mut lines = booking.ticket_numbers();
    lines.extend(booking.airline_pnrs.iter().map(AsRef::<str>::as_ref));
    lines.extend(booking.warnings.iter().map(String::as_str));
    assert!(lines.iter().all(|line| !line.is_empty() && !line.contains('\n')), "{booking:?}");
    let all = json!({
        "booking_ref": booking.booking_ref,
        "pnr": booking.pnr,
        "gds_pnr": booking.gds_pnr,
        "airline_pnrs": booking.airline_pnrs,
        "booking_number": booking.booking_number,
        "trace_id": booking.trace_id,
        "provider_status": booking.provider_status,
        "remark": booking.remark,
        "passengers": booking.passengers,
        "ticket_numbers": booking.ticket_numbers(),
        "warnings": booking.warnings,
    });
    let text = all.to_string();
    assert!(strings(&text).iter().all(|(text, _)| !text.contains('\0')), "Postgres stores no NUL: {text}");
    for words in [&booking.trace_id, &booking.provider_status, &booking.remark].into_iter().flatten() {
        assert_none_in(words);
    }
    for ancillaries in booking.passengers.iter().filter_map(|passenger| passenger.ancillaries.as_ref()) {
        assert_none_in_json(ancillaries.as_str());
    }
}
