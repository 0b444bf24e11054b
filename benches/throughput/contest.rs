//! Side by side in each round: the service, `pgbench`, the service with batches of one, one insert a request.

use std::{collections::BTreeMap, env, process::Command};

use crate::{
    load::Load,
    measure::{Bench, DATABASE, Figures, median},
    pgbench::Pgbench,
    service::Service,
    single_insert,
};

/// The numbers of connections that the service is measured at.
pub const CONNECTIONS: [usize; 4] = [1, 16, 64, 256];

/// Those of pgbench: one for the latency, and the best of the others.
const CLIENTS: [usize; 5] = [1, 16, 32, 64, 128];

/// Medians of the rounds.
pub struct Contest {
    /// By the number of connections.
    pub service: BTreeMap<usize, Figures>,
    /// At 64 and 256 connections; empty where the service knows no batches.
    pub batches_of_one: BTreeMap<usize, Figures>,
    /// One insert a request, in axum and sqlx; at 64 and 256 connections.
    pub single_inserts: BTreeMap<usize, Figures>,
    /// The same delivery from 256 connections.
    pub storm: Figures,
    /// Rows a second, by the number of clients.
    pub pgbench: BTreeMap<usize, f64>,
    /// Of pgbench at one client, in milliseconds.
    pub pgbench_latency: f64,
}

/// Takes turns.
pub fn run(bench: &Bench) -> anyhow::Result<Contest> {
    let pgbench = pgbench(bench)?;
    let (mut service, mut of_one, mut single): (Rounds, Rounds, Rounds) = Default::default();
    let (mut storms, mut rates, mut latencies) = (Vec::new(), BTreeMap::<usize, Vec<f64>>::new(), Vec::new());
    for round in 1..=bench.rounds {
        eprintln!("round {round}: the service");
        let subject = bench.service(DATABASE, &[])?;
        measure(bench, &subject, &CONNECTIONS, &mut service)?;
        eprintln!("round {round}: one delivery again and again");
        bench.server.empty(DATABASE)?;
        let storm = Load { connections: 256, duration: bench.duration, repeated: true };
        storms.push(bench.measure_on(&subject, DATABASE, storm)?);
        drop(subject);

        eprintln!("round {round}: pgbench");
        for clients in CLIENTS {
            let run = pgbench.run(&bench.server, DATABASE, clients, bench.duration)?;
            eprintln!("  {clients:>4} clients: {:.0} rows/s", run.rate);
            rates.entry(clients).or_default().push(run.rate);
            if clients == 1 {
                latencies.push(run.latency);
            }
        }

        eprintln!("round {round}: batches of one");
        match bench.service(DATABASE, &[("TICKET_WEBHOOKS__INBOX__MAX_BATCH", "1")]) {
            Ok(subject) => measure(bench, &subject, &[64, 256], &mut of_one)?,
            Err(error) => eprintln!("  not available: {error}"),
        }

        eprintln!("round {round}: one insert a request");
        let mut command = Command::new(env::current_exe()?);
        command.args([single_insert::ARGUMENT, &bench.server.url(DATABASE)?]);
        let rival = Service::spawn(command, &bench.directory.join("single-insert.log"))?;
        measure(bench, &rival, &[64, 256], &mut single)?;
    }
    Ok(Contest {
        service: medians(service),
        batches_of_one: medians(of_one),
        single_inserts: medians(single),
        storm: Figures::median(&storms),
        pgbench: rates.into_iter().map(|(clients, rates)| (clients, median(rates.into_iter()))).collect(),
        pgbench_latency: median(latencies.into_iter()),
    })
}

/// The service at both ends of the scale, and pgbench beside it; prints what it measures.
pub fn service_alone(bench: &Bench) -> anyhow::Result<()> {
    let subject = bench.service(DATABASE, &[])?;
    let pgbench = pgbench(bench)?;
    for _ in 0..bench.rounds {
        measure(bench, &subject, &[1, 64, 256], &mut BTreeMap::new())?;
        for clients in [1, 16] {
            let run = pgbench.run(&bench.server, DATABASE, clients, bench.duration)?;
            eprintln!("  {clients:>4} clients: {:.0} rows/s", run.rate);
        }
    }
    Ok(())
}

/// The figures of each round, by the number of connections.
type Rounds = BTreeMap<usize, Vec<Figures>>;

fn measure(bench: &Bench, service: &Service, connections: &[usize], rounds: &mut Rounds) -> anyhow::Result<()> {
    for &connections in connections {
        rounds.entry(connections).or_default().push(bench.measure(service, connections)?);
    }
    Ok(())
}

fn medians(rounds: Rounds) -> BTreeMap<usize, Figures> {
    rounds.into_iter().map(|(connections, figures)| (connections, Figures::median(&figures))).collect()
}

/// With the rows that the service makes of one delivery of each provider.
fn pgbench(bench: &Bench) -> anyhow::Result<Pgbench> {
    let service = bench.service(DATABASE, &[])?;
    bench.one_of_each(&service, DATABASE)?;
    Pgbench::prepare(&bench.server, DATABASE, &bench.directory)
}
