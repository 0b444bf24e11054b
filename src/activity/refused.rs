//! Requests that left nothing else behind, until they are written to the database.
//!
//! Invariant: memory is bounded, by the number of requests and by the length of what is kept of each. One client cannot take
//! all places.

use std::{
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::sync::Notify;

use crate::{
    addresses::ClientPrefix, credentials::AuthenticationFailure, delivery::Outcome, receive::Rejected,
    store::AddedRefusal,
};

/// Requests between two writes.
const MAX_REQUESTS: usize = 50;

/// Those of one client.
const MAX_REQUESTS_OF_CLIENT: usize = 25;

/// Of a detail, in characters.
const MAX_DETAIL_CHARS: usize = 300;

/// The reason of the row for all that have none of their own.
const MORE: &str = "more";

/// Why a request left nothing behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Its authentication failed.
    Authentication(AuthenticationFailure),
    /// The body is not JSON or incomplete.
    Malformed,
    UnsupportedEncoding,
    TooLarge,
    TimedOut,
    /// Neither Postgres nor the spool took it.
    NotDurable,
    /// Its account was beyond its quota.
    NotKept,
    /// The path is no provider's.
    Unrouted,
}

impl Refusal {
    /// Of a delivery that was queued; `None` when it left something behind.
    pub fn of_queued(outcome: &Outcome) -> Option<Self> {
        match outcome {
            Outcome::NotDurable => Some(Self::NotDurable),
            Outcome::NotKept | Outcome::UnknownBooking { is_kept: false } => Some(Self::NotKept),
            _ => None,
        }
    }

    /// Of one that was rejected before it was queued.
    pub fn of_rejected(rejected: &Rejected, outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Malformed => Self::Malformed,
            Outcome::UnsupportedEncoding => Self::UnsupportedEncoding,
            Outcome::TooLarge => Self::TooLarge,
            Outcome::TimedOut => Self::TimedOut,
            Outcome::NotDurable => Self::NotDurable,
            _ => Self::Authentication(rejected.failure.unwrap_or(AuthenticationFailure::Wrong)),
        }
    }

    /// In `refused_requests.reason`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Authentication(AuthenticationFailure::Missing) => "credentials_missing",
            Self::Authentication(AuthenticationFailure::Malformed) => "credentials_malformed",
            Self::Authentication(AuthenticationFailure::Wrong) => "credentials_wrong",
            Self::Authentication(AuthenticationFailure::AddressNotAllowed) => "address_not_allowed",
            Self::Malformed => "malformed",
            Self::UnsupportedEncoding => "unsupported_encoding",
            Self::TooLarge => "too_large",
            Self::TimedOut => "timed_out",
            Self::NotDurable => "not_durable",
            Self::NotKept => "not_kept",
            Self::Unrouted => "unrouted",
        }
    }
}

/// A request that left nothing behind. Every text is one that its log line may show.
#[derive(Clone, Copy)]
pub struct Refused<'a> {
    pub provider: Option<&'static str>,
    pub reason: Refusal,
    pub detail: Option<&'a str>,
    /// Of a path that is no provider's.
    pub path: Option<&'a str>,
    /// `None` when it is not known.
    pub client: Option<IpAddr>,
    pub request_id: &'a str,
}

/// Those that wait to be written.
#[derive(Default)]
pub struct RefusedRequests {
    waiting: Mutex<Waiting>,
    /// There are some.
    refused: Notify,
}

#[derive(Default)]
pub(super) struct Waiting {
    /// Oldest first.
    requests: Vec<Request>,
    /// How many have no place, and when the last of these came.
    more: Option<(u64, Instant)>,
}

struct Request {
    at: Instant,
    provider: Option<&'static str>,
    reason: Refusal,
    detail: Option<String>,
    path: Option<String>,
    client: Option<ClientPrefix>,
    request_id: String,
}

