//! The final tables: the figures, and each beside its target.

use std::collections::BTreeMap;

use crate::{
    bytes::Bytes,
    contest::{Peers, Round},
    feed_readers::{self, READERS},
    large_indexes::LargeIndexes,
    measure::{Figures, median},
    millions::Millions,
    outage::Outage,
    retention::Retention,
    standby::{self, ROUND_TRIPS},
};

/// All that was measured.
pub struct Results {
    pub peers: Peers,
    pub rounds: Vec<Round>,
    pub bytes: Bytes,
    pub standby: Vec<standby::Round>,
    pub readers: Vec<feed_readers::Round>,
    pub millions: Millions,
    /// An error says why it is left out.
    pub indexes: anyhow::Result<LargeIndexes>,
    /// `None`: the service has no spool.
    pub outage: Option<Outage>,
}

impl Results {
    pub fn print(&self) {
        print_loads(self);
        print_bytes(&self.bytes);
        print_ratios(self);
    }
}

fn print_loads(Results { rounds, standby, readers, .. }: &Results) {
    println!(
        "\n| | connections | events/s | p50 ms | p99 ms | user µs | system µs | Postgres µs | load µs | idle % | memory MB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    print_figures("the service", rounds, |round| &round.service);
    print_figures("batches of one", rounds, |round| &round.batches_of_one);
    print_figures("one insert a request (axum + sqlx)", rounds, |round| &round.single_inserts);
    print_figures("FastAPI + asyncpg", rounds, |round| &round.fastapi);
    print_figures("svix-server", rounds, |round| &round.svix);
    print_figures("one delivery again and again", rounds, |round| &round.storm);
    for bytes in rounds.iter().take(1).flat_map(|round| round.bodies.keys()) {
        let figures: Vec<_> = rounds.iter().map(|round| round.bodies[bytes]).collect();
        print_median(&format!("bodies of {} KiB", bytes / 1024), 256, &figures);
    }
    let of = |figure: &dyn Fn(&Round) -> f64| median(rounds.iter().map(figure));
    for clients in rounds.iter().take(1).flat_map(|round| round.pgbench.keys()) {
        let rate = of(&|round| round.pgbench[clients]);
        let latency = if *clients == 1 { format!("{:.2}", of(&|round| round.pgbench_latency)) } else { String::new() };
        println!("| pgbench | {clients} | {rate:.0} | {latency} | | | | | | | |");
    }
    let (answered, written) = (of(&|round| round.limit.answered), of(&|round| round.limit.written));
    let latency = of(&|round| round.limit.latency);
    println!("| only answered | 1 | | {latency:.2} | | | | | | | |");
    println!("| only answered | 256 | {answered:.0} | | | | | | | | |");
    println!("| only written to Postgres | | {written:.0} | | | | | | | | |");

    let rows: Vec<_> = standby.iter().map(|round| round.without).collect();
    print_median("without a standby", 256, &rows);
    for distance in ROUND_TRIPS {
        let rows: Vec<_> = standby.iter().map(|round| round.with[&distance]).collect();
        print_median(&format!("a synchronous standby at {distance} ms"), 256, &rows);
    }
    let rows: Vec<_> = readers.iter().map(|round| round.without).collect();
    print_median("without a reader of the feed", 256, &rows);
    let rows: Vec<_> = readers.iter().map(|round| round.with).collect();
    print_median(&format!("{READERS} readers of the feed"), 256, &rows);
}

fn print_bytes(Bytes { table, indexes, log, body, payload, passengers }: &Bytes) {
    println!("\n| bytes a delivery | body | table | of it payload | of it passengers | indexes | write-ahead log |");
    println!("|---|---|---|---|---|---|---|");
    println!("| | {body:.0} | {table:.0} | {payload:.0} | {passengers:.0} | {indexes:.0} | {log:.0} |");
}

fn print_ratios(Results { peers, rounds, bytes, standby, readers, millions, indexes, outage }: &Results) {
    let of = |figure: &dyn Fn(&Round) -> f64| median(rounds.iter().map(figure));
    println!("\n| | measured | against | ratio | target |");
    println!("|---|---|---|---|---|");
    let events = |rate: f64| format!("{rate:.0}/s");
    let milliseconds = |time: f64| format!("{time:.2} ms");
    let pairs = |pair: &dyn Fn(&Round) -> (f64, f64)| rounds.iter().map(pair).collect::<Vec<_>>();
    let pgbench = pairs(&|round| (round.rate(), round.best_of_pgbench()));
    at_least("events/s at 256 connections, against pgbench's best", events, &pgbench, 2.5);
    let limit = pairs(&|round| (round.rate(), round.limit.rate()));
    at_least("… against the limit of this machine", events, &limit, 0.75);
    if rounds.iter().all(|round| round.batches_of_one.contains_key(&256)) {
        let of_one = pairs(&|round| (round.rate(), round.batches_of_one[&256].rate));
        at_least("… against batches of one", events, &of_one, 1.0);
    } else {
        println!("| … against batches of one | | not available | | |");
    }
    let single = pairs(&|round| (round.rate(), round.single_inserts[&256].rate));
    at_least("… against one insert a request in axum + sqlx", events, &single, 4.0);
    for (name, left_out, figures, target) in [
        ("FastAPI + asyncpg", peers.fastapi.as_ref().err(), (|round| &round.fastapi) as OfPeer, 11.0),
        ("svix-server", peers.svix.as_ref().err(), |round| &round.svix, 13.0),
    ] {
        let name = format!("… against {name}");
        match left_out {
            Some(why) => println!("| {name} | | left out: {why:#} | | ≥ {target} |"),
            None => at_least(&name, events, &pairs(&|round| (round.rate(), figures(round)[&256].rate)), target),
        }
    }
    let alone = pairs(&|round| (round.service[&1].p50, round.pgbench_latency));
    at_most("p50 at one connection, against pgbench's", milliseconds, &alone, 1.3);
    let single = pairs(&|round| (round.service[&1].p50, round.single_inserts[&1].p50));
    compare("… against one insert a request in axum + sqlx", milliseconds, &single);
    let floor = pairs(&|round| (round.service[&1].p50, round.pgbench_latency + round.limit.latency));
    compare("… against pgbench's and that of only answering", milliseconds, &floor);
    let tail = pairs(&|round| (round.service[&64].p99, round.service[&64].p50));
    at_most("p99 at 64 connections, against p50", milliseconds, &tail, 2.5);
    let name = format!("events/s at {} rows, against an empty table", millions.rows);
    let loaded: Vec<_> = millions.rounds.iter().map(|(empty, loaded)| (*loaded, *empty)).collect();
    at_least(&name, events, &loaded, 0.95);
    let Retention { rounds: of_retention, erased_under_load, growth } = &millions.retention;
    let retention: Vec<_> = of_retention.iter().map(|(quiet, busy)| (busy.rate, quiet.rate)).collect();
    at_least("… while old events are erased, against not", events, &retention, 0.9);
    let retention: Vec<_> = of_retention.iter().map(|(quiet, busy)| (busy.p99, quiet.p99)).collect();
    at_most("p99 meanwhile, against not", milliseconds, &retention, 1.25);
    println!("| erased meanwhile | {erased_under_load:.0}/s | | | |");
    let (before, after) = growth;
    println!(
        "| growth of the table a delivery, after erasing against before | {after:.0} B | {before:.0} B | {:.2} | |",
        after / before
    );
    match indexes {
        Ok(LargeIndexes { rows, times, rounds }) => {
            let name =
                format!("events/s at indexes of {times:.1} times the memory ({rows:.0} rows), against an empty table");
            let rates: Vec<_> = rounds.iter().map(|(empty, large)| (*large, *empty)).collect();
            at_least(&name, events, &rates, 0.5);
        }
        Err(why) => println!("| events/s at indexes of ten times the memory | | left out: {why:#} | | ≥ 0.5 |"),
    }
    at_most(
        "bytes of the write-ahead log a delivery, against the body's",
        |bytes| format!("{bytes:.0}"),
        &[(bytes.log, bytes.body)],
        3.0,
    );
    let [near @ .., far] = ROUND_TRIPS;
    let of_standby = |distance| {
        let name = format!("events/s with a synchronous standby at {distance} ms, against without");
        let rates = standby.iter().map(|round| (round.with[&distance].rate, round.without.rate));
        (name, rates.collect::<Vec<_>>())
    };
    for (name, rates) in near.map(of_standby) {
        compare(&name, events, &rates);
    }
    let (name, rates) = of_standby(far);
    at_least(&name, events, &rates, 0.8);
    let rates: Vec<_> = readers.iter().map(|round| (round.with.rate, round.without.rate)).collect();
    at_least(&format!("events/s with {READERS} readers of the feed, against without"), events, &rates, 0.9);
    let latencies: Vec<_> = readers.iter().map(|round| (round.with.p99, round.without.p99)).collect();
    compare("p99 meanwhile, against without", milliseconds, &latencies);
    let of_readers = |figure: &dyn Fn(&feed_readers::Round) -> f64| median(readers.iter().map(figure));
    println!(
        "| p99 from recording to a reader meanwhile; all had everything | {:.1} s; {:.1} s after the load | | | |",
        of_readers(&|round| round.delay_p99),
        of_readers(&|round| round.behind)
    );
    absolute("memory at 256 connections", of(&|round| round.service[&256].memory), "MB", 48.0);
    match outage {
        Some(Outage { up, down, refused, drained_after }) => {
            at_least("acknowledged/s while Postgres is down, against up", events, &[(*down, *up)], 0.5);
            println!("| refused through the outage; drained after | {refused}; {drained_after:.1?} | | | |");
        }
        None => println!("| acknowledged/s while Postgres is down, against up | not available | | | ≥ 0.5 |"),
    }
    let user = of(&|round| round.service[&256].user);
    absolute("user CPU of the service an event at 256 connections", user, "µs", 30.0);
}

/// The figures of a peer in a round.
type OfPeer = fn(&Round) -> &BTreeMap<usize, Figures>;

/// Prints the medians of the rounds.
fn print_figures(name: &str, rounds: &[Round], of: impl Fn(&Round) -> &BTreeMap<usize, Figures>) {
    for connections in rounds.iter().take(1).flat_map(|round| of(round).keys()) {
        let figures: Vec<_> = rounds.iter().filter_map(|round| of(round).get(connections).copied()).collect();
        print_median(name, *connections, &figures);
    }
}

fn print_median(name: &str, connections: usize, figures: &[Figures]) {
    let Figures { rate, p50, p99, user, system, postgres, load, idle, memory } = Figures::median(figures);
    println!(
        "| {name} | {connections} | {rate:.0} | {p50:.2} | {p99:.2} | {user:.0} | {system:.0} | {postgres:.0} | {load:.0} \
         | {:.0} | {memory:.0} |",
        idle * 100.0
    );
}

/// Medians of the measured values, of the values they are compared with, and of the rounds' ratios.
fn medians(pairs: &[(f64, f64)]) -> (f64, f64, f64) {
    let of = |figure: fn(&(f64, f64)) -> f64| median(pairs.iter().map(figure));
    (of(|(measured, _)| *measured), of(|(_, against)| *against), of(|(measured, against)| measured / against))
}

fn at_least(name: &str, unit: impl Fn(f64) -> String, pairs: &[(f64, f64)], target: f64) {
    let (measured, against, ratio) = medians(pairs);
    let (measured, against, verdict) = (unit(measured), unit(against), verdict(ratio >= target));
    println!("| {name} | {measured} | {against} | {ratio:.2} | ≥ {target} {verdict} |");
}

fn at_most(name: &str, unit: impl Fn(f64) -> String, pairs: &[(f64, f64)], target: f64) {
    let (measured, against, ratio) = medians(pairs);
    let (measured, against, verdict) = (unit(measured), unit(against), verdict(ratio <= target));
    println!("| {name} | {measured} | {against} | {ratio:.2} | ≤ {target} {verdict} |");
}

/// Without a target.
fn compare(name: &str, unit: impl Fn(f64) -> String, pairs: &[(f64, f64)]) {
    let (measured, against, ratio) = medians(pairs);
    println!("| {name} | {} | {} | {ratio:.2} | |", unit(measured), unit(against));
}

fn absolute(name: &str, measured: f64, unit: &str, target: f64) {
    println!("| {name} | {measured:.1} {unit} | | | ≤ {target} {unit} {} |", verdict(measured <= target));
}

fn verdict(is_reached: bool) -> &'static str {
    if is_reached { "ok" } else { "**not**" }
}
