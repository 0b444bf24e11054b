//! The way of a delivery as far as it does no I/O: authenticate, decompress, parse, redact, normalize, hash, answer.
//!
//! The input is a body. Where the credentials stand in the body it is admitted as it is, and once more with the right ones
//! at its end, so that what comes behind the authentication is reached; where they stand in a header, the input is that
//! header too.

use std::{collections::HashSet, io::Write, sync::OnceLock};

use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use secrecy::SecretString;
use serde_json::json;
use ticket_webhooks::{
    credentials::{Account, Accounts, Verified},
    delivery::{Delivery, Reason},
    payload::{KeptPayload, MAX_PASSENGERS, MAX_REFERENCE_CHARS},
    providers::{self, Provider, Reply},
    receive::{Admitted, Arrival, Rejected, interpret},
    redaction::Redactor,
    ticket_event::{Booking, Environment},
};
use time::macros::datetime;
use uuid::Uuid;

use super::{
    secrets::{NAME, NUMBER, SECRETS, assert_no_member, assert_none_in, assert_none_in_json, strings},
    spool_record::reads_as_the_same,
};

/// The largest body, in bytes, decompressed. Small, so that one above it is soon found.
const LIMIT: usize = 16 * 1024;

/// A hundred, and one that counts the others.
const MAX_WARNINGS: usize = 101;

/// One provider as it is configured.
struct World {
    provider: &'static dyn Provider,
    credentials: Vec<&'static str>,
    accounts: Accounts,
    redactor: Redactor,
}

/// Takes any bytes as a delivery of a provider.
pub fn delivery(provider: &'static str, data: &[u8]) {
    let world = world(provider);
    let mut headers = HeaderMap::new();
    if world.provider.authenticates_by_header() {
        world.check_header(data);
        let value = format!("Bearer {}", world.credentials[0]);
        headers.insert(AUTHORIZATION, HeaderValue::from_bytes(value.as_bytes()).expect("it is one line"));
    }
    if world.check(&headers, data).is_none()
        && let Some(signed) = world.signed(data)
    {
        world.check(&headers, &signed);
    }
}

