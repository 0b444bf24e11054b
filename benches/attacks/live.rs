//! The steady live load: about 100 deliveries a second of new bookings over 8 connections, on a thread of its own.
//!
//! The time of a delivery is counted from its first byte, or from connecting where that is needed. A connection that has
//! a delivery under way sends no other, so that a service which stands still gets fewer.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::{JoinHandle, spawn},
    time::{Duration, Instant},
};

use ticket_webhooks::providers::PROVIDERS;
use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{MissedTickBehavior, interval_at, timeout},
};

use crate::{
    bench::LIVE,
    client::connect,
    requests::{NUMBER, Request},
    wire,
};

/// The sender's address, which no attacker uses.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 1);

const CONNECTIONS: u32 = 8;

/// Delay between two deliveries of a connection.
const PAUSE: Duration = Duration::from_millis(80);

/// Limit for the answer to a delivery.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The number of the next booking.
static BOOKINGS: AtomicU64 = AtomicU64::new(1);

/// How the load connects.
#[derive(Clone, Copy)]
pub enum Live {
    /// Connections are kept alive.
    Kept,
    /// A new connection for each delivery.
    Reconnecting,
}

/// A running load.
pub struct Running {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<Vec<Sent>>>,
}

/// A delivery that was sent.
pub struct Sent {
    pub at: Instant,
    pub took: Duration,
    /// 0 without an answer.
    pub status: u16,
    number: u64,
}

impl Sent {
    /// The number of its booking.
    pub fn booking_ref(&self) -> String {
        format!("BENCH-{:012}", self.number)
    }
}

impl Live {
    /// Starts the load, which runs until [`Running::finish`].
    pub fn start(self, to: SocketAddr) -> Running {
        let stop = Arc::<AtomicBool>::default();
        let thread = spawn({
            let stop = Arc::clone(&stop);
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(async {
                    let mut connections = JoinSet::new();
                    for index in 0..CONNECTIONS {
                        connections.spawn(self.deliver(to, PAUSE * index / CONNECTIONS, Arc::clone(&stop)));
                    }
                    Ok(connections.join_all().await.into_iter().flatten().collect())
                })
            }
        });
        Running { stop, thread }
    }

    async fn deliver(self, to: SocketAddr, delay: Duration, stop: Arc<AtomicBool>) -> Vec<Sent> {
        let booking_ref = format!("BENCH-{NUMBER}");
        let mut requests: Vec<_> =
            PROVIDERS.iter().map(|provider| Request::sample(*provider, LIVE, &booking_ref, 0)).collect();
        let mut ticks = interval_at(tokio::time::Instant::now() + delay, PAUSE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut sent, mut stream) = (Vec::new(), None);
        while !stop.load(Relaxed) {
            ticks.tick().await;
            requests.rotate_left(1);
            let (at, number) = (Instant::now(), BOOKINGS.fetch_add(1, Relaxed));
            let status = timeout(TIMEOUT, exchange(&mut stream, to, requests[0].numbered(number))).await;
            let status = status.ok().and_then(Result::ok).unwrap_or(0);
            sent.push(Sent { at, took: at.elapsed(), status, number });
            if status != 200 || matches!(self, Self::Reconnecting) {
                stream = None;
            }
        }
        sent
    }
}

impl Running {
    /// Stops the load and returns all deliveries.
    pub fn finish(self) -> anyhow::Result<Vec<Sent>> {
        self.stop.store(true, Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the live load panicked"))?
    }
}

/// Uses the open connection unless it was closed while idle.
async fn exchange(kept: &mut Option<TcpStream>, to: SocketAddr, request: &[u8]) -> anyhow::Result<u16> {
    let is_open = |stream: &TcpStream| stream.try_read(&mut [0]).is_err_and(|error| error.kind() == WOULD_BLOCK);
    let stream = match kept.take().filter(is_open) {
        Some(stream) => stream,
        None => connect(ADDRESS, to).await?,
    };
    let status = wire::status(wire::exchange(&stream, request, &mut [0; 4096]).await?);
    *kept = Some(stream);
    Ok(status)
}

const WOULD_BLOCK: std::io::ErrorKind = std::io::ErrorKind::WouldBlock;