impl RefusedRequests {
    pub fn push(&self, refused: Refused<'_>) {
        let (at, client) = (Instant::now(), refused.client.map(ClientPrefix::of));
        let mut waiting = self.waiting();
        if waiting.has_place(client) {
            waiting.requests.push(Request {
                at,
                provider: refused.provider,
                reason: refused.reason,
                detail: refused.detail.map(|detail| detail.chars().take(MAX_DETAIL_CHARS).collect()),
                path: refused.path.map(str::to_owned),
                client,
                request_id: refused.request_id.to_owned(),
            });
        } else {
            waiting.count_more(1, at);
        }
        drop(waiting);
        self.refused.notify_one();
    }

    /// Waits until there are some.
    pub(super) async fn any(&self) {
        self.refused.notified().await;
    }

    pub(super) fn take(&self) -> Waiting {
        std::mem::take(&mut *self.waiting())
    }

    /// Puts back what could not be written, before what has come since.
    pub(super) fn put_back(&self, earlier: Waiting) {
        let mut waiting = self.waiting();
        let later = std::mem::replace(&mut *waiting, earlier);
        for request in later.requests {
            if waiting.has_place(request.client) {
                waiting.requests.push(request);
            } else {
                waiting.count_more(1, request.at);
            }
        }
        if let Some((count, at)) = later.more {
            waiting.count_more(count, at);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn has_place(&self, client: Option<ClientPrefix>) -> bool {
        let of_client = || self.requests.iter().filter(|request| request.client == client).count();
        self.requests.len() < MAX_REQUESTS && of_client() < MAX_REQUESTS_OF_CLIENT
    }

    fn count_more(&mut self, count: u64, at: Instant) {
        let before = self.more.map_or(0, |(count, _)| count);
        self.more = Some((before + count, at));
    }

    /// As rows, oldest first; that for all without a place is the last.
    pub(super) fn rows(&self) -> Vec<AddedRefusal> {
        let requests = self.requests.iter().map(|request| AddedRefusal {
            age_seconds: request.at.elapsed().as_secs_f64(),
            provider: request.provider,
            reason: request.reason.as_str(),
            detail: request.detail.clone(),
            path: request.path.clone(),
            client: request.client.map(|client| client.to_string()),
            request_id: Some(request.request_id.clone()),
            requests: 1,
        });
        let more = self.more.map(|(count, at)| AddedRefusal {
            age_seconds: at.elapsed().as_secs_f64(),
            provider: None,
            reason: MORE,
            detail: None,
            path: None,
            client: None,
            request_id: None,
            requests: count,
        });
        requests.chain(more).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(requests: &RefusedRequests, client: u32) {
        let client = Some(IpAddr::V4(client.into()));
        let reason = Refusal::Unrouted;
        requests.push(Refused { provider: None, reason, detail: None, path: None, client, request_id: "id" });
    }

    /// The number of rows, and that of the requests beyond them.
    fn counts(requests: &RefusedRequests) -> (usize, u64) {
        let rows = requests.waiting().rows();
        let more = rows.iter().filter(|row| row.reason == MORE).map(|row| row.requests).sum();
        (rows.iter().filter(|row| row.reason != MORE).count(), more)
    }

    #[test]
    fn one_client_takes_half_of_the_places_and_all_together_no_more_than_there_are() {
        let requests = RefusedRequests::default();
        (0..1000).for_each(|_| push(&requests, 1));
        assert_eq!(counts(&requests), (25, 975));
        (2..1000).for_each(|client| push(&requests, client));
        assert_eq!(counts(&requests), (50, 975 + 973));
    }

    #[test]
    fn what_is_put_back_comes_first_and_stays_within_the_limit() {
        let requests = RefusedRequests::default();
        (0..40).for_each(|client| push(&requests, client));
        let earlier = requests.take();
        assert_eq!(counts(&requests), (0, 0));
        (100..160).for_each(|client| push(&requests, client));
        requests.put_back(earlier);
        assert_eq!(counts(&requests), (50, 50));
        let rows = requests.take().rows();
        assert_eq!((rows[0].client.as_deref(), rows[40].client.as_deref()), (Some("0.0.0.0"), Some("0.0.0.100")));
    }
}
