//! The load generator: connections that each post, wait for the answer and post again, on one thread.
//!
//! It shares the machine with the measured service, so it does as little as possible: raw HTTP/1.1 over keep-alive
//! connections, requests made in advance, and of an answer only the status and the end are read.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::Context;
use tokio::{net::TcpStream, task::JoinSet};

use crate::{deliveries::Deliveries, wire};

/// A load to generate.
#[derive(Clone, Copy)]
pub struct Load {
    pub connections: usize,
    pub duration: Duration,
    /// The same delivery from all connections, or a new booking each time.
    pub repeated: bool,
    /// New bookings with references that do not ascend.
    pub scattered: bool,
    /// Of a body, at least.
    pub body_bytes: usize,
}

/// The result of a load.
pub struct Run {
    pub acknowledged: u64,
    /// Answered with an error.
    pub refused: u64,
    pub seconds: f64,
    /// Of each acknowledged delivery, in microseconds, sorted.
    latencies: Vec<u32>,
}

impl Load {
    /// New bookings from this number of connections.
    pub fn new(connections: usize, duration: Duration) -> Self {
        Self { connections, duration, repeated: false, scattered: false, body_bytes: 0 }
    }

    /// Runs the load on this thread; `acknowledged` is its live counter for other threads.
    pub fn run(self, address: SocketAddr, acknowledged: &Arc<AtomicU64>) -> anyhow::Result<Run> {
        self.run_with(|| self.deliveries(), address, acknowledged)
    }

    fn deliveries(self) -> Deliveries {
        match (self.repeated, self.scattered) {
            (true, _) => Deliveries::one_and_the_same(),
            (false, true) => Deliveries::scattered_bookings(),
            (false, false) => Deliveries::new_bookings(self.body_bytes),
        }
    }

    /// Runs the load with other deliveries, made for each connection.
    pub fn run_with(
        self,
        deliveries: impl Fn() -> Deliveries,
        address: SocketAddr,
        acknowledged: &Arc<AtomicU64>,
    ) -> anyhow::Result<Run> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut streams = Vec::new();
            for _ in 0..self.connections {
                let stream = TcpStream::connect(address).await.context("the load generator cannot connect")?;
                stream.set_nodelay(true)?;
                streams.push(stream);
            }
            let start = Instant::now();
            let mut connections = JoinSet::new();
            for stream in streams {
                connections.spawn(deliver(stream, deliveries(), start + self.duration, Arc::clone(acknowledged)));
            }
            let mut run = Run { acknowledged: 0, refused: 0, seconds: 0.0, latencies: Vec::new() };
            while let Some(connection) = connections.join_next().await {
                let (latencies, refused) = connection??;
                run.acknowledged += latencies.len() as u64;
                run.refused += refused;
                run.latencies.extend(latencies);
            }
            run.seconds = start.elapsed().as_secs_f64();
            run.latencies.sort_unstable();
            Ok(run)
        })
    }
}

impl Run {
    /// Acknowledged deliveries per second.
    pub fn rate(&self) -> f64 {
        self.acknowledged as f64 / self.seconds
    }

    /// Quantile of the latency, in milliseconds.
    pub fn latency(&self, share: f64) -> f64 {
        let index = (self.latencies.len() as f64 * share) as usize;
        f64::from(*self.latencies.get(index).or(self.latencies.last()).unwrap_or(&0)) / 1000.0
    }
}

/// Uses one connection; returns the latencies of acknowledged deliveries and the number of refused ones.
async fn deliver(
    stream: TcpStream,
    mut deliveries: Deliveries,
    until: Instant,
    acknowledged: Arc<AtomicU64>,
) -> anyhow::Result<(Vec<u32>, u64)> {
    let mut latencies = Vec::with_capacity(4096);
    let mut refused = 0;
    let mut answer = [0; 2048];
    let mut sent = Instant::now();
    while sent < until {
        let status = wire::status(wire::exchange(&stream, deliveries.next(), &mut answer).await?);
        let now = Instant::now();
        if (200..300).contains(&status) {
            latencies.push(u32::try_from((now - sent).as_micros())?);
            acknowledged.fetch_add(1, Relaxed);
        } else {
            refused += 1;
        }
        sent = now;
    }
    Ok((latencies, refused))
}
