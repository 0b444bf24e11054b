//! The pipeline of a delivery: authenticate, parse, normalize, make durable, answer.
//!
//! Invariants:
//! - no part of the body or of the credentials of an unauthenticated delivery is kept. That it came is counted and logged,
//!   and for some minutes listed in `refused_requests`: when, for which provider, why, from which address;
//! - a delivery is answered with success only once it is durable; an error may be answered without keeping it (quota,
//!   `NotDurable`);
//! - nothing here knows the HTTP server: a request is headers, context and a future body.

mod authentication;
mod body;
mod content;
mod failure_limiter;
mod gzip;
mod interpret;
mod interpret_limiter;
mod log;
mod memory;
mod rejected;

use std::{net::IpAddr, sync::Arc, time::Instant};

use http::HeaderMap;
use ipnet::IpNet;
use time::OffsetDateTime;

use self::log::LogEntry;
pub use self::{
    body::{ArrivingBody, BodyMemory, CollectedBody, are_too_many},
    content::{Content, text_of_body},
    failure_limiter::FailureLimiter,
    interpret::{Admitted, Arrival, interpret},
    interpret_limiter::InterpretLimiter,
    rejected::Rejected,
};
use crate::{
    activity::{Activity, ProviderActivity, Refusal, Refused},
    addresses::is_in,
    clock::ReceiptClock,
    credentials::{AuthenticationFailure, Verified},
    delivery::Outcome,
    inbox::Inbox,
    metrics::{Metrics, ProviderMetrics},
    providers::{Provider, Reply},
    request_id::RequestId,
    secrets::{CurrentSecrets, Secrets},
    telemetry::{TraceContext, Traces},
    ticket_event::Environment,
};

/// Receives the deliveries of all endpoints.
pub struct Receiver {
    pub inbox: Inbox,
    pub secrets: Arc<CurrentSecrets>,
    pub failure_limiter: FailureLimiter,
    pub interpret_limiter: InterpretLimiter,
    pub clock: Arc<ReceiptClock>,
    /// Of a decompressed body.
    pub body_limit_bytes: usize,
    /// Members of identity documents that are not kept.
    pub dropped_members: &'static [&'static str],
    pub metrics: Arc<Metrics>,
    pub activity: Arc<Activity>,
    pub traces: Arc<Traces>,
}

impl Receiver {
    /// The whole pipeline. `body` is polled only if the headers do not fail to authenticate.
    pub async fn receive(
        &self,
        endpoint: &Endpoint,
        request: Request,
        body: impl Future<Output = Result<CollectedBody, Reply>>,
    ) -> Received {
        let Request { headers, context } = request;
        match self.admit(endpoint, headers, &context, body).await {
            Ok(admitted) => {
                let environment = Some(admitted.delivery.environment());
                Received { reply: self.make_durable(endpoint, &context, admitted).await, environment }
            }
            Err(rejected) => Received { reply: self.reject(endpoint, &context, rejected), environment: None },
        }
    }

    /// Authenticates, parses and normalizes.
    ///
    /// Takes the headers and drops the body, so that deliveries in the queue hold only the memory of what is stored.
    async fn admit(
        &self,
        endpoint: &Endpoint,
        headers: HeaderMap,
        context: &RequestContext,
        body: impl Future<Output = Result<CollectedBody, Reply>>,
    ) -> Result<Admitted, Rejected> {
        let provider = endpoint.provider;

        // authenticate by address and headers, before the body is read
        endpoint.check_address(context.client)?;
        let secrets = self.secrets.load_full();
        let accounts = secrets.accounts(provider).ok_or(AuthenticationFailure::Wrong)?;
        let proof_in_headers = authentication::verify_headers(provider, accounts, &headers)?;
        let headers_verified = Instant::now();

        let body = body.await.map_err(|reply| Rejected::of_incomplete_body(reply, proof_in_headers.is_some()))?;
        let body_arrived = Instant::now();

        // authenticate by the body, parse, normalize
        let collected = Collected {
            provider,
            secrets,
            proof_in_headers,
            is_encoding_supported: gzip::is_supported(&headers),
            body,
            body_limit_bytes: self.body_limit_bytes,
            dropped_members: self.dropped_members,
            received_at: self.clock.now(),
        };
        let admitted = if InterpretLimiter::is_cheap(&collected.body) {
            collected.interpret()
        } else {
            self.interpret_limiter.run(collected.environment(), move || collected.interpret()).await
        }?;

        let Admitted { authenticated, normalized, .. } = admitted;
        let phases = &self.metrics.phases;
        let authenticating = (authenticated - body_arrived) + (headers_verified - context.start);
        phases.authenticate.observe(authenticating.as_secs_f64());
        phases.normalize.observe((normalized - authenticated).as_secs_f64());
        endpoint.metrics.authenticated(authenticated);
        Ok(admitted)
    }

