//! What a trace says about a delivery.

use std::{net::IpAddr, time::Instant};

use uuid::Uuid;

use super::TraceContext;
use crate::ticket_event::Environment;

/// A delivery that is over.
pub struct Trace<'a> {
    /// What it is a part of.
    pub parent: Option<TraceContext>,
    /// Who sent it.
    pub provider: &'static str,
    /// Of which account and environment, if that is known.
    pub account: Option<(&'a str, Environment)>,
    /// Which booking, if that is known.
    pub booking_ref: Option<&'a str>,
    /// Id and number of the revision, where there is one.
    pub event: Option<(Uuid, i32)>,
    /// What became of it.
    pub outcome: &'static str,
    /// The id of the request.
    pub request_id: &'a str,
    /// Where it came from.
    pub client: IpAddr,
    /// When it began.
    pub start: Instant,
    /// Its parts, one after the other, each with its end.
    pub phases: &'a [(&'static str, Instant)],
    /// When it was over.
    pub end: Instant,
}
