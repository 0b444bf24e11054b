//! Readers of pages and streams, as cheap as they can be: they share the machine with what is measured.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::{Bench, TOKEN};

/// An answer to a request for a path: its status line, headers read, body to come.
pub fn ask(admin: &str, path: &str) -> anyhow::Result<BufReader<TcpStream>> {
    let mut connection = TcpStream::connect(admin)?;
    connection.set_nodelay(true)?;
    connection.set_read_timeout(Some(Duration::from_secs(30)))?;
    request(&mut connection, path)?;
    Ok(BufReader::with_capacity(256 * 1024, connection))
}

fn request(connection: &mut TcpStream, path: &str) -> anyhow::Result<()> {
    write!(connection, "GET {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {TOKEN}\r\n\r\n")?;
    Ok(())
}

/// The status, and the length of the body if it is given.
fn head(answer: &mut BufReader<TcpStream>) -> anyhow::Result<(u16, Option<usize>)> {
    let (mut status, mut length, mut line) = (0, None, String::new());
    while answer.read_line(&mut line)? > 2 {
        if status == 0 {
            status = line.split(' ').nth(1).context("a status line")?.parse()?;
        } else if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = Some(value.trim().parse()?);
        }
        line.clear();
    }
    Ok((status, length))
}

/// Readers of the stream from now on, which resume when they are disconnected, until they are dropped.
pub struct Readers {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    pub events: Arc<AtomicU64>,
}

impl Readers {
    pub fn start(admin: &str, count: usize) -> Self {
        let (stop, events) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let threads = (0..count).map(|_| {
            let (admin, stop, events) = (admin.to_owned(), Arc::clone(&stop), Arc::clone(&events));
            std::thread::spawn(move || {
                // readers are on other machines: here they take no processor from what is measured
                let _ = rustix::process::setpriority_process(None, 10);
                let mut from = "from=now".to_owned();
                while !stop.load(Relaxed) {
                    if let Ok(cursor) = follow(&admin, &from, &stop, &events) {
                        from = cursor.map_or(from, |cursor| format!("after={cursor}"));
                    }
                }
            })
        });
        Self { threads: threads.collect(), stop, events }
    }

    pub fn stop(self) -> u64 {
        self.stop.store(true, Relaxed);
        for thread in self.threads {
            let _ = thread.join();
        }
        self.events.load(Relaxed)
    }
}

/// The last cursor once the stream has ended.
fn follow(admin: &str, from: &str, stop: &AtomicBool, events: &AtomicU64) -> anyhow::Result<Option<String>> {
    let mut stream = ask(admin, &format!("/v1/events/stream?{from}"))?;
    stream.get_ref().set_read_timeout(Some(Duration::from_millis(500)))?;
    let (mut cursor, mut line) = (None, Vec::new());
    while !stop.load(Relaxed) {
        match stream.read_until(b'\n', &mut line) {
            Ok(0) => break,
            Ok(_) => {
                if let Some(id) = line.strip_prefix(b"id: ") {
                    cursor = Some(String::from_utf8_lossy(id).trim().to_owned());
                    events.fetch_add(1, Relaxed);
                }
                line.clear();
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
    Ok(cursor)
}

/// Reads everything in pages of a thousand from one connection.
pub fn full_read(bench: &Bench, events: u64) -> anyhow::Result<()> {
    let service = bench.service(None)?;
    crate::load::Load::new(64, Duration::from_millis(500)).run(service.address, &Arc::default())?;
    let columns = "provider, account, environment, status, previous_status, pnr, gds_pnr, airline_pnrs, booking_number, \
                   trace_id, provider_status, remark, passengers, ticket_numbers, warnings, payload, content_hash, \
                   received_at, last_received_at";
    let fill = format!(
        "insert into ticket_events (id, booking_ref, revision, {columns}) \
         select gen_random_uuid(), gen_random_uuid()::text, 1, {columns} \
         from generate_series(1, {events}), lateral (select * from ticket_events limit 1) as sample; analyze ticket_events",
    );
    bench.server.execute(crate::DATABASE, &fill)?;
    let admin = bench.admin()?;
    let mut answer = ask(&admin, "/v1/events?limit=1000&from=start")?;
    let (mut read, mut times, mut body) = (0, Vec::new(), Vec::new());
    let began = Instant::now();
    loop {
        let page_began = Instant::now();
        let (status, length) = head(&mut answer)?;
        ensure!(status == 200, "a page is answered {status}");
        body.resize(length.context("a page has a length")?, 0);
        answer.read_exact(&mut body)?;
        // not parsed as a whole: the reader is not measured
        let tail = String::from_utf8_lossy(&body[body.len() - 200..]).into_owned();
        let tail: Value = serde_json::from_str(&format!("{{{}", tail.split_once("],").context("a page")?.1))?;
        read += body.windows(9).filter(|bytes| *bytes == b"\"cursor\":").count();
        times.push(page_began.elapsed().as_secs_f64() * 1000.0);
        if tail["more"] == false {
            break;
        }
        request(
            answer.get_mut(),
            &format!("/v1/events?limit=1000&after={}", tail["next"].as_str().context("a cursor")?),
        )?;
    }
    let rate = read as f64 / began.elapsed().as_secs_f64();
    let mean = |times: &[f64]| times.iter().sum::<f64>() / times.len() as f64;
    let tenth = times.len() / 10;
    println!(
        "full read of {read} events: {rate:.0} events/s (at least 25000); a page of 1000: first tenth {:.1} ms, last tenth {:.1} ms",
        mean(&times[..tenth]),
        mean(&times[times.len() - tenth..])
    );
    Ok(())
}
