//! The contestants of each round: the service, `pgbench`, the service with batches of one, one insert a request, and others'
//! servers as far as there are any.

use std::{collections::BTreeMap, env, process::Command};

use crate::{
    fastapi::FastApi,
    limit::{self, Limit},
    load::Load,
    measure::{Bench, DATABASE, Figures},
    pgbench::Pgbench,
    service::{Service, public_address},
    single_insert,
    svix::Svix,
};

/// Connections to the service.
pub const CONNECTIONS: [usize; 4] = [1, 16, 64, 256];

/// Clients of pgbench: one for the latency; of the others the best rate counts.
const CLIENTS: [usize; 5] = [1, 16, 32, 64, 128];

/// Sizes of bodies beside the samples.
const BODIES: [usize; 2] = [2 * 1024, 16 * 1024];

/// What was measured in one round, within a minute.
#[derive(Default)]
pub struct Round {
    /// By the number of connections.
    pub service: BTreeMap<usize, Figures>,
    /// Its rates are those at 256 connections.
    pub limit: Limit,
    /// By the bytes of a body, at 256 connections.
    pub bodies: BTreeMap<usize, Figures>,
    /// At 64 and 256 connections; empty if the service has no `inbox.max_batch`.
    pub batches_of_one: BTreeMap<usize, Figures>,
    /// One insert a request, in axum and sqlx; at 1, 64 and 256 connections.
    pub single_inserts: BTreeMap<usize, Figures>,
    /// At 64 and 256 connections; empty if they are left out.
    pub fastapi: BTreeMap<usize, Figures>,
    pub svix: BTreeMap<usize, Figures>,
    /// The same delivery from 256 connections.
    pub storm: BTreeMap<usize, Figures>,
    /// Rows a second, by the number of clients.
    pub pgbench: BTreeMap<usize, f64>,
    /// Median of pgbench at one client, in milliseconds.
    pub pgbench_latency: f64,
}

impl Round {
    /// Of the service at 256 connections.
    pub fn rate(&self) -> f64 {
        self.service[&256].rate
    }

    pub fn best_of_pgbench(&self) -> f64 {
        self.pgbench.values().copied().fold(0.0, f64::max)
    }
}

/// The servers of others; an error says why one is left out.
pub struct Peers {
    pub fastapi: anyhow::Result<FastApi>,
    pub svix: anyhow::Result<Svix>,
}

impl Peers {
    pub fn find(bench: &Bench) -> Self {
        let peers = Self { fastapi: FastApi::install(&bench.directory), svix: Svix::given() };
        let why = [("FastAPI", peers.fastapi.as_ref().err()), ("svix-server", peers.svix.as_ref().err())];
        for (name, why) in why.into_iter().filter_map(|(name, why)| Some((name, why?))) {
            eprintln!("{name} is left out: {why:#}");
        }
        peers
    }
}

/// Alternates between contestants: the speed of the machine drifts over minutes.
pub fn run(bench: &Bench, peers: &Peers) -> anyhow::Result<Vec<Round>> {
    let pgbench = pgbench(bench)?;
    (1..=bench.rounds).map(|number| round(bench, &pgbench, peers, number)).collect()
}

