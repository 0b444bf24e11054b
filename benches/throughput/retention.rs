//! Erasing by age beside live deliveries: what it costs them, and what becomes of the space.

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

/// One load.
struct Measured {
    figures: Figures,
    /// Bytes by which the table has grown for each delivery.
    growth: f64,
    /// Events that were erased meanwhile.
    erased: f64,
}

/// On a database whose rows are all too old, in turn without and with `privacy.retention_days`.
pub fn run(bench: &Bench, database: &str) -> anyhow::Result<Retention> {
    eprintln!("retention");
    let (mut rounds, mut growth_before, mut erased) = (Vec::new(), None, 0.0);
    for _ in 0..bench.rounds {
        let quiet = measure(bench, database, &[])?;
        growth_before.get_or_insert(quiet.growth);
        let busy = measure(bench, database, &[("TICKET_WEBHOOKS__PRIVACY__RETENTION_DAYS", "100")])?;
        erased += busy.erased;
        rounds.push((quiet.figures, busy.figures));
    }
    // a day later: more was erased, and autovacuum has found it
    bench.server.execute(database, &erase(200_000))?;
    bench.server.execute(database, "vacuum ticket_events")?;
    let seconds = bench.duration.as_secs_f64() * rounds.len() as f64;
    let growth = (growth_before.unwrap_or(f64::NAN), measure(bench, database, &[])?.growth);
    Ok(Retention { rounds, erased_under_load: erased / seconds, growth })
}

fn measure(bench: &Bench, database: &str, variables: &[(&str, &str)]) -> anyhow::Result<Measured> {
    const QUERIES: [&str; 3] = [
        "select count(*) from ticket_events",
        "select pg_table_size('ticket_events')",
        "select coalesce(sum(events), 0) from erasures",
    ];
    let numbers =
        || -> anyhow::Result<Vec<f64>> { QUERIES.iter().map(|query| bench.number(database, query)).collect() };
    let service = bench.service(database, variables)?;
    bench.warm_up(&service, CONNECTIONS)?;
    bench.server.execute(database, "checkpoint")?;
    bench.server.wait_until_quiet()?;
    let before = numbers()?;
    let figures = bench.measure_on(&service, database, Load::new(CONNECTIONS, bench.duration))?;
    let added: Vec<_> = numbers()?.iter().zip(before).map(|(after, before)| after - before).collect();
    Ok(Measured { figures, growth: added[1] / added[0], erased: added[2] })
}

/// As the service erases events, without keys and notices.
fn erase(rows: u64) -> String {
    format!(
        "update ticket_events set passengers = erased_passengers(passengers, null, null), remark = null, payload = 'null', \
         erased_at = now() where id in (select id from ticket_events where erased_at is null order by id limit {rows})"
    )
}
