//! A listener: binds first, so that its address is known; serves until it is told to stop; then finishes what is in
//! flight.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::ConnectInfo, http::Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use uuid::Uuid;

use super::request_id;
use crate::redaction::Redactor;

/// How long a client may take to send the head of a request, and how long a connection may stay idle. Longer than load
/// balancers keep idle connections, for one that is closed under a request is a delivery lost.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);

/// After this a failing `accept` is tried again: it fails while there are too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound listener.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    places: Places,
}

/// The connections to a listener: how many there are, and how many may be. Clones are the same.
#[derive(Clone)]
pub struct Places {
    free: Arc<Semaphore>,
    all: usize,
}

impl Places {
    /// How many there are, and how many may be.
    pub fn read(&self) -> (usize, usize) {
        (self.all - self.free.available_permits(), self.all)
    }
}

impl Server {
    /// Binds, for at most so many connections at once; port 0 takes a free one.
    ///
    /// # Errors
    ///
    /// The address is in use, or not one of this machine.
    pub async fn bind(address: SocketAddr, max_connections: usize) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let all = max_connections.min(Semaphore::MAX_PERMITS);
        Ok(Self { listener, address, places: Places { free: Arc::new(Semaphore::new(all)), all } })
    }

    /// The connections.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`, then closes the listener and waits for the requests in flight. Every request has an id, in which
    /// stands nothing that the redactor knows.
    pub async fn serve(self, router: Router, redactor: Arc<Redactor>, stop: CancellationToken) -> anyhow::Result<()> {
        let graceful = GracefulShutdown::new();
        while let Some(accepted) = stop.run_until_cancelled(self.listener.accept()).await {
            match accepted {
                Ok((stream, peer)) => match Arc::clone(&self.places.free).try_acquire_owned() {
                    Ok(place) => serve_connection(stream, peer, place, (&router, &redactor), &graceful),
                    Err(_) => refuse(&stream),
                },
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
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
fn refuse(stream: &TcpStream) {
    let id = Uuid::now_v7();
    let body =
        json!({"error": {"code": "overloaded", "message": "too many connections", "request_id": id}}).to_string();
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
    place: OwnedSemaphorePermit,
    (router, redactor): (&Router, &Arc<Redactor>),
    graceful: &GracefulShutdown,
) {
    // answers are small: waiting to fill a packet only delays them
    let _ = stream.set_nodelay(true);
    let (router, redactor) = (router.clone(), Arc::clone(redactor));
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        let id = request_id::assign(request.headers_mut(), &redactor);
        let answer = router.clone().oneshot(request);
        // not a layer: each that is added to a router costs every request an allocation or two
        async move {
            let mut answer = answer.await?;
            request_id::put(answer.headers_mut(), id);
            Ok::<_, Infallible>(answer)
        }
    });
    let mut http = http1::Builder::new();
    // a client that has said all it has to say may close its side and still wait for the answer
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).half_close(true);
    let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, client.address = %peer.ip(), "connection ended");
        }
        drop(place);
    });
}
