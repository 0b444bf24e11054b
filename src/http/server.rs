//! A listener: binds first, so that its address is known; serves until it is told to stop; then finishes what is in
//! flight.
//!
//! It speaks HTTP/1.1 and nothing else: a load balancer in front speaks HTTP/2 to the world, and with neither TLS nor
//! HTTP/2 here there is nothing of them to attack. Who begins with HTTP/2 is hung up on. What is no HTTP at all is
//! answered by hyper with 400, a head that is too large with 431; these two have neither a body nor a request id.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use axum::{Router, body::Body, http::Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{rt::TokioIo, server::graceful::GracefulShutdown};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::{
    connection_limiter::{ConnectionLimiter, ConnectionPermit},
    header_timer::HeaderReadTimer,
    limits::Limits,
    request_id,
    stream::TimeoutStream,
};
use crate::{clock, metrics::ConnectionMetrics, telemetry::RateLimitedWarning};

/// The largest head of a request, in bytes; the most headers are hyper's 100.
const HEAD_LIMIT: usize = 16 * 1024;

/// What one connection reads ahead at most, in bytes: with 400 KiB, hyper's own limit, many connections could have the
/// memory of a whole machine.
const READ_LIMIT: usize = 32 * 1024;

/// After this a failing `accept` is tried again: it fails while there are too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound listener.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    connections: Arc<ConnectionLimiter>,
}

/// The other end of a request's connection.
#[derive(Clone)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    pub(super) connection: Arc<ConnectionPermit>,
}

impl Server {
    /// Binds; port 0 takes a free one.
    ///
    /// # Errors
    ///
    /// The address is in use, or not one of this machine.
    pub async fn bind(address: SocketAddr, limits: Limits, metrics: ConnectionMetrics) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address, connections: Arc::new(ConnectionLimiter::new(limits, metrics)) })
    }

    /// The permits for its connections.
    pub fn connections(&self) -> &Arc<ConnectionLimiter> {
        &self.connections
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`, then closes the listener and waits for the requests in flight. Every request has an id.
    pub async fn serve(self, router: Router, stop: CancellationToken) -> anyhow::Result<()> {
        let (graceful, accept_failed) = (GracefulShutdown::new(), RateLimitedWarning::default());
        let connections = self.connections;
        while let Some(accepted) = stop.run_until_cancelled(self.listener.accept()).await {
            match accepted {
                Ok((stream, _)) if !clock::is_usable() => refuse(&stream, "the clock of this machine is wrong"),
                Ok((stream, peer)) => match connections.acquire(peer.ip()).await {
                    Ok(permit) => serve_connection(stream, peer, permit, router.clone(), &graceful),
                    Err(why) => refuse(&stream, why),
                },
                Err(error) => {
                    if accept_failed.due().is_some() {
                        tracing::warn!(%error, "a connection could not be accepted");
                    }
                    // as a rule too many files are open
                    connections.make_room();
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.listener);
        graceful.shutdown().await;
        Ok(())
    }
}

/// One connection too many is told so and closed.
fn refuse(stream: &TcpStream, why: &str) {
    let id = clock::new_id();
    let body = json!({"error": {"code": "overloaded", "message": why, "request_id": id}}).to_string();
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\nx-request-id: {id}\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    // a new connection has room for it; and if not, closing says enough
    let _ = stream.try_write(answer.as_bytes());
}

fn serve_connection(
    stream: TcpStream,
    peer: SocketAddr,
    permit: ConnectionPermit,
    router: Router,
    graceful: &GracefulShutdown,
) {
    // answers are small: waiting to fill a packet only delays them
    let _ = stream.set_nodelay(true);
    let state = Arc::clone(permit.state());
    let permit = Arc::new(permit);
    let limits = permit.limits();
    let is_proxy = limits.is_proxy(peer.ip());
    let mut http = http1::Builder::new();
    http.timer(HeaderReadTimer { state: Arc::clone(&state), timeout: limits.header_read_timeout });
    // a client that has said all it has to say may close its side and still wait for the answer
    http.header_read_timeout(limits.idle_timeout).max_buf_size(READ_LIMIT).max_header_size(HEAD_LIMIT).half_close(true);
    let stream = TimeoutStream::new(stream, Arc::clone(&state), limits.write_timeout);
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer { address: peer, connection: Arc::clone(&permit) });
        let id = request_id::assign(request.headers_mut(), is_proxy);
        let answer = router.clone().oneshot(request);
        // not a layer: each that is added to a router costs every request an allocation or two
        async move {
            let mut answer = answer.await?;
            request_id::put(answer.headers_mut(), id);
            Ok::<_, Infallible>(answer)
        }
    });
    let mut connection = Box::pin(graceful.watch(http.serve_connection(TokioIo::new(stream), service)));
    // hyper writes the date whenever it is polled, and panics where HTTP has no word for it
    let connection = poll_fn(move |context| {
        state.wake_by(context.waker());
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
