//! The attacker: connections from addresses of the loopback that each post, wait for the answer and post again.

use std::{
    collections::BTreeMap,
    fmt,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::{
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::{sleep, timeout_at},
};

use crate::{requests::Request, wire};

/// An address has at most 256 connections.
const CONNECTIONS_OF_AN_ADDRESS: usize = 240;

/// How long an answer is waited for after the end of an attack.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Delay before a broken connection is opened again.
const PAUSE_AFTER_BREAK: Duration = Duration::from_millis(5);

/// The number of the next request.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

/// Requests from many connections.
pub struct Flood {
    pub to: SocketAddr,
    pub connections: usize,
    /// Each connection sends them in turn.
    pub requests: Vec<Request>,
    pub duration: Duration,
    /// Ends the flood earlier, after this number of requests.
    pub at_most: u64,
    /// Delay between two requests of a connection.
    pub pause: Duration,
}

/// The answers to the requests.
#[derive(Default)]
pub struct Answers {
    /// By status; 0 stands for a request without an answer.
    by_status: BTreeMap<u16, u64>,
    seconds: f64,
}

impl Flood {
    /// As many requests as the duration allows.
    pub fn new(to: SocketAddr, connections: usize, requests: Vec<Request>, duration: Duration) -> Self {
        Self { to, connections, requests, duration, at_most: u64::MAX, pause: Duration::ZERO }
    }

    /// Runs the flood on this thread.
    pub fn run(self) -> anyhow::Result<Answers> {
        block_on(async {
            let start = Instant::now();
            let (until, rest) = (start + self.duration, Arc::new(AtomicU64::new(self.at_most)));
            let mut connections = JoinSet::new();
            for index in 0..self.connections {
                let from = address(index / CONNECTIONS_OF_AN_ADDRESS);
                let Self { to, ref requests, pause, .. } = self;
                connections.spawn(attack(from, to, requests.clone(), until, pause, Arc::clone(&rest)));
            }
            let mut answers = Answers::default();
            while let Some(of_one) = connections.join_next().await {
                for (status, count) in of_one? {
                    *answers.by_status.entry(status).or_default() += count;
                }
            }
            answers.seconds = start.elapsed().as_secs_f64();
            Ok(answers)
        })
    }
}

async fn attack(
    from: Ipv4Addr,
    to: SocketAddr,
    mut requests: Vec<Request>,
    until: Instant,
    pause: Duration,
    rest: Arc<AtomicU64>,
) -> BTreeMap<u16, u64> {
    let (mut statuses, mut kept) = (BTreeMap::new(), None);
    let mut answer = vec![0; 16 * 1024];
    while Instant::now() < until && rest.fetch_update(Relaxed, Relaxed, |rest| rest.checked_sub(1)).is_ok() {
        requests.rotate_left(1);
        let exchange = async {
            let stream = match kept.take() {
                Some(stream) => stream,
                None => connect(from, to).await?,
            };
            let request = requests[0].numbered(NUMBERS.fetch_add(1, Relaxed));
            let status = wire::status(wire::exchange(&stream, request, &mut answer).await?);
            anyhow::Ok((stream, status))
        };
        let status = match timeout_at((until + TIMEOUT).into(), exchange).await {
            Ok(Ok((stream, status))) => {
                kept = Some(stream);
                status
            }
            _ => {
                sleep(PAUSE_AFTER_BREAK).await;
                0
            }
        };
        *statuses.entry(status).or_default() += 1;
        if !pause.is_zero() {
            sleep(pause).await;
        }
    }
    statuses
}

impl Answers {
    pub fn of(&self, status: u16) -> u64 {
        self.by_status.get(&status).copied().unwrap_or(0)
    }

    pub fn all(&self) -> u64 {
        self.by_status.values().sum()
    }

    /// Answers per second, of any status.
    pub fn rate(&self) -> f64 {
        (self.all() - self.of(0)) as f64 / self.seconds
    }
}

impl fmt::Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (status, count)) in self.by_status.iter().enumerate() {
            let between = if index == 0 { "" } else { ", " };
            match status {
                0 => write!(f, "{between}{count} without an answer")?,
                status => write!(f, "{between}{count} × {status}")?,
            }
        }
        Ok(())
    }
}

/// The address of an attacker, from 127.0.0.2 on.
pub fn address(index: usize) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 0, 0, 2)) + index as u32)
}

/// A connection from an address of the loopback.
pub async fn connect(from: Ipv4Addr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_nodelay(true)?;
    socket.bind(SocketAddr::from((from, 0)))?;
    socket.connect(to).await
}

/// Runs a future on this thread.
pub fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future)
}
