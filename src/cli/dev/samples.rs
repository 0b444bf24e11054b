//! Sample deliveries of each kind, so that there is something to see in the console.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context;
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{ADMIN_TOKEN, demo_credentials};
use crate::providers::{self, Provider, Sample};

const TIMEOUT: Duration = Duration::from_secs(10);

/// A delivery: the provider, the booking, and how its sample is changed.
type Delivery = (&'static str, &'static str, fn(&mut Value));

const DELIVERIES: [Delivery; 9] = [
    ("ticket_status_update", "NZ-1001", |_| {}),
    // the same again
    ("ticket_status_update", "NZ-1001", |_| {}),
    ("ticket_status_update", "NZ-1002", |body| body["TicketInfoes"][1]["TicketNumbers"] = json!([])),
    ("booking_callback", "CB-2001", |body| {
        (body["Status"], body["Remark"]) = ("Pending".into(), "In the queue".into());
    }),
    ("booking_callback", "CB-2001", |_| {}),
    ("booking_callback", "CB-2002", |body| {
        (body["Status"], body["Remark"]) = ("Failed".into(), "No seats left".into());
    }),
    // it cannot be processed
    ("booking_callback", "CB-2003", |body| body["BookingId"] = Value::Null),
    ("order_ticketed", "ORD-3001", |_| {}),
    // nobody knows this one
    ("order_ticketed", "ORD-3002", |body| body["cid"] = "not-the-cid".into()),
];

/// Sends them, announces a booking that is overdue, and posts to a path that is no provider's.
///
/// # Errors
///
/// The service does not answer.
pub(super) fn send(public: SocketAddr, admin: SocketAddr) -> anyhow::Result<()> {
    let agent = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false).build();
    let agent = ureq::Agent::new_with_config(agent);
    for (name, booking_ref, change) in DELIVERIES {
        let provider = providers::by_name(name).context("every name is that of a provider")?;
        let Sample { headers, body } = sample(provider, booking_ref);
        let mut body: Value = serde_json::from_str(&body)?;
        change(&mut body);
        let request = agent
            .post(format!("http://{public}{}", provider.default_path()))
            .header("Content-Type", "application/json");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
        request.send(body.to_string())?;
    }
    agent.post(format!("http://{public}/webhooks/order-tickted")).send("{}")?;
    let overdue = (OffsetDateTime::now_utc() - time::Duration::hours(2)).format(&Rfc3339)?;
    agent
        .put(format!("http://{admin}/v1/bookings/order_ticketed/test/ORD-3003"))
        .header("Authorization", format!("Bearer {ADMIN_TOKEN}"))
        .header("Content-Type", "application/json")
        .send(json!({"expected_by": overdue}).to_string())?;
    Ok(())
}

fn sample(provider: &dyn Provider, booking_ref: &str) -> Sample {
    let credentials = demo_credentials(provider);
    provider.sample(&credentials.iter().map(String::as_str).collect::<Vec<_>>(), booking_ref)
}
