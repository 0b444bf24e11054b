//! A probe: repeated requests for one path, each over a new connection, on another thread.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{JoinHandle, sleep, spawn},
    time::{Duration, Instant},
};

use tokio::time::timeout;

use crate::{
    client::{block_on, connect},
    wire,
};

/// The probe's address, which no attacker uses.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 2);

const PAUSE: Duration = Duration::from_millis(50);

/// Limit for an answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A running probe.
pub struct Probe {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<Vec<(u16, Duration)>>>,
}

impl Probe {
    /// Starts the probe, which runs until [`Self::finish`].
    pub fn start(to: SocketAddr, path: &'static str) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let thread = spawn({
            let stop = Arc::clone(&stop);
            move || {
                let mut answers = Vec::new();
                while !stop.load(Relaxed) {
                    let start = Instant::now();
                    answers.push((wire::status(&ask(to, path, &[])?), start.elapsed()));
                    sleep(PAUSE);
                }
                Ok(answers)
            }
        });
        Self { stop, thread }
    }

    /// Stops the probe: the status (0 without an answer) and time of each answer.
    pub fn finish(self) -> anyhow::Result<Vec<(u16, Duration)>> {
        self.stop.store(true, Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("a probe panicked"))?
    }
}

/// The answer to a `GET`, empty if there is none.
pub fn ask(to: SocketAddr, path: &str, headers: &[(&str, &str)]) -> anyhow::Result<Vec<u8>> {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n");
    send(to, request.as_bytes())
}

/// The answer to a request, empty if there is none.
pub fn send(to: SocketAddr, request: &[u8]) -> anyhow::Result<Vec<u8>> {
    block_on(async {
        let exchange = async {
            let stream = connect(ADDRESS, to).await?;
            anyhow::Ok(wire::exchange(&stream, request, &mut [0; 4096]).await?.to_vec())
        };
        Ok(timeout(TIMEOUT, exchange).await.ok().and_then(Result::ok).unwrap_or_default())
    })
}

/// The words "n of m said 200".
pub fn said_200(answers: &[(u16, Duration)]) -> String {
    let said = answers.iter().filter(|(status, _)| *status == 200).count();
    format!("{said} of {} said 200", answers.len())
}