fn world(provider: &'static str) -> &'static World {
    // a fuzz target has one of them, the tests all
    static WORLDS: [OnceLock<World>; 3] = [const { OnceLock::new() }; 3];
    let position = providers::PROVIDERS.iter().position(|known| known.name() == provider).expect("it is one of three");
    WORLDS[position].get_or_init(|| {
        let credentials = match provider {
            "ticket_status_update" => vec![SECRETS[0]],
            "booking_callback" => vec![NUMBER, NAME, SECRETS[2]],
            _ => vec![SECRETS[3]],
        };
        let secrets: Vec<SecretString> = credentials.iter().map(|secret| SecretString::from(*secret)).collect();
        World {
            provider: providers::PROVIDERS[position],
            credentials,
            accounts: Accounts::new(vec![Account::new("main", Environment::Live, &secrets)]),
            redactor: Redactor::new(SECRETS.map(SecretString::from)),
        }
    })
}

impl World {
    /// A header proves something only when it is the right one.
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
        assert!(self.verify(&headers).is_none(), "of two headers one is believed");
    }

    /// By the headers alone.
    fn verify(&self, headers: &HeaderMap) -> Option<Verified<'_>> {
        self.accounts.verify(self.provider.presented(headers, None)).ok()
    }

    /// An object with the right credentials as its last members; `None` for what is no object.
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

    /// Takes a delivery, and looks at all that becomes of it; `None` when nothing is kept.
    fn check(&self, headers: &HeaderMap, body: &[u8]) -> Option<Admitted> {
        let admitted = self.take(headers, body);
        match &admitted {
            Ok(admitted) => {
                self.check_reply(&admitted.reply);
                self.check_kept(admitted);
            }
            Err(rejected) => self.check_reply(&rejected.reply),
        }
        // compressing takes long, so it is not done for each
        if body.len().is_multiple_of(16) && !body.starts_with(&[0x1f, 0x8b]) {
            assert_eq!(said(&self.take(headers, &compressed(body))), said(&admitted));
        }
        admitted.ok()
    }

    /// As `receive` does.
    fn take(&self, headers: &HeaderMap, body: &[u8]) -> Result<Admitted, Rejected> {
        let proof_in_headers = match self.provider.authenticates_by_header() {
            true => Some(self.accounts.verify(self.provider.presented(headers, None))?),
            false => None,
        };
        interpret(&Arrival {
            provider: self.provider,
            accounts: &self.accounts,
            proof_in_headers,
            body,
            is_encoding_supported: true,
            body_limit_bytes: LIMIT,
            received_at: datetime!(2026-07-31 12:00 UTC),
            redactor: &self.redactor,
        })
    }

    fn check_kept(&self, admitted: &Admitted) {
        reads_as_the_same(&admitted.delivery);
        match &admitted.delivery {
            Delivery::Event(event) => {
                assert_eq!(admitted.reply, Reply::Accepted);
                self.check_payload(&event.payload);
                check_booking(&event.booking);
                // what was accepted says the same when it is admitted from what is stored
                if event.is_restorable {
                    let kept = KeptPayload::restore(&event.payload).expect("it is JSON");
                    let booking = self.provider.normalize(kept.payload(), event.received_at.date());
                    assert_eq!(booking.as_ref(), Ok(&event.booking));
                    assert_eq!(kept.content_hash(self.provider.volatile_members()), event.content_hash);
                }
            }
            Delivery::Unprocessed(delivery) if delivery.reason == Reason::Malformed => {
                let text = String::from_utf8_lossy(&delivery.body);
                assert_none_in(&text);
            }
            Delivery::Unprocessed(delivery) => {
                self.check_payload(std::str::from_utf8(&delivery.body).expect("what was JSON is JSON"));
            }
        }
    }

    fn check_payload(&self, text: &str) {
        assert!(text.len() <= 3 * LIMIT);
        assert_none_in_json(text);
        assert_no_member(text, &self.provider.credential_members());
        let restored = || KeptPayload::restore(text).expect("it is JSON");
        let again = restored().into_payload().less_secrets(&self.redactor, &self.provider.credential_members());
        assert_eq!(again.as_str(), restored().as_str(), "more is redacted the second time");
    }

    /// An answer is JSON, has the status that the contract says, and shows no secret.
    fn check_reply(&self, reply: &Reply) {
        let says_422 = self.provider.name() == "ticket_status_update";
        let expected = match reply {
            Reply::Accepted => 200,
            Reply::Unauthenticated => 401,
            Reply::Malformed(_) if says_422 => 422,
            Reply::Malformed(_) => 400,
            Reply::Invalid(_) => 422,
            Reply::NoTicket if says_422 => 422,
            Reply::TooLarge(_) => 413,
            other => panic!("{other:?} is no reply to a delivery alone"),
        };
        let encoded = self.provider.encode(reply);
        assert_eq!(encoded.status.as_u16(), expected, "{reply:?}");
        let body: serde_json::Value = serde_json::from_str(&encoded.body).expect("an answer is JSON");
        let code = ["/code", "/Error/ErrorCode", "/status"].iter().find_map(|pointer| body.pointer(pointer));
        let expected_code = if expected == 200 && !says_422 { 0 } else { expected };
        assert_eq!(code.and_then(serde_json::Value::as_u64), Some(expected_code.into()), "{}", encoded.body);
        assert_none_in_json(&encoded.body);
    }
}

/// What there is to be seen of it.
fn said(admitted: &Result<Admitted, Rejected>) -> String {
    match admitted {
        Ok(admitted) => {
            let mut delivery = admitted.delivery.clone();
            // made anew each time
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
    encoder.write_all(body).and_then(|()| encoder.finish()).expect("a vector can be written to")
}

/// What is recorded is within bounds, can be stored, and shows no secret.
fn check_booking(booking: &Booking) {
    assert!((1..=MAX_REFERENCE_CHARS).contains(&booking.booking_ref.chars().count()));
    assert!(booking.passengers.len() <= MAX_PASSENGERS);
    assert!(booking.warnings.len() <= 2 * MAX_WARNINGS + 2);
    for passenger in &booking.passengers {
        let mut seen = HashSet::new();
        assert!(passenger.tickets.iter().all(|ticket| seen.insert(&ticket.number)), "{passenger:?}");
        assert!(passenger.tickets.iter().all(|ticket| !ticket.number.contains([' ', '-'])), "{passenger:?}");
    }
    // lists are stored one per line
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
