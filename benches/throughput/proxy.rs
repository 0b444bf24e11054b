//! A proxy to the socket of Postgres that delays what passes by half a round trip in each direction, without a limit on how
//! much is under way.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc,
    },
    thread::{sleep, spawn},
    time::{Duration, Instant},
};

/// It passes on connections until the program ends.
pub struct Proxy {
    /// On 127.0.0.1.
    pub port: u16,
    /// In one direction, in microseconds.
    delay: Arc<AtomicU64>,
}

impl Proxy {
    /// Without a delay at first.
    pub fn start(socket: PathBuf) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let proxy = Self { port: listener.local_addr()?.port(), delay: Arc::default() };
        let delay = Arc::clone(&proxy.delay);
        spawn(move || {
            for client in listener.incoming() {
                // a connection that fails is closed, and the standby connects again
                let _ = client.and_then(|client| connect(client, UnixStream::connect(&socket)?, &delay));
            }
        });
        Ok(proxy)
    }

    pub fn set_round_trip(&self, time: Duration) {
        self.delay.store(time.as_micros() as u64 / 2, Relaxed);
    }
}

fn connect(client: TcpStream, server: UnixStream, delay: &Arc<AtomicU64>) -> io::Result<()> {
    client.set_nodelay(true)?;
    let (from_client, from_server) = (client.try_clone()?, server.try_clone()?);
    pass(from_client, server, |server| server.shutdown(Shutdown::Write), Arc::clone(delay));
    pass(from_server, client, |client| client.shutdown(Shutdown::Write), Arc::clone(delay));
    Ok(())
}

/// One thread reads and notes when the bytes are due, another one writes them then.
fn pass<W: Write + Send + 'static>(
    mut from: impl Read + Send + 'static,
    mut to: W,
    end: impl FnOnce(&W) -> io::Result<()> + Send + 'static,
    delay: Arc<AtomicU64>,
) {
    let (sender, under_way) = mpsc::channel::<(Instant, Vec<u8>)>();
    spawn(move || {
        let mut buffer = vec![0; 256 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let due = Instant::now() + Duration::from_micros(delay.load(Relaxed));
            if sender.send((due, buffer[..length].to_vec())).is_err() {
                return;
            }
        }
    });
    spawn(move || {
        for (due, bytes) in under_way {
            sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = end(&to);
    });
}