    /// Submits the delivery at once, not at the first poll: the future must not hold it.
    fn make_durable(
        &self,
        endpoint: &Endpoint,
        context: &RequestContext,
        admitted: Admitted,
    ) -> impl Future<Output = Reply> {
        let Admitted { delivery, reply, authenticated, normalized } = admitted;
        let entry = LogEntry::of(&delivery, authenticated, normalized);
        let outcome = self.inbox.submit(delivery, normalized);
        async move {
            let outcome = outcome.await;
            let end = Instant::now();
            endpoint.metrics.count_outcome(Some(entry.environment()), &outcome);
            endpoint.activity.count_queued(entry.environment(), &outcome, context.start, end);
            if let Some(reason) = Refusal::of_queued(&outcome) {
                endpoint.activity.refuse(context.refused(reason, None));
            }
            self.metrics.phases.total.observe((end - context.start).as_secs_f64());
            entry.write(endpoint.provider, context, &outcome, end, &self.traces);
            match outcome {
                Outcome::NotDurable => Reply::Unavailable,
                Outcome::UnknownBooking { .. } => Reply::UnknownBooking,
                // also when Postgres rejects the row: the provider could not correct that
                _ => reply,
            }
        }
    }

    /// Counts, lists and logs a delivery of which nothing else is kept.
    fn reject(&self, endpoint: &Endpoint, context: &RequestContext, mut rejected: Rejected) -> Reply {
        let outcome = rejected.outcome();
        endpoint.metrics.count_outcome(None, &outcome);
        endpoint.activity.count_rejected(&outcome, rejected.failure.is_some(), context.start);
        if rejected.failure.is_some() {
            endpoint.metrics.count_authentication_failure();
            if let Some(retry_after) = self.failure_limiter.count_failure(context.client) {
                rejected.reply = Reply::TooManyFailures(retry_after);
            }
        }
        let reason = Refusal::of_rejected(&rejected, &outcome);
        endpoint.activity.refuse(context.refused(reason, Some(&rejected.reply.message())));
        self.failure_limiter.log(context.client, || {
            log::write_rejected(endpoint.provider, context, &rejected, &outcome, &self.traces);
        });
        rejected.reply
    }

    pub fn has_accounts(&self, provider: &dyn Provider) -> bool {
        self.secrets.load().accounts(provider).is_some()
    }
}

/// The webhook of one provider.
#[derive(Clone)]
pub struct Endpoint {
    pub provider: &'static dyn Provider,
    /// Any network when empty.
    pub allowed_networks: Vec<IpNet>,
    pub metrics: Arc<ProviderMetrics>,
    pub activity: Arc<ProviderActivity>,
}

impl Endpoint {
    fn check_address(&self, client: IpAddr) -> Result<(), AuthenticationFailure> {
        let is_allowed = self.allowed_networks.is_empty() || is_in(&self.allowed_networks, client);
        if is_allowed { Ok(()) } else { Err(AuthenticationFailure::AddressNotAllowed) }
    }
}

/// A request with a delivery, without its body.
pub struct Request {
    pub headers: HeaderMap,
    pub context: RequestContext,
}

/// For logs, metrics and traces.
pub struct RequestContext {
    /// The request id.
    pub id: RequestId,
    /// The caller's, if it sent one.
    pub trace: Option<TraceContext>,
    pub client: IpAddr,
    /// When the head had arrived.
    pub start: Instant,
}

impl RequestContext {
    fn refused<'a>(&'a self, reason: Refusal, detail: Option<&'a str>) -> Refused<'a> {
        let (client, request_id) = (Some(self.client), self.id.as_str());
        Refused { provider: None, reason, detail, path: None, client, request_id }
    }
}

pub struct Received {
    pub reply: Reply,
    /// That of the account; `None` when the delivery was rejected.
    pub environment: Option<Environment>,
}

/// A delivery whose body has arrived. Owns all that interpreting needs, the body's memory permit too, because it may move to
/// another thread.
struct Collected {
    provider: &'static dyn Provider,
    secrets: Arc<Secrets>,
    proof_in_headers: Option<Verified>,
    is_encoding_supported: bool,
    body: CollectedBody,
    body_limit_bytes: usize,
    dropped_members: &'static [&'static str],
    received_at: OffsetDateTime,
}

impl Collected {
    /// That of the account, if headers have authenticated it.
    fn environment(&self) -> Option<Environment> {
        self.proof_in_headers.as_ref().map(|proof| proof.account().environment)
    }

    fn interpret(self) -> Result<Admitted, Rejected> {
        let accounts = self.secrets.accounts(self.provider).ok_or(AuthenticationFailure::Wrong)?;
        interpret(&Arrival {
            provider: self.provider,
            accounts,
            proof_in_headers: self.proof_in_headers,
            body: &self.body,
            is_encoding_supported: self.is_encoding_supported,
            body_limit_bytes: self.body_limit_bytes,
            received_at: self.received_at,
            redactor: &self.secrets.redactor,
            dropped_members: self.dropped_members,
        })
    }
}
