//! The same load on a table of millions and on an empty one, in turn.

use std::time::Instant;

use crate::{
    load::Load,
    measure::{Bench, DATABASE},
    retention::{self, Retention},
};

const LOADED: &str = "bench_millions";

const CONNECTIONS: usize = 256;

/// The result.
pub struct Millions {
    pub rows: u64,
    /// Events per second of each round: on an empty table, and on this one.
    pub rounds: Vec<(f64, f64)>,
    pub retention: Retention,
}

/// Multiplies the rows of one delivery of each provider, then alternates between both tables.
pub fn run(bench: &Bench, rows: u64) -> anyhow::Result<Millions> {
    eprintln!("{rows} rows");
    let start = Instant::now();
    bench.server.create_database(LOADED)?;
    let on_loaded = bench.service(LOADED, &[])?;
    bench.one_of_each(&on_loaded, LOADED)?;
    // old enough for `retention`
    bench.server.execute(LOADED, "update ticket_events set received_at = received_at - interval '400 days'")?;
    bench.server.execute(LOADED, &multiply(rows))?;
    bench.server.execute(LOADED, "vacuum analyze ticket_events")?;
    eprintln!("  loaded in {:.0} s", start.elapsed().as_secs_f64());

    let on_empty = bench.service(DATABASE, &[])?;
    let mut rates = Vec::new();
    for _ in 0..bench.rounds {
        bench.server.wait_until_quiet()?;
        let empty = bench.measure(&on_empty, CONNECTIONS)?.rate;
        bench.warm_up(&on_loaded, CONNECTIONS)?;
        bench.server.execute(LOADED, "checkpoint")?;
        bench.server.wait_until_quiet()?;
        let loaded = bench.measure_on(&on_loaded, LOADED, Load::new(CONNECTIONS, bench.duration))?.rate;
        rates.push((empty, loaded));
    }
    drop(on_loaded);
    let retention = retention::run(bench, LOADED)?;
    bench.server.execute("postgres", &format!("drop database {LOADED} with (force)"))?;
    Ok(Millions { rows, rounds: rates, retention })
}

/// Copies the rows, each with a new id, booking reference and place in the feed, up to this number.
fn multiply(rows: u64) -> String {
    format!(
        "create temporary table sample as select *, row_number() over () as position from ticket_events;
        truncate ticket_events cascade;
        do $do$ begin
            execute format(
                $$insert into ticket_events (id, booking_ref, %1$s)
                select lpad(to_hex(number * 10 + position), 32, '0')::uuid, 'BENCHED-' || lpad(number::text, 12, '0'), %1$s
                from generate_series(1, {rows} / (select count(*) from sample)) as number, sample$$,
                (select string_agg(column_name, ', ') from information_schema.columns
                where table_name = 'ticket_events' and table_schema = 'public'
                and is_identity = 'NO' and column_name not in ('id', 'booking_ref', 'recorded_xid', 'sequence'))
            );
        end $do$"
    )
}
