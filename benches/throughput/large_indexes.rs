//! A table whose indexes are ten times the memory of Postgres, beside an empty one with the same memory.
//!
//! A billion rows look like this: of the index by bookings, whose references do not ascend, nearly every delivery needs a
//! page that is not in memory. The memory of Postgres is limited with the page cache of its files. The rows are narrow:
//! recording reads none of them. Search keys of these rows are left out.

use std::time::Instant;

use crate::{
    database::Server,
    deliveries::NUMBERS,
    fill_log,
    load::Load,
    measure::{Bench, DATABASE},
    memory_limit::{MemoryLimit, drop_from_page_cache},
    service::family,
};

const LARGE: &str = "bench_large_indexes";

const CONNECTIONS: usize = 256;

/// What Postgres may have, and what of it are its own buffers.
const MEMORY_BYTES: u64 = 192 << 20;
const SETTINGS: &[(&str, &str)] = &[
    ("shared_buffers", "48MB"),
    ("effective_cache_size", "96MB"),
    // it would read the new rows once, in the middle of a measurement
    ("autovacuum", "off"),
    // to read all rows looks cheaper than it is with the usual, wider ones
    ("enable_seqscan", "off"),
];

/// Of the server while it is filled: what a transaction writes into a table that it has emptied is not logged.
const SETTINGS_TO_FILL: &[(&str, &str)] = &[("wal_level", "minimal"), ("max_wal_senders", "0"), ("autovacuum", "off")];

/// Of the indexes for each row, roughly.
const BYTES_OF_ROW: u64 = 145;

/// Files of the write-ahead log that are made in advance.
const LOG_FILES: usize = 64;

/// The result.
pub struct LargeIndexes {
    pub rows: f64,
    /// Size of the indexes in times of the memory.
    pub times: f64,
    /// Events per second of each round: on an empty table, and on this one.
    pub rounds: Vec<(f64, f64)>,
}

/// An error in the inner result says why it is left out.
pub fn run(bench: &Bench, times: u64) -> anyhow::Result<anyhow::Result<LargeIndexes>> {
    eprintln!("indexes of {times} times the memory");
    let limit = match MemoryLimit::new(MEMORY_BYTES) {
        Ok(limit) => limit,
        Err(error) => {
            eprintln!("  left out: {error:#}");
            return Ok(Err(error));
        }
    };
    let start = Instant::now();
    let bench = Bench {
        server: Server::start_with(bench.directory.join("large-indexes"), SETTINGS_TO_FILL)?,
        directory: bench.directory.clone(),
        ..*bench
    };
    bench.server.create_database(DATABASE)?;
    bench.server.create_database(LARGE)?;
    fill(&bench, times * MEMORY_BYTES / BYTES_OF_ROW)?;
    fill_log(&bench.server, LOG_FILES)?;
    eprintln!("  filled in {:.0} s", start.elapsed().as_secs_f64());

    let bench = restart(bench, &limit)?;
    let rows = bench.number(LARGE, "select reltuples from pg_class where relname = 'ticket_events'")?;
    let times = bench.number(LARGE, "select pg_indexes_size('ticket_events')")? / MEMORY_BYTES as f64;
    let rounds = (0..bench.rounds).map(|_| round(&bench)).collect::<anyhow::Result<_>>()?;
    bench.server.remove()?;
    Ok(Ok(LargeIndexes { rows, times, rounds }))
}

/// With the limited memory, and nothing in it.
fn restart(mut bench: Bench, limit: &MemoryLimit) -> anyhow::Result<Bench> {
    let home = bench.server.home()?;
    bench.server.go_away()?;
    drop_from_page_cache(&home)?;
    bench.server = Server::start_with(home, SETTINGS)?;
    limit.add(&family(bench.server.running()?.process_id())?)?;
    Ok(bench)
}

fn round(bench: &Bench) -> anyhow::Result<(f64, f64)> {
    let load = Load { scattered: true, ..Load::new(CONNECTIONS, bench.duration) };
    let service = bench.service(DATABASE, &[])?;
    bench.warm_up(&service, CONNECTIONS)?;
    bench.server.empty(DATABASE)?;
    let empty = bench.measure_on(&service, DATABASE, load)?;
    let service = bench.service(LARGE, &[])?;
    bench.warm_up(&service, CONNECTIONS)?;
    bench.server.execute(LARGE, "checkpoint")?;
    let large = bench.measure_on(&service, LARGE, load)?;
    Ok((empty.rate, large.rate))
}

/// Copies one delivery of each provider. In the order of the indexes that is fast; the references are spread over all
/// numbers, so that those of the load come between them.
fn fill(bench: &Bench, rows: u64) -> anyhow::Result<()> {
    let service = bench.service(LARGE, &[])?;
    bench.one_of_each(&service, LARGE)?;
    drop(service);
    let copies = rows / 3;
    let gap = NUMBERS / copies;
    let fill = format!(
        "create temporary table sample as select *, row_number() over (order by provider) as position from ticket_events;
        update sample set passengers = '[]', payload = 'null', airline_pnrs = '{{}}', ticket_numbers = '{{}}',
            warnings = '{{}}';
        begin;
        truncate ticket_events cascade;
        do $do$ begin
            for number in 1..(select count(*) from sample) loop
                execute format(
                    $$insert into ticket_events (id, booking_ref, %1$s)
                    select lpad(to_hex(position * {NUMBERS} + copy), 32, '0')::uuid,
                        'BENCH-' || lpad((copy * {gap} + floor(random() * {gap})::bigint)::text, 12, '0'), %1$s
                    from sample, generate_series(0::bigint, {copies} - 1) as copy where position = %2$s$$,
                    (select string_agg(column_name, ', ') from information_schema.columns
                    where table_name = 'ticket_events' and table_schema = 'public'
                    and is_identity = 'NO' and column_name not in ('id', 'booking_ref', 'recorded_xid', 'sequence')),
                    number
                );
            end loop;
        end $do$;
        commit;
        analyze ticket_events;
        update consumers set position = (
            select ticket_feed_cursor(generation, recorded_xid, sequence, id, recorded_at) from ticket_events
            order by generation desc, recorded_xid desc, sequence desc limit 1
        )"
    );
    bench.server.execute(LARGE, &fill)
}
