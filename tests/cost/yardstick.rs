//! How fast this machine is: the same work on every machine, of the same kind as what is measured.

use std::hint::black_box;

use serde_json::{Value, json};

use super::families::LIMIT;

/// An honest `order.ticketed` of as many passengers as the limit takes, read by `serde_json`.
pub struct Yardstick(Vec<u8>);

impl Yardstick {
    pub fn new() -> Self {
        let passenger = json!({
            "name": "zhang/san", "passengerType": 0, "gender": "M", "birthday": "19910101", "nationality": "CN",
            "cardNum": "123456", "cardType": "PP", "cardExpired": "20400101", "cardIssuePlace": "CN",
            "ticketNos": ["784-1234567890"], "airlinePNRs": ["S30814"], "ancillaries": [],
        });
        let count = LIMIT / (passenger.to_string().len() + 1);
        let body = json!({
            "cid": "secret", "type": "order.ticketed", "status": 0,
            "data": {"orderNo": "A", "orderStatus": 2, "paxTicketInfos": vec![passenger; count - 1]},
        });
        Self(body.to_string().into_bytes())
    }

    /// Reads it and drops what it has read.
    pub fn run(&self) {
        let value: Value = serde_json::from_slice(black_box(&self.0)).unwrap();
        drop(black_box(value));
    }
}
