//! `make bench`: throughput of the service beside that of Postgres alone with the same rows.
//!
//! In each round it also measures what this machine could do at best (`limit`).
//!
//! It starts a Postgres of its own with durable settings and the release binary, drives all three providers over HTTP,
//! and ends with the table that docs/performance.md quotes. Contestants take turns within each round, every figure is the median
//! of the rounds, and every ratio the median of the rounds' ratios. After each load, `ticket_events` must hold exactly
//! what was acknowledged, or the whole run fails.
//!
//! `make bench ARGS=--quick` checks in a few minutes that everything works; its figures are rough.
//! `make bench ARGS="--svix /path/to/svix-server"` measures that server as well.
//! `make bench ARGS="--binaries ONE,TWO"` compares binaries of the service, for example before and after a change.
//! `make bench ARGS=--service` loads the service, pgbench and the two halves of the limit for two minutes, for a profiler.

/// The Postgres under it all.
#[path = "../support/database.rs"]
mod database;
/// Readers of the feed.
#[path = "../support/readers.rs"]
mod readers;
/// Prepared requests.
#[path = "../support/requests.rs"]
mod requests;
/// The server under load.
#[path = "../support/service.rs"]
mod service;
/// A provider with one delivery.
#[path = "../support/subject.rs"]
mod subject;
/// HTTP over a connection.
#[path = "../support/wire.rs"]
mod wire;

/// CPU time beside that of the service.
mod cpu;
/// The requests of one connection.
mod deliveries;
/// The load generator.
mod load;
/// One load on one service: the figures, their check and their medians.
mod measure;
/// Little memory for Postgres and its files.
mod memory_limit;
/// Distance between a standby and Postgres.
mod proxy;
/// The tables under it.
mod tables;

/// Before and after a change.
mod binaries;
/// Disk space of a delivery.
mod bytes;
/// Side by side: the service, pgbench, batches of one, one insert a request.
mod contest;
/// A peer: FastAPI and asyncpg.
mod fastapi;
/// Deliveries beside readers of the feed.
mod feed_readers;
/// Indexes that do not fit into memory.
mod large_indexes;
/// What this machine could do at best.
mod limit;
/// A table of millions against an empty one.
mod millions;
/// Throughput while Postgres is away.
mod outage;
/// pgbench with the same rows.
mod pgbench;
/// Erasing by age beside deliveries.
mod retention;
/// The simplest server: one insert a request.
mod single_insert;
/// Every commit on a second Postgres.
mod standby;
/// A peer: svix-server.
mod svix;

/// The final tables.
mod report;

use std::{env, fs, path::PathBuf, time::Duration};

use contest::Peers;
use database::Server;
use measure::Bench;
use report::Results;

/// Files of the write-ahead log, 16 MB each, made in advance: a server that has run for a while recycles them, a new one
/// would create them during the measurements.
const LOG_FILES: usize = 192;

fn main() -> anyhow::Result<()> {
    if env::args().any(|argument| argument == single_insert::ARGUMENT) {
        return single_insert::serve();
    }
    if env::args().any(|argument| argument == limit::ARGUMENT) {
        return limit::serve();
    }
    let is_quick = env::args().any(|argument| argument == "--quick");
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("bench");
    fs::create_dir_all(&directory)?;
    let bench = Bench {
        server: Server::start(directory.join("postgres"))?,
        directory,
        rounds: if is_quick { 1 } else { 3 },
        duration: Duration::from_secs(if is_quick { 1 } else { 4 }),
    };
    standby::forget(&bench.server)?;
    fill_log(&bench.server, LOG_FILES)?;
    bench.server.create_database(measure::DATABASE)?;
    if env::args().any(|argument| argument == "--service") {
        contest::service_alone(&bench)?;
        return bench.server.remove();
    }
    if let Some(binaries) = env::args().skip_while(|argument| argument != "--binaries").nth(1) {
        binaries::run(&bench, &binaries.split(',').map(PathBuf::from).collect::<Vec<_>>())?;
        return bench.server.remove();
    }
    let mut bench = bench;
    let peers = Peers::find(&bench);
    let results = Results {
        rounds: contest::run(&bench, &peers)?,
        peers,
        bytes: bytes::run(&bench)?,
        standby: standby::run(&bench)?,
        readers: feed_readers::run(&bench)?,
        millions: millions::run(&bench, if is_quick { 300_000 } else { 5_000_000 })?,
        indexes: large_indexes::run(&bench, if is_quick { 1 } else { 10 })?,
        outage: outage::run(&mut bench)?,
    };
    bench.server.remove()?;
    results.print();
    Ok(())
}

fn fill_log(server: &Server, files: usize) -> anyhow::Result<()> {
    let next_file = "perform pg_logical_emit_message(false, '', ''), pg_switch_wal()";
    let fill = format!("do $do$ begin for file in 1..{files} loop {next_file}; end loop; end $do$");
    server.execute("postgres", &fill)?;
    server.execute("postgres", "checkpoint")
}
