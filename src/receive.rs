//! The way of a delivery: authenticate, parse, normalize, make durable. What it returns is what the provider is told.
//!
//! What always holds: nothing is kept of a delivery that was not authenticated; an authenticated one is answered only
//! after it is kept, whatever the answer.

mod decompress;
mod failures;
mod log;

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Instant, SystemTime},
};

use bytes::Bytes;
use compact_str::CompactString;
use http::HeaderMap;
use ipnet::IpNet;
use uuid::{NoContext, Timestamp, Uuid};

use self::log::Line;
pub use self::{
    decompress::{Undecompressed, decompress, is_compressed},
    failures::Failures,
};
use crate::{
    addresses::is_in,
    credentials::{Accounts, Verified},
    delivery::{Delivery, Reason, Receipt, UnprocessedDelivery},
    inbox::Inbox,
    json::{Document, Malformed},
    metrics::{Fate, Metrics, ProviderMetrics},
    payload::Payload,
    providers::{Outcome, Provider, Rejection},
    secrets::CurrentSecrets,
    telemetry::{TraceContext, Traces},
    ticket_event::TicketEvent,
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
    pub origin: Origin,
}

/// What is known of a request from its first moment to its last.
pub struct Origin {
    /// The id under which it is found in the logs.
    pub id: CompactString,
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
    pub failures: Failures,
    /// The largest body, decompressed, in bytes.
    pub body_limit_bytes: usize,
    /// What is counted of all of them.
    pub metrics: Arc<Metrics>,
    /// Where traces go.
    pub traces: Arc<Traces>,
}

/// A delivery whose sender is known, ready to be made durable.
struct Taken {
    delivery: Delivery,
    /// What it is answered once it is durable, unless the database decides otherwise.
    outcome: Outcome,
    /// Since when it is known who sent it.
    authenticated: Instant,
    /// Since when it is ready.
    normalized: Instant,
}

impl Receiver {
    /// Takes a delivery in. The body is waited for only when it is needed.
    pub async fn receive(
        &self,
        endpoint: &Endpoint,
        request: Request,
        body: impl Future<Output = Result<Bytes, Outcome>>,
    ) -> Outcome {
        let Request { headers, origin } = request;
        match self.take_in(endpoint, headers, &origin, body).await {
            Ok(taken) => self.make_durable(endpoint, &origin, taken).await,
            Err(outcome) => self.turn_away(endpoint, &origin, outcome),
        }
    }

    /// Whether anybody may deliver for a provider.
    pub fn has_accounts(&self, provider: &dyn Provider) -> bool {
        self.secrets.load().accounts(provider).is_some()
    }

    /// Authenticates, parses, normalizes. `Err` when nothing of it is kept.
    ///
    /// The request itself ends here: while deliveries wait to be durable, only what is kept of them takes memory.
    async fn take_in(
        &self,
        endpoint: &Endpoint,
        headers: HeaderMap,
        origin: &Origin,
        body: impl Future<Output = Result<Bytes, Outcome>>,
    ) -> Result<Taken, Outcome> {
        let now = SystemTime::now();
        let phases = &self.metrics.phases;

        // authenticate: before the body is read where the credentials stand in a header
        endpoint.check_address(origin.client)?;
        let secrets = self.secrets.load_full();
        let accounts = secrets.accounts(endpoint.provider).ok_or(Outcome::Unauthenticated)?;
        let proof_in_headers = endpoint.verify_headers(accounts, &headers)?;
        let headers_verified = Instant::now();
        let body = body.await?;
        let body_arrived = Instant::now();
        let (body, parsed) = match decompress(&body, self.body_limit_bytes) {
            Ok(decompressed) => (decompressed, Ok(())),
            Err(Undecompressed::Damaged) => (body.as_ref().into(), Err(Malformed::NotGzip)),
            Err(Undecompressed::TooLarge) => return Err(Outcome::TooLarge(self.body_limit_bytes)),
        };
        let parsed = parsed.and_then(|()| Document::parse(&body));
        let proof = match (proof_in_headers, &parsed) {
            (Some(proof), _) => proof,
            (None, Ok(document)) => endpoint.verify_body(accounts, &headers, document)?,
            (None, Err(malformed)) => return Err(Outcome::Malformed(malformed.to_string())),
        };

        let authenticated = Instant::now();
        phases.authenticate.record((authenticated - body_arrived) + (headers_verified - origin.start));
        endpoint.metrics.authenticated(authenticated);

        let provider = endpoint.provider;
        let account = proof.account();
        let (id, received_at) = (id_of(now), now.into());
        let unprocessed = |reason: Reason, outcome: &Outcome, body: Vec<u8>| {
            Delivery::Unprocessed(UnprocessedDelivery {
                id,
                provider: provider.name().to_owned(),
                account: account.name.clone(),
                environment: account.environment,
                reason,
                detail: detail(reason, outcome),
                body,
                received_at,
            })
        };

        // parse, less the credentials
        let document = match parsed {
            Ok(document) => document,
            Err(malformed) => {
                let outcome = Outcome::Malformed(malformed.to_string());
                let delivery = unprocessed(Reason::Malformed, &outcome, secrets.redactor.bytes(&body));
                return Ok(Taken { delivery, outcome, authenticated, normalized: authenticated });
            }
        };
        let payload = Payload::new(proof, document, &provider.credential_members(), &secrets.redactor);

        // normalize
        let booking = provider.normalize(&payload);
        let normalized = Instant::now();
        phases.normalize.record(normalized - authenticated);
        let (delivery, outcome) = match booking {
            Ok(booking) => {
                let event = TicketEvent {
                    id,
                    provider: provider.name(),
                    account: account.name.clone(),
                    environment: account.environment,
                    booking,
                    payload: payload.into_string(),
                    received_at,
                };
                (Delivery::Event(event), Outcome::Accepted)
            }
            Err(rejection) => {
                let (reason, outcome) = match rejection {
                    Rejection::Invalid(errors) => (Reason::Invalid, Outcome::Invalid(errors)),
                    Rejection::NoTicket => (Reason::NoTicket, Outcome::NoTicket),
                    Rejection::UnsupportedType => (Reason::UnsupportedType, Outcome::Accepted),
                };
                (unprocessed(reason, &outcome, payload.into_string().into_bytes()), outcome)
            }
        };
        Ok(Taken { delivery, outcome, authenticated, normalized })
    }

