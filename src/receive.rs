//! The way of a delivery: authenticate, parse, normalize, make durable. What it returns is what the provider is told.
//!
//! Invariants: nothing is kept of a delivery that was not authenticated; an authenticated one is answered only
//! after it is kept, whatever the answer.

mod authentication;
mod content;
mod decompress;
mod failure_limiter;
mod interpret;
mod log;
mod read_limiter;

use std::{net::IpAddr, sync::Arc, time::Instant};

use http::HeaderMap;
use ipnet::IpNet;
use time::OffsetDateTime;

pub use self::{
    content::Content,
    decompress::is_compressed,
    failure_limiter::FailureLimiter,
    interpret::{Admitted, Arrival, Rejected, interpret},
    read_limiter::ReadLimiter,
};
use self::{decompress::is_supported, log::Line};
use crate::{
    addresses::is_in,
    clock::ReceiptClock,
    credentials::{Accounts, AuthenticationFailure, Verified},
    delivery::Outcome,
    inbox::Inbox,
    metrics::{Metrics, ProviderMetrics},
    providers::{Provider, Reply},
    request_id::RequestId,
    secrets::{CurrentSecrets, Secrets},
    telemetry::{TraceContext, Traces},
    ticket_event::Environment,
};

/// Where one provider comes in.
#[derive(Clone)]
pub struct Endpoint {
    /// Which provider.
    pub provider: &'static dyn Provider,
    /// Where from; anywhere when empty.
    pub allowed_networks: Vec<IpNet>,
    /// What is counted of it.
    pub metrics: Arc<ProviderMetrics>,
}

/// A request to take a delivery in; its body comes apart.
pub struct Request {
    /// Its headers.
    pub headers: HeaderMap,
    /// Whose it is.
    pub context: RequestContext,
}

/// How a request ended.
pub struct Received {
    /// What it is answered.
    pub reply: Reply,
    /// The environment of the account that sent it, where it was handed in to be made durable.
    pub environment: Option<Environment>,
}

/// What is known of a request from its first moment to its last.
pub struct RequestContext {
    /// As it is logged.
    pub id: RequestId,
    /// The trace that it belongs to.
    pub trace: Option<TraceContext>,
    /// Where it comes from.
    pub client: IpAddr,
    /// When its head had arrived.
    pub start: Instant,
}

/// What all endpoints share.
pub struct Receiver {
    /// Where deliveries are made durable.
    pub inbox: Inbox,
    /// Who may deliver, and what must not be kept.
    pub secrets: Arc<CurrentSecrets>,
    /// Who failed how often.
    pub failure_limiter: FailureLimiter,
    /// Where large bodies wait to be read.
    pub read_limiter: ReadLimiter,
    /// Gives out the times of receipt.
    pub clock: Arc<ReceiptClock>,
    /// The largest body, decompressed, in bytes.
    pub body_limit_bytes: usize,
    /// What is counted of all of them.
    pub metrics: Arc<Metrics>,
    /// Where traces go.
    pub traces: Arc<Traces>,
}

impl Receiver {
    /// Takes a delivery in. The body is waited for only when it is needed.
    pub async fn receive<B: AsRef<[u8]> + Send + 'static>(
        &self,
        endpoint: &Endpoint,
        request: Request,
        body: impl Future<Output = Result<B, Reply>>,
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

    /// Whether anybody may deliver for a provider.
    pub fn has_accounts(&self, provider: &dyn Provider) -> bool {
        self.secrets.load().accounts(provider).is_some()
    }