fn round(bench: &Bench, pgbench: &Pgbench, peers: &Peers, number: usize) -> anyhow::Result<Round> {
    let mut round = Round::default();
    let [alone, others @ ..] = CLIENTS;
    eprintln!("round {number}: the service");
    let subject = bench.service(DATABASE, &[])?;
    measure(bench, &subject, &CONNECTIONS[..1], &mut round.service)?;
    eprintln!("round {number}: pgbench");
    round.pgbench_latency = rows(bench, pgbench, &[alone], &mut round.pgbench)?;
    eprintln!("round {number}: one insert a request");
    measure(bench, &single_inserts(bench)?, &[1], &mut round.single_inserts)?;
    eprintln!("round {number}: the service");
    measure(bench, &subject, &CONNECTIONS[1..], &mut round.service)?;
    eprintln!("round {number}: pgbench");
    rows(bench, pgbench, &others, &mut round.pgbench)?;

    eprintln!("round {number}: the limit");
    round.limit = limit::run(bench, 256)?;

    eprintln!("round {number}: one insert a request");
    measure(bench, &single_inserts(bench)?, &[256, 64], &mut round.single_inserts)?;

    if let Ok(fastapi) = &peers.fastapi {
        eprintln!("round {number}: FastAPI and asyncpg");
        measure(bench, &fastapi.start(bench)?, &[256, 64], &mut round.fastapi)?;
    }
    if let Ok(svix) = &peers.svix {
        eprintln!("round {number}: svix-server");
        let running = svix.start(bench)?;
        for connections in [256, 64] {
            round.svix.insert(connections, running.measure(bench, connections)?);
        }
    }

    eprintln!("round {number}: batches of one");
    match bench.service(DATABASE, &[("TICKET_WEBHOOKS__INBOX__MAX_BATCH", "1")]) {
        Ok(subject) => measure(bench, &subject, &[256, 64], &mut round.batches_of_one)?,
        Err(error) => eprintln!("  not available: {error}"),
    }

    eprintln!("round {number}: one delivery again and again");
    bench.server.empty(DATABASE)?;
    let storm = Load { repeated: true, ..Load::new(256, bench.duration) };
    round.storm.insert(256, bench.measure_on(&subject, DATABASE, storm)?);

    eprintln!("round {number}: larger bodies");
    for bytes in BODIES {
        bench.warm_up(&subject, 256)?;
        bench.server.empty(DATABASE)?;
        let load = Load { body_bytes: bytes, ..Load::new(256, bench.duration) };
        round.bodies.insert(bytes, bench.measure_on(&subject, DATABASE, load)?);
    }
    Ok(round)
}

/// The server that inserts one row a request.
fn single_inserts(bench: &Bench) -> anyhow::Result<Service> {
    let mut command = Command::new(env::current_exe()?);
    command.args([single_insert::ARGUMENT, &bench.server.url(DATABASE)?]);
    Service::spawn(command, &bench.directory.join("single-insert.log"), public_address)
}

/// The service and pgbench at a few loads, without a report.
pub fn service_alone(bench: &Bench) -> anyhow::Result<()> {
    let subject = bench.service(DATABASE, &[])?;
    let pgbench = pgbench(bench)?;
    for _ in 0..bench.rounds {
        let mut round = Round::default();
        measure(bench, &subject, &[1, 64, 256], &mut round.service)?;
        rows(bench, &pgbench, &CLIENTS, &mut round.pgbench)?;
        round.limit = limit::run(bench, 256)?;
        let (of_limit, of_pgbench) = (round.rate() / round.limit.rate(), round.rate() / round.best_of_pgbench());
        eprintln!("  share of the limit {of_limit:.2}, against pgbench {of_pgbench:.2}");
    }
    Ok(())
}

fn measure(
    bench: &Bench,
    service: &Service,
    connections: &[usize],
    figures: &mut BTreeMap<usize, Figures>,
) -> anyhow::Result<()> {
    for &connections in connections {
        figures.insert(connections, bench.measure(service, connections)?);
    }
    Ok(())
}

/// Returns the latency of the last run.
fn rows(bench: &Bench, pgbench: &Pgbench, clients: &[usize], rates: &mut BTreeMap<usize, f64>) -> anyhow::Result<f64> {
    let mut latency = f64::NAN;
    for &clients in clients {
        let run = pgbench.run(&bench.server, DATABASE, clients, bench.duration)?;
        eprintln!("  {clients:>4} clients: {:.0} rows/s", run.rate);
        rates.insert(clients, run.rate);
        latency = run.latency;
    }
    Ok(latency)
}

/// Prepares pgbench with the rows of one delivery of each provider.
fn pgbench(bench: &Bench) -> anyhow::Result<Pgbench> {
    let service = bench.service(DATABASE, &[])?;
    bench.one_of_each(&service, DATABASE)?;
    Pgbench::prepare(&bench.server, DATABASE, &bench.directory)
}
