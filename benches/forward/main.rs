//! `make forward-bench`: how fast events are forwarded, and what an outage of the receiver costs.
//!
//! It starts a Postgres of its own with durable settings, the release binary, and a receiver on the loopback.
//!
//! - Latency: from the answer to a delivery to its arrival at the receiver, at 2,000 events/s, and the memory then.
//! - Outage: a hundred thousand events (`--quick`: ten thousand) come while the receiver is down; the time until it has them
//!   all once it is back, and the latency of deliveries meanwhile beside their usual.

/// The Postgres under it all.
#[path = "../support/database.rs"]
mod database;
/// The requests of one connection.
#[expect(dead_code, reason = "nothing is delivered twice here")]
#[path = "../throughput/deliveries.rs"]
mod deliveries;
/// Deliveries at a steady rate.
mod live;
/// The agency's own system.
mod receiver;
/// Prepared requests.
#[path = "../support/requests.rs"]
mod requests;
/// The server under load.
#[path = "../support/service.rs"]
mod service;
/// HTTP over a connection.
#[path = "../support/wire.rs"]
mod wire;

use std::{
    env, fs,
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::ensure;
use database::Server;
use deliveries::ACCOUNT;
use live::Live;
use receiver::Receiver;
use service::Service;

const DATABASE: &str = "forward_bench";
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Events a second.
const RATE: u32 = 2000;

/// Of the deliveries beside the catching up.
const LIVE_RATE: u32 = 200;

/// Of everything.
const TIMEOUT: Duration = Duration::from_secs(300);

fn main() -> anyhow::Result<()> {
    let is_quick = env::args().any(|argument| argument == "--quick");
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("forward-bench");
    fs::create_dir_all(&directory)?;
    let server = Server::start(directory.join("postgres"))?;
    server.create_empty_database(DATABASE)?;
    let mut receiver = Receiver::start()?;
    let url = receiver.url();
    let variables = [
        ("TICKET_WEBHOOKS__FORWARD__BENCH__URL", url.as_str()),
        ("TICKET_WEBHOOKS__FORWARD__BENCH__SECRETS", SECRET),
        ("TICKET_WEBHOOKS__FORWARD__BENCH__FROM", "start"),
    ];
    let command = Command::new(env!("CARGO_BIN_EXE_ticket-webhooks"));
    let service =
        Service::start(command, &[ACCOUNT], &server.url(DATABASE)?, &directory.join("service.log"), &variables)?;
    latency(&service, &receiver, if is_quick { 2 } else { 20 })?;
    outage(&service, &mut receiver, if is_quick { 10_000 } else { 100_000 })?;
    let stored = server.texts(DATABASE, "select count(*)::text from ticket_events")?;
    until(|| receiver.events().to_string() == stored[0])?;
    println!("the receiver got all {} events, and {} of them again", stored[0], receiver.repeated());
    drop(service);
    server.remove()
}

fn latency(service: &Service, receiver: &Receiver, seconds: u32) -> anyhow::Result<()> {
    Live::new(service.address, RATE).run(Duration::from_secs(2))?;
    let before = service.peak_memory()?;
    let began = Instant::now();
    let live = Live::new(service.address, RATE).run(Duration::from_secs(seconds.into()))?;
    let answered = live.answered.len();
    until(|| live.answered.keys().all(|booking| receiver.arrival(booking).is_some()))?;
    let mut latencies: Vec<_> = live
        .answered
        .iter()
        .filter_map(|(booking, answered)| Some(receiver.arrival(booking)?.saturating_duration_since(*answered)))
        .map(|latency| latency.as_secs_f64() * 1000.0)
        .collect();
    latencies.sort_by(f64::total_cmp);
    let quantile = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    println!(
        "from the answer to the receiver at {:.0} events/s (at least {RATE}): p50 {:.1} ms, p99 {:.1} ms, most {:.1} ms; \
         memory {before:.0} MB before, {:.0} MB after",
        answered as f64 / began.elapsed().as_secs_f64(),
        quantile(0.5),
        quantile(0.99),
        quantile(1.0),
        service.peak_memory()?,
    );
    Ok(())
}

fn outage(service: &Service, receiver: &mut Receiver, events: usize) -> anyhow::Result<()> {
    let usual = |when: &str| -> anyhow::Result<f64> {
        let live = Live::new(service.address, LIVE_RATE).run(Duration::from_secs(10))?;
        println!(
            "deliveries at {LIVE_RATE} a second {when}: p50 {:.2} ms, p99 {:.2} ms",
            live.latency(0.5),
            live.latency(0.99)
        );
        Ok(live.latency(0.5))
    };
    let before = usual("before the outage")?;
    until(|| receiver.is_quiet())?;
    let delivered = receiver.events();
    receiver.go_away();
    let memory = service.peak_memory()?;
    let began = Instant::now();
    Live::as_fast_as_possible(service.address, events)?;
    println!("{events} events came in {:.1} s while the receiver was down", began.elapsed().as_secs_f64());
    let down = usual("while the receiver is down")?;
    receiver.come_back()?;
    let began = Instant::now();
    until(|| receiver.events() > delivered)?;
    let (back, first, cpu) = (Instant::now(), receiver.events(), service.cpu()?);
    println!("its first event came {:.1} s after it was back", began.elapsed().as_secs_f64());
    let live = Live::new(service.address, LIVE_RATE);
    let live = live.run_while(|| receiver.events() < delivered + events)?;
    let seconds = back.elapsed().as_secs_f64();
    let used = service.cpu()?;
    let cpu = used.user + used.system - cpu.user - cpu.system;
    println!(
        "caught up in {seconds:.1} s ({:.0} events/s); deliveries meanwhile: p50 {:.2} ms, p99 {:.2} ms; memory {memory:.0} MB before, \
         {:.0} MB after; {:.0} % of a core",
        (receiver.events() - first) as f64 / seconds,
        live.latency(0.5),
        live.latency(0.99),
        service.peak_memory()?,
        cpu / seconds * 100.0,
    );
    let after = usual("after it")?;
    println!("ratio of p50 to the usual: {:.2} (at most 1.2)", live.latency(0.5) / ((before + down + after) / 3.0));
    Ok(())
}

fn until(condition: impl Fn() -> bool) -> anyhow::Result<()> {
    let deadline = Instant::now() + TIMEOUT;
    while !condition() {
        ensure!(Instant::now() < deadline, "it never happens");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