    /// Authenticates and interprets. `Err` when nothing of it is kept.
    ///
    /// The request itself ends here: while deliveries wait to be durable, only what is kept of them takes memory.
    async fn admit<B: AsRef<[u8]> + Send + 'static>(
        &self,
        endpoint: &Endpoint,
        headers: HeaderMap,
        context: &RequestContext,
        body: impl Future<Output = Result<B, Reply>>,
    ) -> Result<Admitted, Rejected> {
        let phases = &self.metrics.phases;
        let provider = endpoint.provider;

        // authenticate: before the body is read where the credentials stand in a header
        endpoint.check_address(context.client)?;
        let secrets = self.secrets.load_full();
        let accounts = secrets.accounts(provider).ok_or(AuthenticationFailure::Wrong)?;
        let proof_in_headers = authentication::verify_headers(provider, accounts, &headers)?;
        let headers_verified = Instant::now();
        let body = body.await?;
        let body_arrived = Instant::now();
        let reading = Reading { provider, body_limit_bytes: self.body_limit_bytes, received_at: self.clock.now() };
        let admitted = if ReadLimiter::is_cheap(body.as_ref()) {
            reading.interpret(&secrets, accounts, proof_in_headers, &headers, body.as_ref())
        } else {
            let environment = proof_in_headers.map(|proof| proof.account().environment);
            let secrets = Arc::clone(&secrets);
            let elsewhere = move || {
                // a proof does not leave its thread: it is made again
                let accounts = secrets.accounts(provider).ok_or(AuthenticationFailure::Wrong)?;
                let proof_in_headers = authentication::verify_headers(provider, accounts, &headers)?;
                reading.interpret(&secrets, accounts, proof_in_headers, &headers, body.as_ref())
            };
            self.read_limiter.run(environment, elsewhere).await
        }?;

        let Admitted { authenticated, normalized, .. } = admitted;
        let authenticating = (authenticated - body_arrived) + (headers_verified - context.start);
        phases.authenticate.observe(authenticating.as_secs_f64());
        phases.normalize.observe((normalized - authenticated).as_secs_f64());
        endpoint.metrics.authenticated(authenticated);
        Ok(admitted)
    }

    /// Answers once the delivery is durable. It is handed in at once, not when this is first waited for.
    fn make_durable(
        &self,
        endpoint: &Endpoint,
        context: &RequestContext,
        admitted: Admitted,
    ) -> impl Future<Output = Reply> {
        let Admitted { delivery, reply, authenticated, normalized } = admitted;
        let line = Line::of(&delivery, authenticated, normalized);
        let outcome = self.inbox.submit(delivery, normalized);
        async move {
            let outcome = outcome.await;
            let end = Instant::now();
            endpoint.metrics.count_outcome(Some(line.environment()), &outcome);
            self.metrics.phases.total.observe((end - context.start).as_secs_f64());
            line.write(endpoint.provider, context, &outcome, end, &self.traces);
            match outcome {
                Outcome::NotDurable => Reply::Unavailable,
                Outcome::UnknownBooking { .. } => Reply::UnknownBooking,
                // a refused row is no mistake that the provider could mend
                _ => reply,
            }
        }
    }

    /// Of what comes here nothing is kept.
    fn reject(&self, endpoint: &Endpoint, context: &RequestContext, rejected: Rejected) -> Reply {
        let Rejected { reply, failure } = rejected;
        let outcome = Outcome::from(&reply);
        endpoint.metrics.count_outcome(None, &outcome);
        let too_many = failure.and_then(|_| {
            endpoint.metrics.count_authentication_failure();
            self.failure_limiter.count(context.client)
        });
        let reply = too_many.map_or(reply, Reply::TooManyFailures);
        let rejected = Rejected { reply, failure };
        self.failure_limiter.log(context.client, || {
            log::rejected(endpoint.provider, context, &rejected, &outcome, &self.traces);
        });
        rejected.reply
    }
}

impl From<&Reply> for Outcome {
    /// Of a delivery that was not handed in to be made durable.
    fn from(reply: &Reply) -> Self {
        match reply {
            Reply::Unauthenticated | Reply::TooManyFailures(_) => Self::Unauthenticated,
            Reply::UnsupportedEncoding => Self::UnsupportedEncoding,
            Reply::TooLarge(_) => Self::TooLarge,
            Reply::TimedOut => Self::TimedOut,
            Reply::Unavailable => Self::NotDurable,
            _ => Self::Malformed,
        }
    }
}

/// What a body is read by, beside the secrets.
struct Reading {
    provider: &'static dyn Provider,
    body_limit_bytes: usize,
    received_at: OffsetDateTime,
}

impl Reading {
    fn interpret(
        &self,
        secrets: &Secrets,
        accounts: &Accounts,
        proof_in_headers: Option<Verified<'_>>,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Admitted, Rejected> {
        interpret(&Arrival {
            provider: self.provider,
            accounts,
            proof_in_headers,
            body,
            is_encoding_supported: is_supported(headers),
            body_limit_bytes: self.body_limit_bytes,
            received_at: self.received_at,
            redactor: &secrets.redactor,
        })
    }
}

impl Endpoint {
    fn check_address(&self, client: IpAddr) -> Result<(), AuthenticationFailure> {
        let is_allowed = self.allowed_networks.is_empty() || is_in(&self.allowed_networks, client);
        if is_allowed { Ok(()) } else { Err(AuthenticationFailure::AddressNotAllowed) }
    }
}
