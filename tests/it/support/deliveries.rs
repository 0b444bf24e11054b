//! The three providers as senders: path, credentials and a sample delivery of each.

use serde_json::{Value, json};

use super::credentials;

/// A provider as a sender of deliveries.
pub struct Provider {
    pub name: &'static str,
    pub path: &'static str,
    /// The `Authorization` header of an account; none where the credentials stand in the body.
    pub authorization: fn(&str) -> Option<String>,
    /// A complete delivery, by account and booking reference.
    pub delivery: fn(&str, &str) -> Value,
}

pub const PROVIDERS: [Provider; 3] = [
    Provider {
        name: "ticket_status_update",
        path: "/webhooks/ticket-status-update",
        authorization: |account| Some(format!("Bearer {}", credentials("ticket_status_update", account)[0].1)),
        delivery: |_, booking| {
            json!({
                "BookingTransactionRef": booking,
                "PNR": "ABC123",
                "AirlinesPNR": "LMN456, XYZ789",
                "BookingRefNumber": "NZ-2026-0001",
                "TicketInfoes": [{
                    "PassengerInfo": {"NameElement": {"FirstName": "Jane", "LastName": "Smith", "DocumentNumber": "A76"}},
                    "TicketNumbers": ["ETKT9876543210"]
                }]
            })
        },
    },
    Provider {
        name: "booking_callback",
        path: "/webhooks/booking-callback",
        authorization: |_| None,
        delivery: |account, booking| {
            let credentials = credentials("booking_callback", account);
            json!({
                "ClientId": credentials[0].1,
                "UserName": credentials[1].1,
                "Password": credentials[2].1,
                "EndUserIp": "203.0.113.7",
                "TraceId": "trace-1",
                "BookingId": booking,
                "PNR": "K4T9QZ",
                "GdsPNR": "7HX2LM",
                "Status": "Success",
                "Remark": "Ticketed",
                "Passengers": [
                    {"Title": "Mr", "FirstName": "Arjun", "LastName": "Mehta", "TicketNumber": "098-2412345678"}
                ]
            })
        },
    },
    Provider {
        name: "order_ticketed",
        path: "/webhooks/order-ticketed",
        authorization: |_| None,
        delivery: |account, booking| {
            json!({
                "cid": credentials("order_ticketed", account)[0].1,
                "data": {
                    "orderNo": booking,
                    "orderStatus": 2,
                    "paxTicketInfos": [{
                        "airlinePNRs": ["S30814"],
                        "ancillaries": [],
                        "birthday": "20160202",
                        "cardExpired": "20400101",
                        "cardIssuePlace": "CN",
                        "cardNum": "123458",
                        "cardType": "PP",
                        "gender": "F",
                        "name": "zhang/lisi",
                        "nationality": "CN",
                        "passengerType": 1,
                        "ticketNos": ["781-2400000001"]
                    }]
                },
                "status": -1,
                "type": "order.ticketed"
            })
        },
    },
];

/// The provider of this name.
pub fn provider(name: &str) -> &'static Provider {
    static ALL: [Provider; 3] = PROVIDERS;
    ALL.iter().find(|provider| provider.name == name).unwrap()
}

/// The answer to a request, as the provider sees it.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
}

impl Answer {
    /// Sends a request, and checks what holds for every answer: it is JSON, unless it is empty, and has a request id.
    pub async fn of(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        assert!(!headers["x-request-id"].is_empty());
        if status == 204 {
            return Self { status, headers, body: Value::Null };
        }
        assert_eq!(headers["content-type"], "application/json");
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status} {text:?} is not JSON"));
        Self { status, headers, body }
    }
}
