//! The way of a delivery as far as it does no I/O: authenticate, decompress, parse, redact, normalize, hash, answer.
//!
//! The input is a body. Where the credentials stand in the body it is taken as it is, and once more with the right ones
//! at its end, so that what comes behind the authentication is reached; where they stand in a header, the input is that
//! header too.

use std::{collections::HashSet, io::Write, sync::OnceLock};

use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use secrecy::SecretString;
use serde_json::json;
use ticket_webhooks::{
    credentials::{Account, Accounts, Verified},
    delivery::{Delivery, Reason, UnprocessedDelivery},
    json::{Document, Malformed},
    payload::{MAX_PASSENGERS, MAX_REFERENCE_CHARS, Payload},
    providers::{self, Outcome, Provider, Rejection},
    receive::{Undecompressed, decompress},
    redaction::Redactor,
    ticket_event::{Booking, Environment, TicketEvent},
};
use time::OffsetDateTime;
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

/// What becomes of a delivery: what is kept of it, and what its provider is told.
#[derive(Debug, PartialEq)]
struct Taken {
    booking: Option<Booking>,
    /// The payload of an event, or the body of an unprocessed delivery.
    kept: Vec<u8>,
    outcome: Outcome,
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
    let taken = world.check(&headers, data);
    if taken == Err(Outcome::Unauthenticated)
        && let Some(signed) = world.signed(data)
    {
        let taken = world.check(&headers, &signed);
        assert_ne!(taken, Err(Outcome::Unauthenticated), "{}", String::from_utf8_lossy(&signed));
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
            redactor: Redactor::new(SECRETS.map(SecretString::from), [NAME, NUMBER].map(SecretString::from)),
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
        assert_eq!(self.verify(&headers, None).is_some(), is_right);
        headers.append(AUTHORIZATION, HeaderValue::from_static("Bearer another"));
        assert!(self.verify(&headers, None).is_none(), "of two headers one is believed");
    }

