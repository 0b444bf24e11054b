//! The ticket status update: sent once a ticket has been confirmed and issued, with an API key as a bearer token.
//!
//! Its document shows one payload and calls only the booking's transaction reference required. The document's table
//! says that a success is told in `message`, its sample says `msg`: both are sent.

use compact_str::CompactString;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::json;
use time::Date;

use super::{Credential, EncodedReply, NormalizeError, Provider, Reply, Sample, normalize, tickets};
use crate::{
    credentials::{AuthenticationFailure, Presented},
    payload::{FieldError, Fields, Findings, Payload, Problem},
    ticket_event::{Booking, Document, Passenger, Status, each_once},
};

/// See the module.
pub struct TicketStatusUpdate;

const BOOKING_REF: &str = "BookingTransactionRef";
const TICKETS: &str = "TicketInfoes";

const SUCCESS: &str =
    r#"{"code":200,"msg":"Ticket Status Updated Successfully","message":"Ticket Status Updated Successfully"}"#;

impl Provider for TicketStatusUpdate {
    fn name(&self) -> &'static str {
        "ticket_status_update"
    }

    fn credentials(&self) -> &'static [Credential] {
        &[Credential { key: "api_key", member: None, is_secret: true }]
    }

    fn presented_in_header<'a>(&self, headers: &'a HeaderMap) -> Result<Presented<'a>, AuthenticationFailure> {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let value = values.next().ok_or(AuthenticationFailure::Missing)?;
        let text = std::str::from_utf8(value.as_bytes()).ok().filter(|_| values.next().is_none());
        let (scheme, token) = text.and_then(|text| text.split_once(' ')).ok_or(AuthenticationFailure::Malformed)?;
        match scheme.eq_ignore_ascii_case("bearer") {
            true => Ok(vec![token.trim().into()]),
            false => Err(AuthenticationFailure::Malformed),
        }
    }

    fn containers(&self) -> &'static [&'static str] {
        &["TicketInfoes", "PassengerInfo", "NameElement", "DocumentInfo", "TicketNumbers"]
    }

    fn normalize(&self, payload: &Payload, _received_on: Date) -> Result<Booking, NormalizeError> {
        let mut findings = Findings::default();
        let fields = payload.fields()?;
        let booking_ref = fields.booking_ref(BOOKING_REF, &mut findings);
        let passengers = fields.required_passengers(TICKETS, &mut findings).unwrap_or_default();
        let passengers: Vec<_> = passengers.iter().map(|fields| passenger(fields, &mut findings)).collect();
        tickets::check_all(&passengers, &fields, TICKETS, &mut findings);
        let pnr = fields.expected("PNR", &mut findings);
        let (pnr, mut airline_pnrs) = normalize::own_record_locator(pnr, &fields, "PNR", &mut findings);
        let texts = fields.list_in_string("AirlinesPNR", &mut findings).unwrap_or_default();
        airline_pnrs.extend(normalize::record_locators(&texts, &fields, "AirlinesPNR", &mut findings));
        let (Some(booking_ref), true) = (booking_ref, findings.errors.is_empty()) else {
            return Err(NormalizeError::Invalid(findings.errors));
        };
        let status = match normalize::status_of_success(&passengers) {
            Status::Confirmed => return Err(NormalizeError::NoTicket),
            status => status,
        };
        Ok(Booking {
            booking_ref,
            status,
            pnr,
            gds_pnr: None,
            airline_pnrs: each_once(airline_pnrs, CompactString::as_str),
            booking_number: fields.expected("BookingRefNumber", &mut findings),
            trace_id: None,
            provider_status: None,
            remark: None,
            passengers,
            warnings: findings.into_warnings(),
        })
    }

    fn encode(&self, reply: &Reply) -> EncodedReply {
        let messages = match reply {
            Reply::Accepted => return EncodedReply { status: StatusCode::OK, header: None, body: SUCCESS.into() },
            Reply::Unauthenticated => vec!["Unauthenticated.".to_owned()],
            Reply::Invalid(errors) => errors.iter().map(in_its_words).collect(),
            Reply::NoTicket => vec!["Ticket info not found".to_owned()],
            Reply::UnknownBooking => vec!["Air Booking Info not found".to_owned()],
            Reply::Unavailable => vec!["Something went wrong...".to_owned()],
            other => vec![other.message()],
        };
        let status = match reply {
            // "Exception Error" and the like are all 422 in its document
            Reply::Malformed(_) | Reply::UnknownBooking | Reply::Unavailable => StatusCode::UNPROCESSABLE_ENTITY,
            other => other.status(),
        };
        let header = (*reply == Reply::Unauthenticated)
            .then_some((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
        EncodedReply { status, header, body: json!({"code": status.as_u16(), "message": messages}).to_string().into() }
    }

    fn sample(&self, credentials: &[&str], booking_ref: &str) -> Sample {
        let body = json!({
            "BookingTransactionRef": booking_ref,
            "PNR": "ABC123",
            "AirlinesPNR": "LMN456, XYZ789",
            "BookingRefNumber": "NZ-2026-0001",
            "TicketInfoes": [
                {
                    "PassengerInfo": {
                        "NameElement": {"FirstName": "SHARIFUL", "LastName": "ISLAM", "DocumentNumber": "A1234567"}
                    },
                    "TicketNumbers": ["ETKT1234567890", "ETKT1234567891"]
                },
                {
                    "PassengerInfo": {
                        "NameElement": {"FirstName": "Jane", "LastName": "Smith", "DocumentNumber": "A7654321"}
                    },
                    "TicketNumbers": ["ETKT9876543210"]
                }
            ]
        });
        let authorization = format!("Bearer {}", credentials.first().unwrap_or(&""));
        Sample { headers: vec![("Authorization", authorization)], body: body.to_string() }
    }
}

fn passenger(fields: &Fields<'_>, findings: &mut Findings) -> Passenger {
    let info = fields.inner("PassengerInfo", findings);
    let name = info.inner("NameElement", findings);
    // documented in NameElement, seen in DocumentInfo
    let number = match name.optional("DocumentNumber", findings) {
        None => info.inner("DocumentInfo", findings).expected("DocumentNumber", findings),
        number => number,
    };
    let tickets = fields.expected_list("TicketNumbers", findings).unwrap_or_default();
    Passenger {
        title: name.optional("Title", findings),
        first_name: name.name("FirstName", findings),
        middle_name: name.optional("MiddleName", findings),
        last_name: name.name("LastName", findings),
        document: number.map(|number| Document { number: Some(number), ..Document::default() }),
        tickets: tickets::tickets(&tickets, fields, "TicketNumbers", findings),
        ..Passenger::default()
    }
}

/// The document calls the fields by other names than the payload does: `The unique trans id field is required.`
fn in_its_words(error: &FieldError) -> String {
    let name = match error.field.as_str() {
        BOOKING_REF => "unique trans id",
        TICKETS => "ticket infoes",
        other => other,
    };
    match &error.problem {
        Problem::Missing => format!("The {name} field is required."),
        Problem::MustBe(what) => format!("The {name} field must be {what}."),
    }
}
