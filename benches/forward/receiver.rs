//! The agency's own system: it says yes at once, on a thread of its own, and can be down.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use memchr::memmem;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    task::JoinSet,
};

/// Without an event for this long, there are none on their way.
const QUIET_TIME: Duration = Duration::from_millis(500);

#[derive(Default)]
struct Arrivals {
    /// By the booking.
    first: HashMap<String, Instant>,
    repeated: usize,
    last: Option<Instant>,
}

pub struct Receiver {
    address: SocketAddr,
    arrivals: Arc<Mutex<Arrivals>>,
    runtime: Option<Runtime>,
}

impl Receiver {
    pub fn start() -> anyhow::Result<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut receiver = Self { address, arrivals: Arc::default(), runtime: None };
        receiver.come_back()?;
        Ok(receiver)
    }

    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Closes its port and its connections.
    pub fn go_away(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }

    pub fn come_back(&mut self) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind(self.address))?;
        self.address = listener.local_addr()?;
        let arrivals = Arc::clone(&self.arrivals);
        runtime.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, Arc::clone(&arrivals)));
            }
        });
        self.runtime = Some(runtime);
        Ok(())
    }

    pub fn events(&self) -> usize {
        self.arrivals().first.len()
    }

    pub fn repeated(&self) -> usize {
        self.arrivals().repeated
    }

    pub fn is_quiet(&self) -> bool {
        self.arrivals().last.is_none_or(|last| last.elapsed() > QUIET_TIME)
    }

    pub fn arrival(&self, booking: &str) -> Option<Instant> {
        self.arrivals().first.get(booking).copied()
    }

    fn arrivals(&self) -> MutexGuard<'_, Arrivals> {
        self.arrivals.lock().expect("no test panics with the lock")
    }
}

async fn serve(mut stream: TcpStream, arrivals: Arc<Mutex<Arrivals>>) -> Option<()> {
    let (mut buffer, mut filled) = (vec![0; 64 * 1024], 0);
    loop {
        filled += match stream.read(&mut buffer[filled..]).await.ok()? {
            0 => return None,
            read => read,
        };
        let request = &buffer[..filled];
        let Some(head) = memmem::find(request, b"\r\n\r\n") else { continue };
        let at = memmem::find(&request[..head], b"content-length: ")? + 16;
        let digits = request[at..].iter().take_while(|byte| byte.is_ascii_digit());
        let length = digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'));
        if filled < head + 4 + length {
            continue;
        }
        let at = memmem::find(request, b"BENCH-")?;
        let booking = String::from_utf8_lossy(&request[at..]).split('"').next()?.to_owned();
        let now = Instant::now();
        {
            let arrivals = &mut *arrivals.lock().expect("no test panics with the lock");
            arrivals.last = Some(now);
            match arrivals.first.entry(booking) {
                Entry::Occupied(_) => arrivals.repeated += 1,
                Entry::Vacant(vacant) => drop(vacant.insert(now)),
            }
        }
        filled = 0;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.ok()?;
    }
}
