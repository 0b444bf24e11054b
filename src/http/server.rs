//! A listener: binds, serves until `stop`, then finishes the requests in flight.
//!
//! Plain HTTP/1.1 only: a load balancer in front speaks TLS and HTTP/2 to the world, so there is nothing of them to attack
//! here. The preface of HTTP/2 ends a connection. hyper itself answers 400 to what is no HTTP and 431 to a head that is too
//! large: these have neither a body nor a request id.
//!
//! The accept loop is not `axum::serve`: a permit is acquired before a task is spawned and may evict another connection
//! (hyperium/hyper#2640, tokio-rs/axum#3489), and hyper needs a timer of ours for idle connections and slow heads
//! (tokio-rs/axum#2741).

use std::{
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use axum::{body::Body, extract::ConnectInfo, http::Request};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{rt::TokioIo, server::graceful::GracefulShutdown, service::TowerToHyperService};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tower::ServiceBuilder;

use super::{
    connection_limiter::{ConnectionLimiter, ConnectionPermit},
    header_timer::IdleThenHeadTimer,
    limits::Limits,
    refusal::refuse,
    service::HttpService,
    stream::TimeoutStream,
};
use crate::{clock, metrics::ConnectionMetrics, telemetry::RateLimitedWarning};

/// Of a request's head, with at most 100 headers, hyper's limit.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// The read buffer of a connection: with hyper's default of 400 KiB (hyperium/hyper#1748) 2,048 connections take 800 MiB.
const MAX_READ_BUFFER_BYTES: usize = 32 * 1024;

/// `accept` fails while too many files are open.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// A bound listener.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    limiter: Arc<ConnectionLimiter>,
}

/// The `ConnectInfo` of every request.
#[derive(Clone)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    pub(super) is_trusted_proxy: bool,
    pub(super) connection: Arc<ConnectionPermit>,
}

impl Server {
    /// Port 0 binds a free one.
    ///
    /// # Errors
    ///
    /// The address is in use, or not one of this machine.
    pub async fn bind(address: SocketAddr, limits: Limits, metrics: ConnectionMetrics) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address, limiter: Arc::new(ConnectionLimiter::new(limits, metrics)) })
    }

    /// For metrics.
    pub fn connections(&self) -> &Arc<ConnectionLimiter> {
        &self.limiter
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns once the requests in flight at `stop` are answered.
    pub async fn serve(self, service: impl HttpService, stop: CancellationToken) -> anyhow::Result<()> {
        let (graceful, accept_failed) = (GracefulShutdown::new(), RateLimitedWarning::default());
        let limiter = self.limiter;
        while let Some(accepted) = stop.run_until_cancelled(self.listener.accept()).await {
            match accepted {
                Ok((stream, _)) if !clock::is_usable() => {
                    refuse(stream, "the clock of this machine is wrong", limiter.try_linger());
                }
                Ok((stream, peer)) => match limiter.acquire(peer.ip()).await {
                    Ok(permit) => serve_connection(stream, peer, permit, service.clone(), &graceful),
                    Err(reason) => refuse(stream, reason, limiter.try_linger()),
                },
                Err(error) => {
                    if accept_failed.due().is_some() {
                        tracing::warn!(%error, "a connection could not be accepted");
                    }
                    // most often too many files are open
                    limiter.evict_one();
                    tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
                }
            }
        }
        drop(self.listener);
        graceful.shutdown().await;
        Ok(())
    }
}

fn serve_connection(
    stream: TcpStream,
    peer: SocketAddr,
    permit: ConnectionPermit,
    service_of_listener: impl HttpService,
    graceful: &GracefulShutdown,
) {
    // answers are small: Nagle's algorithm only delays them
    let _ = stream.set_nodelay(true);
    let state = Arc::clone(permit.state());
    let permit = Arc::new(permit);
    let limits = permit.limits();
    let is_trusted_proxy = limits.is_trusted_proxy(peer.ip());
    let mut http = http1::Builder::new();
    http.timer(IdleThenHeadTimer { state: Arc::clone(&state), head_timeout: limits.header_read_timeout });
    // the idle timeout: the timer shortens it once a head begins
    http.header_read_timeout(limits.idle_timeout);
    http.max_buf_size(MAX_READ_BUFFER_BYTES).max_header_size(MAX_HEAD_BYTES);
    // a client may close its side after its request and still wait for the answer
    http.half_close(true);
    let stream = TimeoutStream::new(stream, Arc::clone(&state), limits.response_write_timeout);
    let info = ConnectInfo(Peer { address: peer, is_trusted_proxy, connection: permit });
    let service = ServiceBuilder::new().map_request(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(info.clone());
        request
    });
    let service = TowerToHyperService::new(service.service(service_of_listener));
    let mut connection = Box::pin(graceful.watch(http.serve_connection(TokioIo::new(stream), service)));
    // hyper formats the date on every poll, and panics outside the years that HTTP can express
    let connection = poll_fn(move |context| {
        state.set_waker(context.waker());
        match clock::is_usable() {
            true => connection.as_mut().poll(context),
            false => Poll::Ready(Ok(())),
        }
    });
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, client.address = %peer.ip(), "connection ended");
        }
    });
}
