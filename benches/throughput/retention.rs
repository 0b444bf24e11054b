//! Erasing by age beside live deliveries: what it costs them, and what becomes of the space.

use anyhow::Context;

use crate::{
    load::Load,
    measure::{Bench, Figures},
};

const CONNECTIONS: usize = 256;

/// The result.
pub struct Retention {
    /// Of each round: without erasing, and while it runs.
    pub rounds: Vec<(Figures, Figures)>,
    /// Events that were erased each second while deliveries came.
    pub erased_under_load: f64,
    /// Bytes by which the table grows for each recorded delivery: before anything was erased, and afterwards, when new rows
    /// fill the space of what was erased.
    pub growth: (f64, f64),
}

/// On a database whose rows are all too old, in turn without and with `privacy.retention_days`.
pub fn run(bench: &Bench, database: &str) -> anyhow::Result<Retention> {
    eprintln!("retention");
    let load = Load::new(CONNECTIONS, bench.duration);
    let (mut rounds, mut growth, mut erased, mut seconds) = (Vec::new(), (f64::NAN, f64::NAN), 0.0, 0.0);
    for round in 0..bench.rounds {
        let measured = |variables: &[(&str, &str)]| {
            let service = bench.service(database, variables)?;
            bench.warm_up(&service, CONNECTIONS)?;
            bench.server.execute(database, "checkpoint")?;
            bench.server.wait_until_quiet()?;
            bench.measure_on(&service, database, load)
        };
        let (rows, bytes) = size(bench, database)?;
        let quiet = measured(&[])?;
        if round == 0 {
            let (rows_after, bytes_after) = size(bench, database)?;
            growth.0 = (bytes_after - bytes) / (rows_after - rows);
        }
        let erased_before = count(bench, database, ERASED)?;
        let busy = measured(&[("TICKET_WEBHOOKS__PRIVACY__RETENTION_DAYS", "100")])?;
        erased += count(bench, database, ERASED)? - erased_before;
        seconds += bench.duration.as_secs_f64();
        rounds.push((quiet, busy));
    }
    // a day later: more was erased, and autovacuum has found it
    bench.server.execute(database, &erase(200_000))?;
    bench.server.execute(database, "vacuum ticket_events")?;
    let (rows, bytes) = size(bench, database)?;
    let service = bench.service(database, &[])?;
    bench.measure_on(&service, database, load)?;
    let (rows_after, bytes_after) = size(bench, database)?;
    growth.1 = (bytes_after - bytes) / (rows_after - rows);
    Ok(Retention { rounds, erased_under_load: erased / seconds, growth })
}

const ERASED: &str = "select coalesce(sum(events), 0) from erasures";

/// As the service erases events, without keys and notices.
fn erase(rows: u64) -> String {
    format!(
        "update ticket_events set passengers = erased_passengers(passengers, null, null), remark = null, payload = 'null', \
         erased_at = now() where id in (select id from ticket_events where erased_at is null order by id limit {rows})"
    )
}

/// Rows of the table, and its bytes without the indexes.
fn size(bench: &Bench, database: &str) -> anyhow::Result<(f64, f64)> {
    let rows = count(bench, database, "select count(*) from ticket_events")?;
    Ok((rows, count(bench, database, "select pg_table_size('ticket_events')")?))
}

fn count(bench: &Bench, database: &str, query: &str) -> anyhow::Result<f64> {
    let query = format!("select number::text from ({query}) as q (number)");
    Ok(bench.server.texts(database, &query)?.first().context("there is no row")?.parse()?)
}
