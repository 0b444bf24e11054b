//! The tables at the end: the figures, and how they stand against what they must reach.

use std::collections::BTreeMap;

use crate::{contest::Contest, measure::Figures, millions::Millions, outage::Outage};

/// Prints both tables.
pub fn print(contest: &Contest, millions: &Millions, outage: Option<&Outage>) {
    println!("\n| | connections | events/s | p50 ms | p99 ms | user µs | system µs | memory MB |");
    println!("|---|---|---|---|---|---|---|---|");
    print_figures("the service", &contest.service);
    print_figures("batches of one", &contest.batches_of_one);
    print_figures("one insert a request (axum + sqlx)", &contest.single_inserts);
    print_figures("one delivery again and again", &BTreeMap::from([(256, contest.storm)]));
    for (clients, rate) in &contest.pgbench {
        let latency = if *clients == 1 { format!("{:.2}", contest.pgbench_latency) } else { String::new() };
        println!("| pgbench | {clients} | {rate:.0} | {latency} | | | | |");
    }

    let at = |connections: usize| contest.service.get(&connections).expect("it was measured at each of these");
    let pgbench = contest.pgbench.values().copied().fold(0.0, f64::max);
    println!("\n| | measured | against | ratio | target |");
    println!("|---|---|---|---|---|");
    let events = |rate: f64| format!("{rate:.0}/s");
    let milliseconds = |time: f64| format!("{time:.2} ms");
    let rate = at(256).rate;
    at_least("events/s at 256 connections, against pgbench's best", events, rate, pgbench, 2.0);
    match contest.batches_of_one.get(&256) {
        Some(of_one) => at_least("… against batches of one", events, rate, of_one.rate, 1.0),
        None => println!("| … against batches of one | | not available | | |"),
    }
    let single = contest.single_inserts.get(&256).map_or(f64::NAN, |figures| figures.rate);
    at_least("… against one insert a request in axum + sqlx", events, rate, single, 4.0);
    at_most("p50 at one connection, against pgbench's", milliseconds, at(1).p50, contest.pgbench_latency, 1.6);
    at_most("p99 at 64 connections, against p50", milliseconds, at(64).p99, at(64).p50, 2.5);
    let name = format!("events/s at {} rows, against an empty table", millions.rows);
    at_least(&name, events, millions.loaded, millions.empty, 0.9);
    absolute("memory at 256 connections", at(256).memory, "MB", 64.0);
    match outage {
        Some(Outage { up, down, refused, drained_after }) => {
            at_least("acknowledged/s while Postgres is down, against up", events, *down, *up, 0.5);
            println!("| refused through the outage; drained after | {refused}; {drained_after:.1?} | | | |");
        }
        None => println!("| acknowledged/s while Postgres is down, against up | not available | | | ≥ 0.5 |"),
    }
    absolute("user CPU of the service an event at 256 connections", at(256).user, "µs", 30.0);
}

fn print_figures(name: &str, figures: &BTreeMap<usize, Figures>) {
    for (connections, Figures { rate, p50, p99, user, system, memory }) in figures {
        println!(
            "| {name} | {connections} | {rate:.0} | {p50:.2} | {p99:.2} | {user:.0} | {system:.0} | {memory:.0} |"
        );
    }
}

fn at_least(name: &str, unit: impl Fn(f64) -> String, measured: f64, against: f64, target: f64) {
    let ratio = measured / against;
    let (measured, against, verdict) = (unit(measured), unit(against), verdict(ratio >= target));
    println!("| {name} | {measured} | {against} | {ratio:.2} | ≥ {target} {verdict} |");
}

fn at_most(name: &str, unit: impl Fn(f64) -> String, measured: f64, against: f64, target: f64) {
    let ratio = measured / against;
    let (measured, against, verdict) = (unit(measured), unit(against), verdict(ratio <= target));
    println!("| {name} | {measured} | {against} | {ratio:.2} | ≤ {target} {verdict} |");
}

fn absolute(name: &str, measured: f64, unit: &str, target: f64) {
    println!("| {name} | {measured:.1} {unit} | | | ≤ {target} {unit} {} |", verdict(measured <= target));
}

fn verdict(is_reached: bool) -> &'static str {
    if is_reached { "ok" } else { "**not**" }
}
