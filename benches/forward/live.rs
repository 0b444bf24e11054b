//! Deliveries about new bookings, from a few connections.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use tokio::{net::TcpStream, task::JoinSet};

use crate::{deliveries::Deliveries, wire};

/// So that a rate is kept although each delivery waits for its commit.
const CONNECTIONS: u32 = 16;

/// Of deliveries that come as fast as possible.
const MANY_CONNECTIONS: u32 = 256;

/// Deliveries at a steady rate.
pub struct Live {
    address: SocketAddr,
    rate: u32,
}

/// What became of them.
pub struct Delivered {
    /// When each was answered, by its booking.
    pub answered: HashMap<String, Instant>,
    /// In milliseconds, sorted.
    latencies: Vec<f64>,
}

impl Delivered {
    pub fn latency(&self, share: f64) -> f64 {
        self.latencies[((self.latencies.len() - 1) as f64 * share) as usize]
    }
}

impl Live {
    pub fn new(address: SocketAddr, rate: u32) -> Self {
        Self { address, rate }
    }

    pub fn run(self, duration: Duration) -> anyhow::Result<Delivered> {
        let end = Instant::now() + duration;
        self.run_while(|| Instant::now() < end)
    }

    pub fn run_while(self, goes_on: impl Fn() -> bool) -> anyhow::Result<Delivered> {
        let is_going_on = Arc::new(AtomicUsize::new(1));
        let interval = Duration::from_secs(CONNECTIONS.into()) / self.rate;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut connections = JoinSet::new();
            let began = Instant::now();
            for number in 0..CONNECTIONS {
                let first = began + interval / CONNECTIONS * number;
                connections.spawn(deliver(self.address, first, interval, Arc::clone(&is_going_on)));
            }
            while goes_on() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            is_going_on.store(0, Relaxed);
            let (mut answered, mut latencies) = (HashMap::new(), Vec::new());
            for of_connection in connections.join_all().await {
                for (booking, at, latency) in of_connection? {
                    answered.insert(booking, at);
                    latencies.push(latency.as_secs_f64() * 1000.0);
                }
            }
            latencies.sort_by(f64::total_cmp);
            Ok(Delivered { answered, latencies })
        })
    }

    pub fn as_fast_as_possible(address: SocketAddr, count: usize) -> anyhow::Result<()> {
        let left = Arc::new(AtomicUsize::new(count));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut connections = JoinSet::new();
            for _ in 0..MANY_CONNECTIONS {
                let left = Arc::clone(&left);
                connections.spawn(async move {
                    let (stream, mut deliveries, mut answer) =
                        (TcpStream::connect(address).await?, Deliveries::new_bookings(0), [0; 2048]);
                    while left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
                        let status = wire::status(wire::exchange(&stream, deliveries.next(), &mut answer).await?);
                        ensure!(status == 200, "a delivery was refused: {status}");
                    }
                    Ok(())
                });
            }
            connections.join_all().await.into_iter().collect()
        })
    }
}

/// One connection: the booking, when it was answered, and after which time.
async fn deliver(
    address: SocketAddr,
    first: Instant,
    interval: Duration,
    is_going_on: Arc<AtomicUsize>,
) -> anyhow::Result<Vec<(String, Instant, Duration)>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut deliveries, mut answer, mut answered, mut due) =
        (Deliveries::new_bookings(0), [0; 2048], Vec::new(), first);
    while is_going_on.load(Relaxed) > 0 {
        tokio::time::sleep_until(due.into()).await;
        due += interval;
        let request = deliveries.next();
        let text = String::from_utf8_lossy(request);
        let at = text.find("BENCH-").context("a booking reference")?;
        let booking = text[at..].split('"').next().unwrap_or_default().to_owned();
        let sent = Instant::now();
        let status = wire::status(wire::exchange(&stream, request, &mut answer).await?);
        ensure!(status == 200, "a delivery was refused: {status}");
        answered.push((booking, Instant::now(), sent.elapsed()));
    }
    Ok(answered)
}
