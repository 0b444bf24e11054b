//! The one line about every delivery. It names the booking and never shows what is in the body.

use std::net::IpAddr;

use uuid::Uuid;

use crate::{
    delivery::{Delivery, Receipt},
    metrics::Fate,
    providers::{Outcome, Provider},
    ticket_event::Environment,
};

/// About a delivery of which nothing is kept.
pub(super) fn not_taken_in(provider: &dyn Provider, client: IpAddr, outcome: &Outcome, fate: Fate) {
    let (provider, status, outcome) = (provider.name(), outcome.status().as_u16(), fate.as_str());
    match fate {
        Fate::NotDurable => tracing::error!(provider, client.address = %client, outcome, "delivery not durable"),
        Fate::Unauthenticated => {
            tracing::warn!(provider, client.address = %client, outcome, "delivery not authenticated");
        }
        _ => tracing::warn!(provider, client.address = %client, outcome, status, "delivery not taken in"),
    }
}

/// What is said about a delivery that was handed in.
pub(super) struct Line {
    id: Uuid,
    provider: String,
    account: String,
    environment: Environment,
    booking_ref: Option<String>,
    /// The status of the booking, or the reason why it is unprocessed.
    says: &'static str,
}

impl Line {
    pub(super) fn of(delivery: &Delivery) -> Self {
        match delivery {
            Delivery::Event(event) => Self {
                id: event.id,
                provider: event.provider.to_owned(),
                account: event.account.clone(),
                environment: event.environment,
                booking_ref: Some(event.booking.booking_ref.clone()),
                says: event.booking.status.as_str(),
            },
            Delivery::Unprocessed(delivery) => Self {
                id: delivery.id,
                provider: delivery.provider.clone(),
                account: delivery.account.clone(),
                environment: delivery.environment,
                booking_ref: None,
                says: delivery.reason.as_str(),
            },
        }
    }

    pub(super) fn environment(&self) -> Environment {
        self.environment
    }

    pub(super) fn write(self, receipt: Option<&Receipt>, fate: Fate) {
        let outcome = fate.as_str();
        let (event_id, revision) = match receipt {
            Some(Receipt::Recorded { revision, .. }) => (Some(self.id), Some(*revision)),
            Some(Receipt::Duplicate { event_id, revision }) => (Some(*event_id), Some(*revision)),
            _ => (None, None),
        };
        tracing::info!(
            provider = self.provider,
            account = self.account,
            environment = self.environment.as_str(),
            delivery.id = %self.id,
            booking.reference = self.booking_ref,
            says = self.says,
            outcome,
            event.id = event_id.map(tracing::field::display),
            event.revision = revision,
            "delivery"
        );
    }
}
