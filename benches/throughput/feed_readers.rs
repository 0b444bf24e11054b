//! Deliveries while readers follow the feed to its end, and without.

use std::{
    fs,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

use crate::{
    load::Load,
    measure::{Bench, DATABASE, Figures},
    readers::{Given, Readers, TOKEN, quantile},
    service::logged_address,
};

const CONNECTIONS: usize = 256;

pub const READERS: usize = 50;

/// Of the readers after the load.
const TIMEOUT: Duration = Duration::from_secs(120);

/// What was measured in one round.
pub struct Round {
    pub without: Figures,
    pub with: Figures,
    /// From the recording of an event to a reader, in seconds.
    pub delay_p99: f64,
    /// Until all readers had everything, in seconds after the last delivery.
    pub behind: f64,
}

pub fn run(bench: &Bench) -> anyhow::Result<Vec<Round>> {
    eprintln!("{READERS} readers of the feed");
    (0..bench.rounds).map(|_| round(bench)).collect()
}

fn round(bench: &Bench) -> anyhow::Result<Round> {
    bench.server.empty(DATABASE)?;
    let service = bench.service(
        DATABASE,
        &[
            ("TICKET_WEBHOOKS__ADMIN__TOKEN", TOKEN),
            // the connections of one load may not be closed yet when those of the next are opened
            ("TICKET_WEBHOOKS__SERVER__MAX_CONNECTIONS_PER_ADDRESS", "1024"),
        ],
    )?;
    let load = Load::new(CONNECTIONS, bench.duration);
    let without = bench.measure(&service, CONNECTIONS)?;
    bench.server.empty(DATABASE)?;
    let log = fs::read_to_string(bench.service_log())?;
    let admin = logged_address(&log, "admin.address").context("no admin listener")?.to_string();
    let readers = Readers::start(&admin, READERS, "from=start");
    bench.warm_up(&service, CONNECTIONS)?;
    bench.server.execute(DATABASE, "checkpoint")?;
    let with = bench.measure_on(&service, DATABASE, load)?;

    let end = Instant::now();
    let events = bench.number(DATABASE, "select count(*) from ticket_events")? as u64 * READERS as u64;
    while readers.events() < events {
        ensure!(end.elapsed() < TIMEOUT, "the readers got {} events of {events}", readers.events());
        sleep(Duration::from_millis(10));
    }
    let behind = end.elapsed().as_secs_f64();
    let Given { events: given, delays } = readers.stop();
    ensure!(given == events, "the readers got {given} events, and there are {events}");
    let delay_p99 = quantile(&delays, 0.99);
    eprintln!("  to a reader p99 {delay_p99:.1} s; they had everything {behind:.1} s after the load");
    Ok(Round { without, with, delay_p99, behind })
}