    fn verify(&self, headers: &HeaderMap, body: Option<&Document<'_>>) -> Option<Verified<'_>> {
        self.accounts.verify(self.provider.presented(headers, body.map(Document::root)).as_ref())
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

    /// Takes a delivery, and looks at all that becomes of it.
    fn check(&self, headers: &HeaderMap, body: &[u8]) -> Result<Taken, Outcome> {
        let taken = self.take(headers, body);
        match &taken {
            Ok(taken) => {
                self.check_answer(&taken.outcome);
                self.check_kept(taken);
            }
            Err(outcome) => self.check_answer(outcome),
        }
        // compressing takes long, so it is not done for each
        if body.len().is_multiple_of(16) && !body.starts_with(&[0x1f, 0x8b]) {
            assert_eq!(self.take(headers, &compressed(body)), taken);
        }
        taken
    }

    /// As `receive` does; `Err` when nothing is kept.
    fn take(&self, headers: &HeaderMap, body: &[u8]) -> Result<Taken, Outcome> {
        let proof = match self.provider.authenticates_by_header() {
            true => Some(self.verify(headers, None).ok_or(Outcome::Unauthenticated)?),
            false => None,
        };
        let (body, parsed) = match decompress(body, LIMIT) {
            Ok(decompressed) => (decompressed, Ok(())),
            Err(Undecompressed::Damaged) => (body.into(), Err(Malformed::NotGzip)),
            Err(Undecompressed::TooLarge) => return Err(Outcome::TooLarge(LIMIT)),
        };
        let document = match (parsed.and_then(|()| Document::parse(&body)), proof) {
            (Ok(document), _) => document,
            (Err(malformed), None) => return Err(Outcome::Malformed(malformed.to_string())),
            (Err(malformed), Some(_)) => {
                let kept = self.redactor.bytes(&body);
                return Ok(Taken { booking: None, kept, outcome: Outcome::Malformed(malformed.to_string()) });
            }
        };
        let proof = proof.or_else(|| self.verify(headers, Some(&document))).ok_or(Outcome::Unauthenticated)?;
        let payload = Payload::new(proof, document, &self.provider.credential_members(), &self.redactor);
        let (booking, outcome) = match self.provider.normalize(&payload) {
            Ok(booking) => (Some(booking), Outcome::Accepted),
            Err(Rejection::Invalid(errors)) => (None, Outcome::Invalid(errors)),
            Err(Rejection::NoTicket) => (None, Outcome::NoTicket),
            Err(Rejection::UnsupportedType) => (None, Outcome::Accepted),
        };
        Ok(Taken { booking, kept: payload.into_string().into_bytes(), outcome })
    }

    fn check_kept(&self, taken: &Taken) {
        let Taken { booking, kept, outcome } = taken;
        // "[redacted]" in quotes for a secret of four characters, at worst
        assert!(kept.len() <= 3 * LIMIT);
        if let Outcome::Malformed(_) = outcome {
            assert_none_in(&String::from_utf8_lossy(kept));
            assert_eq!(self.redactor.bytes(kept), *kept, "more is redacted the second time");
            return self.check_spool(taken, Reason::Malformed);
        }
        let text = std::str::from_utf8(kept).expect("what was JSON is JSON");
        assert_none_in_json(text);
        assert_no_member(text, &self.provider.credential_members());
        // what was accepted says the same when it is taken from what is stored
        let restored = Payload::restore(text).expect("it is JSON");
        assert_eq!(self.provider.normalize(&restored).ok(), *booking);
        let proof = self.proof();
        let document = Document::parse(kept).expect("it is JSON");
        let payload = Payload::new(proof, document, &self.provider.credential_members(), &self.redactor);
        assert_eq!(payload.as_str(), text, "more is redacted the second time");

        match booking {
            Some(booking) => {
                check_booking(booking);
                self.check_spool(taken, Reason::Malformed);
            }
            None => self.check_spool(taken, Reason::Invalid),
        }
    }

    fn proof(&self) -> Verified<'_> {
        let presented = self.credentials.iter().map(|credential| (*credential).into()).collect();
        self.accounts.verify(Some(&presented)).expect("these are the right ones")
    }

    /// It comes out of the spool as it went in, whether it became an event or not.
    fn check_spool(&self, taken: &Taken, reason: Reason) {
        let (id, environment, account) = (Uuid::nil(), Environment::Live, "main".into());
        let received_at = OffsetDateTime::UNIX_EPOCH;
        reads_as_the_same(&match &taken.booking {
            Some(booking) => Delivery::Event(TicketEvent {
                id,
                provider: self.provider.name(),
                account,
                environment,
                booking: booking.clone(),
                payload: String::from_utf8(taken.kept.clone()).expect("what was JSON is JSON"),
                received_at,
            }),
            None => Delivery::Unprocessed(UnprocessedDelivery {
                id,
                provider: self.provider.name().to_owned(),
                account,
                environment,
                reason,
                detail: taken.outcome.message(),
                body: taken.kept.clone(),
                received_at,
            }),
        });
    }

    /// An answer is JSON, has the status that the contract says, and shows no secret.
    fn check_answer(&self, outcome: &Outcome) {
        let says_422 = self.provider.name() == "ticket_status_update";
        let expected = match outcome {
            Outcome::Accepted => 200,
            Outcome::Unauthenticated => 401,
            Outcome::Malformed(_) if says_422 => 422,
            Outcome::Malformed(_) => 400,
            Outcome::Invalid(_) => 422,
            Outcome::NoTicket if says_422 => 422,
            Outcome::TooLarge(_) => 413,
            other => panic!("{other:?} is no outcome of a delivery alone"),
        };
        let answer = self.provider.answer(outcome);
        assert_eq!(answer.status.as_u16(), expected, "{outcome:?}");
        let body: serde_json::Value = serde_json::from_str(&answer.body).expect("an answer is JSON");
        let code = ["/code", "/Error/ErrorCode", "/status"].iter().find_map(|pointer| body.pointer(pointer));
        let expected_code = if expected == 200 && !says_422 { 0 } else { expected };
        assert_eq!(code.and_then(serde_json::Value::as_u64), Some(expected_code.into()), "{}", answer.body);
        assert_none_in_json(&answer.body);
    }
}

fn compressed(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).and_then(|()| encoder.finish()).expect("a vector can be written to")
}

/// What is recorded is within bounds, can be stored, and shows no secret.
fn check_booking(booking: &Booking) {
    assert_eq!(booking.content_hash(), booking.clone().content_hash());
    assert!((1..=MAX_REFERENCE_CHARS).contains(&booking.booking_ref.chars().count()));
    assert!(booking.passengers.len() <= MAX_PASSENGERS);
    assert!(booking.warnings.len() <= MAX_WARNINGS);
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
    assert_none_in_json(&text);
    assert_none_in(&format!("{booking:?}"));
}