    /// Answers once the delivery is durable. It is handed in at once, not when this is first waited for.
    fn make_durable(&self, endpoint: &Endpoint, origin: &Origin, taken: Taken) -> impl Future<Output = Outcome> {
        let Taken { delivery, outcome, authenticated, normalized } = taken;
        let line = Line::of(&delivery, authenticated, normalized);
        let receipt = self.inbox.submit(delivery, normalized);
        async move {
            let receipt = receipt.await.ok();
            let fate = receipt.as_ref().map_or(Fate::NotDurable, Fate::from);
            let end = Instant::now();
            endpoint.metrics.delivered(Some(line.environment()), fate);
            self.metrics.phases.whole.record(end - origin.start);
            line.write(endpoint.provider, origin, receipt.as_ref(), fate, end, &self.traces);
            match receipt {
                None => Outcome::Unavailable,
                Some(Receipt::UnknownBooking) => Outcome::UnknownBooking,
                // a refused row is no mistake that the provider could mend
                Some(_) => outcome,
            }
        }
    }

    /// Of what comes here nothing is kept.
    fn turn_away(&self, endpoint: &Endpoint, origin: &Origin, outcome: Outcome) -> Outcome {
        let outcome = match outcome {
            Outcome::Unauthenticated => self.failures.answer(origin.client),
            other => other,
        };
        let fate = Fate::from(&outcome);
        endpoint.metrics.delivered(None, fate);
        let line = || log::not_taken_in(endpoint.provider, origin, &outcome, fate, &self.traces);
        self.failures.log(origin.client, line);
        outcome
    }
}

/// Why a delivery is kept unprocessed, in words that name the fields.
fn detail(reason: Reason, outcome: &Outcome) -> String {
    match reason {
        Reason::UnsupportedType => "a notification of another type".to_owned(),
        _ => outcome.message(),
    }
}

impl Endpoint {
    fn check_address(&self, client: IpAddr) -> Result<(), Outcome> {
        let is_allowed = self.allowed_networks.is_empty() || is_in(&self.allowed_networks, client);
        if is_allowed { Ok(()) } else { Err(Outcome::Unauthenticated) }
    }

    /// `None` where the credentials stand in the body.
    fn verify_headers<'a>(&self, accounts: &'a Accounts, headers: &HeaderMap) -> Result<Option<Verified<'a>>, Outcome> {
        if !self.provider.authenticates_by_header() {
            return Ok(None);
        }
        let proof = accounts.verify(self.provider.presented(headers, None).as_ref());
        proof.map(Some).ok_or(Outcome::Unauthenticated)
    }

    fn verify_body<'a>(
        &self,
        accounts: &'a Accounts,
        headers: &HeaderMap,
        document: &Document<'_>,
    ) -> Result<Verified<'a>, Outcome> {
        let presented = self.provider.presented(headers, Some(document.root()));
        accounts.verify(presented.as_ref()).ok_or(Outcome::Unauthenticated)
    }
}

/// A UUIDv7 of this moment: ids sort by arrival.
fn id_of(now: SystemTime) -> Uuid {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Uuid::new_v7(Timestamp::from_unix(NoContext, since.as_secs(), since.subsec_nanos()))
}
