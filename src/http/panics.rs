//! The answer to a request whose handler panicked.
//!
//! Behind a provider's route it is "cannot be made durable now", in the provider's format, and counts as `not_durable`; a
//! delivery that was stored before the panic is sent again, and is a duplicate then. Elsewhere it is 500.
//!
//! The panic's message is not logged here: the panic hook has written it, with its place, to standard error.

use std::{
    any::Any,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use axum::{
    body::Body,
    extract::{ConnectInfo, Request},
    http::{StatusCode, Uri},
    response::Response,
};
use tower::Service;
use tower_http::catch_panic::{CatchPanic, ResponseForPanic};

use super::{reply::encode, server::Peer};
use crate::{
    activity::{Refusal, Refused},
    api::ApiError,
    delivery::Outcome,
    providers::Reply,
    receive::Endpoint,
    request_id::RequestId,
    secrets::CurrentSecrets,
};

/// What is the same for all requests of a listener.
pub(super) struct PanicContext {
    /// By path; empty on the admin listener.
    pub(super) endpoints: Vec<(String, Endpoint)>,
    pub(super) secrets: Arc<CurrentSecrets>,
}

/// tower-http's [`CatchPanic`] with a handler for each request: its layer has one for all, which knows nothing of the
/// request.
#[derive(Clone)]
pub(super) struct CatchPanics<S> {
    pub(super) inner: S,
    pub(super) context: Arc<PanicContext>,
}

impl<S> Service<Request> for CatchPanics<S>
where
    S: Service<Request, Response = Response>,
{
    type Response = <CatchPanic<S, PanicHandler> as Service<Request>>::Response;
    type Error = S::Error;
    type Future = <CatchPanic<S, PanicHandler> as Service<Request>>::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let handler = PanicHandler {
            context: Arc::clone(&self.context),
            id: RequestId::of(request.extensions()),
            peer: request.extensions().get().map(|ConnectInfo(peer): &ConnectInfo<Peer>| peer.clone()),
            uri: request.uri().clone(),
        };
        CatchPanic::custom(&mut self.inner, handler).call(request)
    }
}

/// Answers the panic of one request.
#[derive(Clone)]
pub(super) struct PanicHandler {
    context: Arc<PanicContext>,
    id: RequestId,
    peer: Option<Peer>,
    /// Normalized.
    uri: Uri,
}

impl ResponseForPanic for PanicHandler {
    type ResponseBody = Body;

    fn response_for_panic(&mut self, _: Box<dyn Any + Send + 'static>) -> Response {
        let PanicContext { endpoints, secrets } = &*self.context;
        let mut is_from_proxy = false;
        if let Some(peer) = &self.peer {
            is_from_proxy = peer.is_trusted_proxy;
            // else the connection counts as recording and cannot be evicted while the answer is not taken
            peer.connection.state().begin_answering(false);
        }
        let endpoint = endpoints.iter().find(|(path, _)| path == self.uri.path()).map(|(_, endpoint)| endpoint);
        let outcome = Outcome::NotDurable;
        let id = self.id.clone().redacted(is_from_proxy, secrets);
        let answer = match endpoint {
            Some(endpoint) => {
                endpoint.metrics.count_outcome(None, &outcome);
                endpoint.activity.count_rejected(&outcome, false, Instant::now());
                endpoint.activity.refuse(Refused {
                    provider: None,
                    reason: Refusal::NotDurable,
                    detail: None,
                    path: None,
                    client: None,
                    request_id: id.as_str(),
                });
                encode(endpoint.provider, &Reply::Unavailable)
            }
            None => {
                let message = "an error of the service's own";
                ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message).response(&self.id)
            }
        };
        tracing::error!(
            provider = endpoint.map(|endpoint| endpoint.provider.name()),
            outcome = endpoint.map(|_| outcome.as_str()),
            status = answer.status().as_u16(),
            request.id = id.as_str(),
            "the handling of a request panicked"
        );
        answer
    }
}
