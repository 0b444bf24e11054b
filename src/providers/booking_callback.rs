//! The booking callback: sent when the final status of a booking is known, with the API's credentials in the body.
//!
//! Its document defines each status, allows a refund on `Failed` and `Aborted`, and has replies with an `Error` object
//! whose `ErrorCode` is 0 on success.

use serde_json::json;
use time::Date;

use super::{Credential, EncodedReply, NormalizeError, Provider, Reply, Sample, normalize, tickets};
use crate::{
    payload::{Diagnostics, Fields, Payload, Problem},
    ticket_event::{Booking, Passenger, Status},
};

pub struct BookingCallback;

const PASSENGERS: &str = "Passengers";

const SUCCESS: &str = r#"{"Error":{"ErrorCode":0,"ErrorMessage":""}}"#;

impl Provider for BookingCallback {
    fn name(&self) -> &'static str {
        "booking_callback"
    }

    fn credentials(&self) -> &'static [Credential] {
        &[
            Credential { key: "client_id", member: Some("ClientId"), is_secret: false },
            Credential { key: "user_name", member: Some("UserName"), is_secret: false },
            Credential { key: "password", member: Some("Password"), is_secret: true },
        ]
    }

    fn volatile_members(&self) -> &'static [&'static str] {
        &["TraceId", "EndUserIp"]
    }

    fn structured_members(&self) -> &'static [&'static str] {
        &["Passengers", "TicketNumber"]
    }

    fn normalize(&self, payload: &Payload, _received_on: Date) -> Result<Booking, NormalizeError> {
        let mut diagnostics = Diagnostics::default();
        let fields = payload.fields()?;
        let booking_ref = fields.required_booking_ref("BookingId", &mut diagnostics);
        let status = status(&fields, &mut diagnostics);
        // a booking that failed or is pending may have no passengers, and has no PNR
        let is_success = matches!(status, None | Some(BookingStatus::Success));
        let passengers = match is_success {
            true => fields.required_passengers(PASSENGERS, &mut diagnostics),
            false => fields.expected_passengers(PASSENGERS, &mut diagnostics),
        };
        let passengers = passengers.unwrap_or_default();
        let passengers: Vec<_> = passengers.iter().map(|fields| passenger(fields, &mut diagnostics)).collect();
        tickets::check_count(&passengers, &fields, PASSENGERS, &mut diagnostics);
        fields.warn_if_missing("EndUserIp", &mut diagnostics);
        let pnr = match is_success {
            true => fields.expected_text("PNR", &mut diagnostics),
            false => fields.optional_text("PNR", &mut diagnostics),
        };
        let (pnr, airline_pnrs) = normalize::own_record_locator(pnr, &fields, "PNR", &mut diagnostics);
        let gds_pnr = fields.optional_text("GdsPNR", &mut diagnostics);
        let (gds_pnr, _) = normalize::own_record_locator(gds_pnr, &fields, "GdsPNR", &mut diagnostics);
        let (Some(booking_ref), Some(status), true) = (booking_ref, status, diagnostics.errors.is_empty()) else {
            return Err(NormalizeError::Invalid(diagnostics.errors));
        };
        Ok(Booking {
            booking_ref,
            status: match status {
                BookingStatus::Success => normalize::status_of_success(&passengers),
                BookingStatus::Other(status) => status,
            },
            pnr,
            gds_pnr,
            airline_pnrs,
            booking_number: None,
            trace_id: fields.expected_text("TraceId", &mut diagnostics),
            provider_status: None,
            remark: fields.optional_text("Remark", &mut diagnostics),
            passengers,
            warnings: diagnostics.into_warnings(),
        })
    }

    fn encode(&self, reply: &Reply) -> EncodedReply {
        let status = reply.status();
        let body = match reply {
            Reply::Accepted => SUCCESS.into(),
            other => {
                json!({"Error": {"ErrorCode": status.as_u16(), "ErrorMessage": other.message()}}).to_string().into()
            }
        };
        EncodedReply { status, header: None, body }
    }

    fn sample(&self, credentials: &[&str], booking_ref: &str) -> Sample {
        let credential = |index: usize| credentials.get(index).copied().unwrap_or_default();
        let body = json!({
            "ClientId": credential(0),
            "UserName": credential(1),
            "Password": credential(2),
            "EndUserIp": "203.0.113.7",
            "TraceId": "5b1f6b0e-sample",
            "BookingId": booking_ref,
            "PNR": "K4T9QZ",
            "GdsPNR": "7HX2LM",
            "Status": "Success",
            "Remark": "Ticketed",
            "Passengers": [
                {"Title": "Mr", "FirstName": "Arjun", "LastName": "Mehta", "TicketNumber": "098-2412345678"},
                {"Title": "Mrs", "FirstName": "Priya", "LastName": "Mehta", "TicketNumber": "098-2412345679"}
            ]
        });
        Sample { headers: Vec::new(), body: body.to_string() }
    }
}

/// The provider's `Status`. What a success means depends on the passengers' tickets.
enum BookingStatus {
    Success,
    Other(Status),
}

fn status(fields: &Fields<'_>, diagnostics: &mut Diagnostics) -> Option<BookingStatus> {
    let words = fields.required_text("Status", diagnostics)?.to_lowercase();
    let status = match words.split_whitespace().collect::<Vec<_>>().join(" ").as_str() {
        "success" => BookingStatus::Success,
        "failed" => BookingStatus::Other(Status::Failed),
        "aborted" => BookingStatus::Other(Status::Aborted),
        "pending" | "in process" | "on hold" => BookingStatus::Other(Status::Pending),
        _ => {
            let words = "one of Success, Failed, Aborted, Pending, In Process, On Hold".to_owned();
            fields.error("Status", Problem::MustBe(words), diagnostics);
            return None;
        }
    };
    Some(status)
}

fn passenger(fields: &Fields<'_>, diagnostics: &mut Diagnostics) -> Passenger {
    let tickets = fields.optional_text_or_list("TicketNumber", diagnostics).unwrap_or_default();
    Passenger {
        title: fields.expected_text("Title", diagnostics),
        first_name: fields.expected_name("FirstName", diagnostics),
        last_name: fields.expected_name("LastName", diagnostics),
        tickets: tickets::tickets(&tickets, fields, "TicketNumber", diagnostics),
        ..Passenger::default()
    }
}
