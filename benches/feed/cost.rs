//! The rate of deliveries without a reader and with 50, beside that of another binary.

use std::{path::PathBuf, sync::Arc, time::Duration};

use crate::{
    Bench,
    load::Load,
    readers::{Given, Readers, quantile},
};

const CONNECTIONS: usize = 256;
const READERS: usize = 50;

pub fn run(bench: &Bench) -> anyhow::Result<()> {
    let mut ratios = [Vec::new(), Vec::new()];
    for round in 1..=bench.rounds {
        let before = bench.before.as_ref().map(|binary| rate(bench, Some(binary), 0)).transpose()?;
        let (alone, _) = rate(bench, None, 0)?;
        let (read, given) = rate(bench, None, READERS)?;
        let basis = before.map_or(alone, |(rate, _)| rate);
        ratios[0].push(alone / basis);
        ratios[1].push(read / basis);
        println!(
            "round {round}: before {:.0}, now without readers {alone:.0}, with {READERS} readers {read:.0} events/s (they got {given})",
            before.map_or(f64::NAN, |(rate, _)| rate),
        );
    }
    let median = |values: &mut Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let [mut alone, mut read] = ratios;
    println!(
        "ratio without readers {:.3}, with {READERS} readers {:.3} (at least 0.9)",
        median(&mut alone),
        median(&mut read)
    );
    Ok(())
}

/// Deliveries a second, and the events that the readers got.
fn rate(bench: &Bench, binary: Option<&PathBuf>, readers: usize) -> anyhow::Result<(f64, u64)> {
    let service = bench.service(binary)?;
    let start = || bench.admin().map(|admin| Readers::start(&admin, readers, "from=now"));
    let running = (readers > 0).then(start).transpose()?;
    Load::new(CONNECTIONS, Duration::from_millis(700)).run(service.address, &Arc::default())?;
    let run = Load::new(CONNECTIONS, bench.duration).run(service.address, &Arc::default())?;
    anyhow::ensure!(run.refused == 0, "{} deliveries were refused", run.refused);
    let given = running.map(Readers::stop);
    let name = if binary.is_some() { "before" } else { "now" };
    eprintln!("  {name}, {readers} readers: p50 {:.2} ms, p99 {:.2} ms", run.latency(0.5), run.latency(0.99));
    if let Some(Given { delays, .. }) = &given {
        eprintln!("  to a reader: p50 {:.1} s, p99 {:.1} s", quantile(delays, 0.5), quantile(delays, 0.99));
    }
    Ok((run.rate(), given.map_or(0, |given| given.events)))
}
