//! From the answer to a delivery to a reader of the stream.

use std::{
    collections::HashMap,
    io::BufRead,
    net::SocketAddr,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use tokio::net::TcpStream;

use crate::{
    Bench,
    deliveries::Deliveries,
    readers::{self, Readers, quantile},
    wire,
};

const READERS: usize = 50;
const RATE: u64 = 1000;

pub fn run(bench: &Bench) -> anyhow::Result<()> {
    let service = bench.service(None)?;
    let admin = bench.admin()?;
    let others = Readers::start(&admin, READERS - 1, "from=now");
    let (sender, arrivals) = mpsc::channel();
    let mut stream = readers::ask(&admin, "/v1/events/stream?from=now")?;
    thread::spawn(move || {
        let mut line = String::new();
        while stream.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
            if let Some(at) = line.find("\"booking_ref\":\"") {
                let booking = line[at + 15..].split('"').next().unwrap_or_default().to_owned();
                if sender.send((booking, Instant::now())).is_err() {
                    return;
                }
            }
            line.clear();
        }
    });
    thread::sleep(Duration::from_millis(500));
    let answered = deliver(service.address, RATE * bench.duration.as_secs())?;
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut latencies = Vec::new();
    while latencies.len() < answered.len() {
        let left = deadline.saturating_duration_since(Instant::now());
        let (booking, arrived) = arrivals.recv_timeout(left).context("every event arrives")?;
        if let Some(answered) = answered.get(&booking) {
            latencies.push(arrived.saturating_duration_since(*answered).as_secs_f64() * 1000.0);
        }
    }
    let given = others.stop().events;
    latencies.sort_by(f64::total_cmp);
    let quantile = |share: f64| quantile(&latencies, share);
    println!(
        "from the answer to one of {READERS} readers of the stream at {RATE} events/s: p50 {:.1} ms, p99 {:.1} ms (at most 100), \
         most {:.1} ms; the others got {given} events",
        quantile(0.5),
        quantile(0.99),
        quantile(1.0)
    );
    Ok(())
}

/// New bookings at a steady rate; when each was answered, by its reference.
fn deliver(address: SocketAddr, count: u64) -> anyhow::Result<HashMap<String, Instant>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut answered = HashMap::new();
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (mut deliveries, mut answer, began) = (Deliveries::new_bookings(0), [0; 2048], Instant::now());
        for number in 0..count {
            tokio::time::sleep_until((began + Duration::from_micros(1_000_000 / RATE * number)).into()).await;
            let request = deliveries.next();
            let text = String::from_utf8_lossy(request);
            let at = text.find("BENCH-").context("a booking reference")?;
            let booking = text[at..].split('"').next().unwrap_or_default().to_owned();
            wire::exchange(&stream, request, &mut answer).await?;
            answered.insert(booking, Instant::now());
        }
        Ok(answered)
    })
}
