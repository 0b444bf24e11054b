//! The `order.ticketed` notification: sent once an order has been ticketed, with a client id (`cid`) in the body.
//!
//! The `cid` is the only proof there is, so it is treated as a secret. The provider has one URL per account and sends
//! its other notification types there too. Its document answers nothing; its own API answers `{"status":0,"msg":…}`.

use compact_str::CompactString;
use http::HeaderMap;
use serde_json::json;

use super::{Answer, Credential, Outcome, Provider, Rejection, Sample, normalize};
use crate::{
    credentials::Presented,
    json::Value,
    payload::{Fields, Findings, Payload, Problem},
    ticket_event::{Booking, Document, Passenger, PassengerType, Status},
};

/// See the module.
pub struct OrderTicketed;

const SUCCESS: &str = r#"{"status":0,"msg":"success"}"#;

impl Provider for OrderTicketed {
    fn name(&self) -> &'static str {
        "order_ticketed"
    }

    fn credentials(&self) -> &'static [Credential] {
        &[Credential { key: "cid", member: Some("cid"), is_secret: true }]
    }

    fn presented<'a>(&self, _headers: &'a HeaderMap, body: Option<Value<'a>>) -> Option<Presented<'a>> {
        Some(vec![body?.member("cid")?.value.text()?.value])
    }

    fn normalize(&self, payload: &Payload) -> Result<Booking, Rejection> {
        let mut findings = Findings::default();
        let fields = payload.fields();
        let notification = fields.required("type", &mut findings);
        if notification.is_some_and(|notification| !notification.eq_ignore_ascii_case("order.ticketed")) {
            return Err(Rejection::UnsupportedType);
        }
        let data = fields.inner("data", &mut findings);
        let booking_ref = data.booking_ref("orderNo", &mut findings);
        let status = status(&data, &mut findings);
        let passengers = data.passengers("paxTicketInfos", &mut findings);
        let (Some(booking_ref), Some(status), Some(passengers), true) =
            (booking_ref, status, passengers, findings.errors.is_empty())
        else {
            return Err(Rejection::Invalid(findings.errors));
        };
        let mut airline_pnrs = Vec::new();
        let passengers: Vec<_> = passengers
            .iter()
            .map(|fields| {
                fields.expect("airlinePNRs", &mut findings);
                airline_pnrs.extend(fields.list("airlinePNRs", &mut findings));
                passenger(fields, &mut findings)
            })
            .collect();
        Ok(Booking {
            booking_ref,
            status: match status {
                OrderStatus::Ticketed => normalize::status_of_success(&passengers),
                OrderStatus::Other(status) => status,
            },
            pnr: None,
            gds_pnr: None,
            airline_pnrs: normalize::record_locators(&airline_pnrs),
            booking_number: None,
            trace_id: None,
            provider_status: fields.expected("status", &mut findings),
            remark: None,
            passengers,
            warnings: findings.into_warnings(),
        })
    }

    fn answer(&self, outcome: &Outcome) -> Answer {
        let status = outcome.status();
        let body = match outcome {
            Outcome::Accepted => SUCCESS.into(),
            other => json!({"status": status.as_u16(), "msg": other.message()}).to_string().into(),
        };
        Answer { status, header: None, body }
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

/// What `data.orderStatus` says; on a success it depends on the passengers how much it means.
enum OrderStatus {
    Ticketed,
    Other(Status),
}

fn status(data: &Fields<'_>, findings: &mut Findings) -> Option<OrderStatus> {
    let number = data.required("orderStatus", findings)?;
    let status = match number.parse::<i64>() {
        Ok(2) => OrderStatus::Ticketed,
        Ok(0 | 1) => OrderStatus::Other(Status::Pending),
        Ok(-3) => OrderStatus::Other(Status::Cancelled),
        _ => {
            data.refuse("orderStatus", Problem::MustBe("one of the integers 2, 1, 0, -3".to_owned()), findings);
            return None;
        }
    };
    Some(status)
}

fn passenger(fields: &Fields<'_>, findings: &mut Findings) -> Passenger {
    let name = fields.expected("name", findings).unwrap_or_default();
    let (last, given) = name.split_once('/').unwrap_or((&name, ""));
    let (first, middle) = given.trim().split_once(char::is_whitespace).unwrap_or((given.trim(), ""));
    let part = |text: &str| Some(CompactString::from(text.trim())).filter(|text| !text.is_empty());
    let r#type = fields.expected_integer("passengerType", findings).map(|number| match number {
        0 => PassengerType::Adult,
        1 => PassengerType::Child,
        2 => PassengerType::Infant,
        _ => PassengerType::Unknown,
    });
    let document = Document {
        r#type: fields.expected("cardType", findings),
        number: fields.expected("cardNum", findings),
        issued_by: fields.expected("cardIssuePlace", findings),
        expires_on: fields.date("cardExpired", findings),
    };
    fields.expect("ancillaries", findings);
    fields.expect("ticketNos", findings);
    Passenger {
        title: None,
        first_name: part(first),
        middle_name: part(middle),
        last_name: part(last),
        r#type,
        gender: fields.expected("gender", findings),
        birth_date: fields.date("birthday", findings),
        nationality: fields.expected("nationality", findings),
        document: Some(document).filter(|document| *document != Document::default()),
        tickets: normalize::tickets(fields.list("ticketNos", findings)),
    }
}
