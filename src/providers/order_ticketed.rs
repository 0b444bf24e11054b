//! The `order.ticketed` notification: sent once an order has been ticketed, with a client id (`cid`) in the body.
//!
//! The `cid` is the only credential, so it is treated as a secret. The provider has one URL per account and sends its other
//! notification types there too. Its document defines no reply; this one has the form of its own API: `{"status":0,"msg":…}`.

use compact_str::CompactString;
use serde_json::json;
use time::Date;

use super::{Credential, EncodedReply, NormalizeError, Provider, Reply, Sample, normalize, tickets};
use crate::{
    payload::{Diagnostics, Fields, Payload, Problem},
    ticket_event::{Booking, Document, Passenger, PassengerType, RawJson, Status, upper_case},
};

pub struct OrderTicketed;

const PASSENGERS: &str = "paxTicketInfos";

const SUCCESS: &str = r#"{"status":0,"msg":"success"}"#;

impl Provider for OrderTicketed {
    fn name(&self) -> &'static str {
        "order_ticketed"
    }

    fn credentials(&self) -> &'static [Credential] {
        &[Credential { key: "cid", member: Some("cid"), is_secret: true }]
    }

    fn volatile_members(&self) -> &'static [&'static str] {
        &["status"]
    }

    fn structured_members(&self) -> &'static [&'static str] {
        &["data", "paxTicketInfos", "ticketNos", "airlinePNRs"]
    }

    fn document_members(&self) -> &'static [&'static str] {
        &["cardNum", "cardType", "cardExpired", "cardIssuePlace"]
    }

    fn birth_date_members(&self) -> &'static [&'static str] {
        &["birthday"]
    }

    fn normalize(&self, payload: &Payload, received_on: Date) -> Result<Booking, NormalizeError> {
        let mut diagnostics = Diagnostics::default();
        let fields = payload.fields()?;
        let notification = fields.required_text("type", &mut diagnostics);
        if notification.is_some_and(|notification| !notification.eq_ignore_ascii_case("order.ticketed")) {
            return Err(NormalizeError::UnsupportedType);
        }
        let data = fields.object("data", &mut diagnostics);
        let booking_ref = data.required_booking_ref("orderNo", &mut diagnostics);
        let status = status(&data, &mut diagnostics);
        let passengers = data.required_passengers(PASSENGERS, &mut diagnostics).unwrap_or_default();
        let passengers: Vec<_> =
            passengers.iter().map(|fields| passenger(fields, received_on, &mut diagnostics)).collect();
        tickets::check_count(&passengers, &data, PASSENGERS, &mut diagnostics);
        let airline_pnrs = normalize::record_locators_of_all(&passengers, &data, PASSENGERS, &mut diagnostics);
        let (Some(booking_ref), Some(status), true) = (booking_ref, status, diagnostics.errors.is_empty()) else {
            return Err(NormalizeError::Invalid(diagnostics.errors));
        };
        Ok(Booking {
            booking_ref,
            status: match status {
                OrderStatus::Ticketed => normalize::status_of_success(&passengers),
                OrderStatus::Other(status) => status,
            },
            pnr: None,
            gds_pnr: None,
            airline_pnrs,
            booking_number: None,
            trace_id: None,
            provider_status: fields.expected_text("status", &mut diagnostics),
            remark: None,
            passengers,
            warnings: diagnostics.into_warnings(),
        })
    }

    fn encode(&self, reply: &Reply) -> EncodedReply {
        let status = reply.status();
        let body = match reply {
            Reply::Accepted => SUCCESS.into(),
            other => json!({"status": status.as_u16(), "msg": other.message()}).to_string().into(),
        };
        EncodedReply { status, header: None, body }
    }

    fn sample(&self, credentials: &[&str], booking_ref: &str) -> Sample {
        let passenger = |name: &str, birthday: &str, document: &str, gender: &str, kind: u8, ticket: &str| {
            json!({
                "airlinePNRs": ["S30814"],
                "ancillaries": [],
                "birthday": birthday,
                "cardExpired": "20400101",
                "cardIssuePlace": "CN",
                "cardNum": document,
                "cardType": "PP",
                "gender": gender,
                "name": name,
                "nationality": "CN",
                "passengerType": kind,
                "ticketNos": [ticket]
            })
        };
        let body = json!({
            "cid": credentials.first().unwrap_or(&""),
            "data": {
                "orderNo": booking_ref,
                "orderStatus": 2,
                "paxTicketInfos": [
                    passenger("zhang/lisi", "20160202", "123458", "F", 1, "781-2400000001"),
                    passenger("li/si", "19920202", "123457", "F", 0, "781-2400000002")
                ]
            },
            "status": -1,
            "type": "order.ticketed"
        });
        Sample { headers: Vec::new(), body: body.to_string() }
    }
}

