//! Disk space of a delivery: in the table, its indexes and the write-ahead log.

use anyhow::ensure;
use ticket_webhooks::providers::PROVIDERS;

use crate::{
    deliveries::ACCOUNT,
    load::Load,
    measure::{Bench, DATABASE},
    requests::{NUMBER, sample},
};

/// Enough for full batches and full pages.
const CONNECTIONS: usize = 64;

/// Bytes for each recorded delivery.
pub struct Bytes {
    pub table: f64,
    pub indexes: f64,
    /// Includes full-page images after a checkpoint.
    pub log: f64,
    /// Of the body, as it was sent.
    pub body: f64,
    /// Part of `table`: the column `payload`.
    pub payload: f64,
    pub passengers: f64,
}

/// Measures from an empty table on.
pub fn run(bench: &Bench) -> anyhow::Result<Bytes> {
    eprintln!("bytes for each delivery");
    let service = bench.service(DATABASE, &[])?;
    bench.warm_up(&service, CONNECTIONS)?;
    bench.server.empty(DATABASE)?;
    let log_before = bench.number(DATABASE, "select pg_current_wal_insert_lsn() - '0/0'")?;
    bench.measure_on(&service, DATABASE, Load::new(CONNECTIONS, bench.duration))?;
    let log = bench.number(DATABASE, "select pg_current_wal_insert_lsn() - '0/0'")? - log_before;
    let rows = bench.number(DATABASE, "select count(*) from ticket_events")?;
    ensure!(rows > 0.0, "nothing was recorded");
    Ok(Bytes {
        table: bench.number(DATABASE, "select pg_table_size('ticket_events')")? / rows,
        indexes: bench.number(DATABASE, "select pg_indexes_size('ticket_events')")? / rows,
        log: log / rows,
        body: body_bytes(),
        payload: bench.number(DATABASE, "select avg(pg_column_size(payload)) from ticket_events")?,
        passengers: bench.number(DATABASE, "select avg(pg_column_size(passengers)) from ticket_events")?,
    })
}

/// The mean length of the samples' bodies.
fn body_bytes() -> f64 {
    let lengths =
        PROVIDERS.iter().map(|provider| sample(*provider, ACCOUNT, &format!("BENCH-{NUMBER}")).body.len() as f64);
    lengths.sum::<f64>() / PROVIDERS.len() as f64
}
