//! What a trace shows of a delivery.

use std::{net::IpAddr, time::Instant};

use uuid::Uuid;

use super::TraceContext;
use crate::ticket_event::Environment;

/// A finished delivery.
pub struct Trace<'a> {
    /// The caller's span.
    pub parent: Option<TraceContext>,
    pub provider: &'static str,
    /// Name and environment.
    pub account: Option<(&'a str, Environment)>,
    pub booking_ref: Option<&'a str>,
    /// Id and number of the revision.
    pub event: Option<(Uuid, i32)>,
    pub outcome: &'static str,
    pub request_id: &'a str,
    pub client: IpAddr,
    pub start: Instant,
    /// Name and end of each; one begins where the last ends.
    pub phases: &'a [(&'static str, Instant)],
    pub end: Instant,
}