/// `data.orderStatus`. What a success means depends on the passengers' tickets.
enum OrderStatus {
    Ticketed,
    Other(Status),
}

fn status(data: &Fields<'_>, diagnostics: &mut Diagnostics) -> Option<OrderStatus> {
    let must_be = "one of the integers 2, 1, 0, -3";
    match data.required_integer("orderStatus", must_be, diagnostics)? {
        2 => Some(OrderStatus::Ticketed),
        0 | 1 => Some(OrderStatus::Other(Status::Pending)),
        -3 => Some(OrderStatus::Other(Status::Cancelled)),
        _ => {
            data.error("orderStatus", Problem::MustBe(must_be.to_owned()), diagnostics);
            None
        }
    }
}

fn passenger(fields: &Fields<'_>, received_on: Date, diagnostics: &mut Diagnostics) -> Passenger {
    let name = fields.expected_name("name", diagnostics).unwrap_or_default();
    let (last, given) = name.split_once('/').unwrap_or((&name, ""));
    let (first, middle) = given.trim().split_once(char::is_whitespace).unwrap_or((given.trim(), ""));
    let part = |text: &str| Some(CompactString::from(text.trim())).filter(|text| !text.is_empty());
    let document = Document {
        r#type: fields.expected_text("cardType", diagnostics),
        number: fields.expected_text("cardNum", diagnostics),
        issued_by: fields.expected_text("cardIssuePlace", diagnostics),
        expires_on: fields.expected_date("cardExpired", diagnostics),
    };
    Passenger {
        title: None,
        first_name: part(first),
        middle_name: part(middle),
        last_name: part(last),
        r#type: passenger_type(fields, diagnostics),
        gender: gender(fields, diagnostics),
        birth_date: fields.expected_past_date("birthday", received_on, diagnostics),
        nationality: nationality(fields, diagnostics),
        document: Some(document).filter(|document| *document != Document::default()),
        tickets: {
            let texts = fields.expected_list("ticketNos", diagnostics).unwrap_or_default();
            tickets::tickets(&texts, fields, "ticketNos", diagnostics)
        },
        airline_pnrs: fields
            .expected_list("airlinePNRs", diagnostics)
            .map(|texts| normalize::record_locators(&texts, fields, "airlinePNRs", diagnostics)),
        ancillaries: fields.expected_json("ancillaries", diagnostics).map(RawJson::new),
    }
}

/// The document has numbers; the industry's codes and words are accepted too, with a warning.
fn passenger_type(fields: &Fields<'_>, diagnostics: &mut Diagnostics) -> Option<PassengerType> {
    let text = fields.expected_text("passengerType", diagnostics)?;
    let known = match text.to_ascii_uppercase().as_str() {
        "0" => return Some(PassengerType::Adult),
        "1" => return Some(PassengerType::Child),
        "2" => return Some(PassengerType::Infant),
        "ADT" | "ADULT" => PassengerType::Adult,
        "CHD" | "CNN" | "CHILD" => PassengerType::Child,
        "INF" | "INS" | "INFANT" => PassengerType::Infant,
        _ => PassengerType::Unknown,
    };
    fields.warn("passengerType", "is none of 0, 1, 2", diagnostics);
    Some(known)
}

fn gender(fields: &Fields<'_>, diagnostics: &mut Diagnostics) -> Option<CompactString> {
    let text = fields.expected_text("gender", diagnostics)?;
    match text.to_ascii_uppercase().as_str() {
        "F" | "FEMALE" => Some("F".into()),
        "M" | "MALE" => Some("M".into()),
        _ => {
            fields.warn("gender", "is neither F nor M", diagnostics);
            Some(text)
        }
    }
}

/// Country codes have two letters, in passports three.
fn nationality(fields: &Fields<'_>, diagnostics: &mut Diagnostics) -> Option<CompactString> {
    let text = fields.expected_text("nationality", diagnostics)?;
    if matches!(text.len(), 2 | 3) && text.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Some(upper_case(text));
    }
    fields.warn("nationality", "is no country code", diagnostics);
    Some(text)
}
