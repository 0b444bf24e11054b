//! What is sent: few bookings and few things to say of them, so that they meet often.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{PROVIDERS, Provider};

/// A delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Its position in [`PROVIDERS`].
    pub provider: usize,
    pub is_live: bool,
    pub booking: usize,
    /// Which of the things that can be said of a booking.
    pub variant: usize,
    /// Only in the volatile members.
    pub volatile: u32,
    pub content: Content,
}

/// What kind of delivery it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    Event,
    /// Cut off in the middle.
    Malformed,
    /// Without the reference of the booking.
    Invalid,
    /// Of the provider that requires one; an event of the others.
    NoTicket,
    /// Of the provider that has others; an event of the others.
    UnsupportedType,
    /// With a wrong credential.
    Unauthenticated,
}

pub fn sent() -> impl Strategy<Value = Sent> {
    let content = prop_oneof![
        14 => Just(Content::Event),
        1 => Just(Content::Malformed),
        1 => Just(Content::Invalid),
        1 => Just(Content::NoTicket),
        1 => Just(Content::UnsupportedType),
        1 => Just(Content::Unauthenticated),
    ];
    let parts = (0..3_usize, prop::bool::weighted(0.75), 0..2_usize, 0..3_usize, 0..3_u32, content);
    parts.prop_map(|(provider, is_live, booking, variant, volatile, content)| {
        let content = match (content, provider) {
            (Content::NoTicket, 1 | 2) | (Content::UnsupportedType, 0 | 1) => Content::Event,
            (content, _) => content,
        };
        Sent { provider, is_live, booking, variant, volatile, content }
    })
}

impl Sent {
    pub fn provider(&self) -> &'static Provider {
        static ALL: [Provider; 3] = PROVIDERS;
        &ALL[self.provider]
    }

    pub fn account(&self) -> &'static str {
        if self.is_live { "main" } else { "other" }
    }

    pub fn environment(&self) -> &'static str {
        if self.is_live { "live" } else { "test" }
    }

    pub fn booking_ref(&self) -> String {
        format!("B{}", self.booking)
    }

    /// What it says of the booking, in the words of the table.
    pub fn status(&self) -> &'static str {
        let by_provider = [
            ["ticketed", "ticketed", "partially_ticketed"],
            ["pending", "ticketed", "failed"],
            ["pending", "ticketed", "cancelled"],
        ];
        by_provider[self.provider][self.variant]
    }

    /// A member that nobody reads tells the variants apart in the stored payload.
    pub fn note(&self) -> String {
        format!("variant {}", self.variant)
    }

    pub fn authorization(&self) -> Option<String> {
        let right = (self.provider().authorization)(self.account())?;
        Some(if self.content == Content::Unauthenticated { "Bearer wrong".to_owned() } else { right })
    }

    pub fn body(&self) -> String {
        let mut body = (self.provider().delivery)(self.account(), &self.booking_ref());
        body["note"] = json!(self.note());
        match self.provider {
            0 => self.ticket_status_update(&mut body),
            1 => self.booking_callback(&mut body),
            _ => self.order_ticketed(&mut body),
        }
        let text = body.to_string();
        if self.content == Content::Malformed { text[..text.len() - 1].to_owned() } else { text }
    }

    fn ticket_status_update(&self, body: &mut Value) {
        let passenger = body["TicketInfoes"][0].clone();
        if self.variant == 2 {
            let mut without = passenger.clone();
            without["TicketNumbers"] = json!([]);
            body["TicketInfoes"] = json!([passenger, without]);
        }
        match self.content {
            Content::Invalid => drop(body.as_object_mut().unwrap().remove("BookingTransactionRef")),
            Content::NoTicket => body["TicketInfoes"] = json!([]),
            _ => {}
        }
    }

    fn booking_callback(&self, body: &mut Value) {
        body["Status"] = json!(["Pending", "Success", "Failed"][self.variant]);
        body["TraceId"] = json!(format!("trace-{}", self.volatile));
        match self.content {
            Content::Invalid => drop(body.as_object_mut().unwrap().remove("BookingId")),
            Content::Unauthenticated => body["Password"] = json!("wrong"),
            _ => {}
        }
    }

    fn order_ticketed(&self, body: &mut Value) {
        body["data"]["orderStatus"] = json!([0, 2, -3][self.variant]);
        body["status"] = json!(self.volatile);
        match self.content {
            Content::Invalid => drop(body["data"].as_object_mut().unwrap().remove("orderNo")),
            Content::UnsupportedType => body["type"] = json!("order.void"),
            Content::Unauthenticated => body["cid"] = json!("wrong"),
            _ => {}
        }
    }
}
