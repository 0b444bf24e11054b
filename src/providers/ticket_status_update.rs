//! The ticket status update: sent once a ticket has been confirmed and issued, with an API key as a bearer token.
//!
//! Its document shows one payload and requires only the booking's transaction reference. A success is reported in
//! `message` by the document's table and in `msg` by its sample: the reply has both.

use compact_str::CompactString;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::json;
use time::Date;

use super::{Credential, EncodedReply, NormalizeError, Provider, Reply, Sample, normalize, tickets};
use crate::{
    credentials::{AuthenticationFailure, Presented},
    payload::{Diagnostics, FieldError, Fields, Payload, Problem},
    ticket_event::{Booking, Document, Passenger, Status, deduplicated},
};

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

    fn credentials_in_header<'a>(&self, headers: &'a HeaderMap) -> Result<Presented<'a>, AuthenticationFailure> {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let value = values.next().ok_or(AuthenticationFailure::Missing)?;
        let text = std::str::from_utf8(value.as_bytes()).ok().filter(|_| values.next().is_none());
        let (scheme, token) = text.and_then(|text| text.split_once(' ')).ok_or(AuthenticationFailure::Malformed)?;
        match scheme.eq_ignore_ascii_case("bearer") {
            true => Ok(vec![token.trim().into()]),
            false => Err(AuthenticationFailure::Malformed),
        }
    }

    fn structured_members(&self) -> &'static [&'static str] {
        &["TicketInfoes", "PassengerInfo", "NameElement", "DocumentInfo", "TicketNumbers"]
    }

    fn document_members(&self) -> &'static [&'static str] {
        &["DocumentNumber", "DocumentType", "DocumentInfo"]
    }

    fn normalize(&self, payload: &Payload, _received_on: Date) -> Result<Booking, NormalizeError> {
        let mut diagnostics = Diagnostics::default();
        let fields = payload.fields()?;
        let booking_ref = fields.required_booking_ref(BOOKING_REF, &mut diagnostics);
        let passengers = fields.required_passengers(TICKETS, &mut diagnostics).unwrap_or_default();
        let passengers: Vec<_> = passengers.iter().map(|fields| passenger(fields, &mut diagnostics)).collect();
        tickets::check_count(&passengers, &fields, TICKETS, &mut diagnostics);
        let pnr = fields.expected_text("PNR", &mut diagnostics);
        let (pnr, mut airline_pnrs) = normalize::own_record_locator(pnr, &fields, "PNR", &mut diagnostics);
        let texts = fields.optional_text_or_list("AirlinesPNR", &mut diagnostics).unwrap_or_default();
        airline_pnrs.extend(normalize::record_locators(&texts, &fields, "AirlinesPNR", &mut diagnostics));
        let (Some(booking_ref), true) = (booking_ref, diagnostics.errors.is_empty()) else {
            return Err(NormalizeError::Invalid(diagnostics.errors));
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
            airline_pnrs: deduplicated(airline_pnrs, CompactString::as_str),
            booking_number: fields.expected_text("BookingRefNumber", &mut diagnostics),
            trace_id: None,
            provider_status: None,
            remark: None,
            passengers,
            warnings: diagnostics.into_warnings(),
        })
    }

    fn encode(&self, reply: &Reply) -> EncodedReply {
        let messages = match reply {
            Reply::Accepted => return EncodedReply { status: StatusCode::OK, header: None, body: SUCCESS.into() },
            Reply::Unauthenticated => vec!["Unauthenticated.".to_owned()],
            Reply::Invalid(errors) => errors.iter().map(in_document_words).collect(),
            Reply::NoTicket => vec!["Ticket info not found".to_owned()],
            Reply::UnknownBooking => vec!["Air Booking Info not found".to_owned()],
            Reply::Unavailable => vec!["Something went wrong...".to_owned()],
            other => vec![other.message()],
        };
        let status = match reply {
            // its document has 422 for every exception
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

fn passenger(fields: &Fields<'_>, diagnostics: &mut Diagnostics) -> Passenger {
    let info = fields.object("PassengerInfo", diagnostics);
    let name = info.object("NameElement", diagnostics);
    // documented in NameElement, but also sent in DocumentInfo
    let number = match name.optional_text("DocumentNumber", diagnostics) {
        None => info.object("DocumentInfo", diagnostics).expected_text("DocumentNumber", diagnostics),
        number => number,
    };
    let tickets = fields.expected_list("TicketNumbers", diagnostics).unwrap_or_default();
    Passenger {
        title: name.optional_text("Title", diagnostics),
        first_name: name.expected_name("FirstName", diagnostics),
        middle_name: name.optional_text("MiddleName", diagnostics),
        last_name: name.expected_name("LastName", diagnostics),
        document: number.map(|number| Document { number: Some(number), ..Document::default() }),
        tickets: tickets::tickets(&tickets, fields, "TicketNumbers", diagnostics),
        ..Passenger::default()
    }
}

/// The document's errors use other field names than its payload: `The unique trans id field is required.`
fn in_document_words(error: &FieldError) -> String {
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
