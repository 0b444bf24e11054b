//! Readers of the feed, as cheap as they can be: they share the machine with what is measured.

use std::{
    io::{BufRead, BufReader, ErrorKind, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;

/// Of the admin listener, which has the feed.
pub const TOKEN: &str = "bench-admin-token";

/// An answer to a request for a path: its head and body are to come.
pub fn ask(admin: &str, path: &str) -> anyhow::Result<BufReader<TcpStream>> {
    let mut connection = TcpStream::connect(admin)?;
    connection.set_nodelay(true)?;
    connection.set_read_timeout(Some(Duration::from_secs(30)))?;
    request(&mut connection, path)?;
    Ok(BufReader::with_capacity(256 * 1024, connection))
}

/// Another request on its connection.
pub fn request(connection: &mut TcpStream, path: &str) -> anyhow::Result<()> {
    write!(connection, "GET {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {TOKEN}\r\n\r\n")?;
    Ok(())
}

/// Readers of the stream, which resume when they are disconnected.
pub struct Readers {
    stop: Arc<AtomicBool>,
    events: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Vec<f64>>>,
}

/// What they got.
pub struct Given {
    /// Events, of all readers together.
    pub events: u64,
    /// Of each event that the first reader got: seconds from its recording, sorted.
    pub delays: Vec<f64>,
}

impl Readers {
    /// `from` is the parameter of the stream: `from=now`, `from=start`.
    pub fn start(admin: &str, count: usize, from: &str) -> Self {
        let (stop, events) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let threads = (0..count).map(|number| {
            let (stop, events) = (Arc::clone(&stop), Arc::clone(&events));
            let mut reader =
                Reader { admin: admin.to_owned(), from: from.to_owned(), stop, events, delays: Vec::new() };
            std::thread::spawn(move || {
                // readers are on other machines: here they take no processor from what is measured
                let _ = rustix::process::setpriority_process(None, 10);
                while !reader.stop.load(Relaxed) {
                    // it resumes, whatever happened
                    let _ = reader.follow(number == 0);
                }
                reader.delays
            })
        });
        Self { threads: threads.collect(), stop, events }
    }

    /// Events so far, of all readers together.
    pub fn events(&self) -> u64 {
        self.events.load(Relaxed)
    }

    pub fn stop(mut self) -> Given {
        self.stop.store(true, Relaxed);
        let threads = self.threads.drain(..);
        let mut delays: Vec<f64> = threads.flat_map(|thread| thread.join().unwrap_or_default()).collect();
        delays.sort_by(f64::total_cmp);
        Given { events: self.events(), delays }
    }
}

struct Reader {
    admin: String,
    /// Where to go on.
    from: String,
    stop: Arc<AtomicBool>,
    events: Arc<AtomicU64>,
    delays: Vec<f64>,
}

impl Reader {
    /// Until the stream ends. An event that was cut off is not counted: it comes again.
    fn follow(&mut self, measures_delays: bool) -> anyhow::Result<()> {
        let mut stream = ask(&self.admin, &format!("/v1/events/stream?{}", self.from))?;
        stream.get_ref().set_read_timeout(Some(Duration::from_millis(500)))?;
        let (mut cursor, mut has_data, mut line) = (Vec::new(), false, Vec::new());
        while !self.stop.load(Relaxed) {
            match stream.read_until(b'\n', &mut line) {
                Ok(0) => break,
                Ok(_) => {
                    if let Some(id) = line.strip_prefix(b"id: ") {
                        cursor.clear();
                        cursor.extend_from_slice(id);
                    }
                    has_data |= line.starts_with(b"data: ");
                    if line == b"\n" && !cursor.is_empty() {
                        if has_data {
                            self.events.fetch_add(1, Relaxed);
                            if measures_delays {
                                self.delays.push(delay(&cursor)?);
                            }
                        }
                        self.from.clear();
                        self.from.push_str("after=");
                        self.from.push_str(std::str::from_utf8(&cursor)?.trim_end());
                        has_data = false;
                    }
                    line.clear();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// Seconds since the recording of the item, which its cursor ends with.
fn delay(cursor: &[u8]) -> anyhow::Result<f64> {
    let text = std::str::from_utf8(cursor)?.trim_end();
    let microseconds: f64 = text.rsplit('.').next().context("a cursor has parts")?.parse()?;
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64() - microseconds / 1e6)
}

/// Of sorted values.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let index = (sorted.len() as f64 * share) as usize;
    sorted.get(index).or(sorted.last()).copied().unwrap_or(f64::NAN)
}
