//! One load on one service: the figures, the check that nothing was lost, and the medians of several rounds.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread::available_parallelism,
    time::Duration,
};

use anyhow::{Context, ensure};

use crate::{
    database::Server,
    deliveries::ACCOUNT,
    load::{Load, Run},
    service::Service,
};

/// The database of all measurements that start with an empty table.
pub const DATABASE: &str = "bench";

/// Duration of the warm-up before each measurement.
pub const WARM_UP: Duration = Duration::from_millis(700);

/// State shared by all measurements.
pub struct Bench {
    pub server: Server,
    /// For logs and scripts.
    pub directory: PathBuf,
    pub rounds: usize,
    /// Duration of one measurement.
    pub duration: Duration,
}

/// The figures of one load.
#[derive(Clone, Copy)]
pub struct Figures {
    /// Events per second.
    pub rate: f64,
    /// Latencies in milliseconds.
    pub p50: f64,
    pub p99: f64,
    /// CPU time of the service in microseconds per event.
    pub user: f64,
    pub system: f64,
    /// The same of Postgres, and of the load generator.
    pub postgres: f64,
    pub load: f64,
    /// The share of the processors' time that was idle.
    pub idle: f64,
    /// Peak memory of the service in megabytes.
    pub memory: f64,
}

impl Bench {
    /// Starts this service over a database.
    pub fn service(&self, database: &str, variables: &[(&str, &str)]) -> anyhow::Result<Service> {
        self.service_of(Path::new(env!("CARGO_BIN_EXE_ticket-webhooks")), database, variables)
    }

    /// Starts another binary of this service over a database.
    pub fn service_of(&self, binary: &Path, database: &str, variables: &[(&str, &str)]) -> anyhow::Result<Service> {
        let command = Command::new(binary);
        Service::start(command, &[ACCOUNT], &self.server.url(database)?, &self.service_log(), variables)
    }

    /// The log of the service that was started last.
    pub fn service_log(&self) -> PathBuf {
        self.directory.join("service.log")
    }

    /// Records one delivery of each provider in the emptied table.
    pub fn one_of_each(&self, service: &Service, database: &str) -> anyhow::Result<()> {
        Load::new(1, WARM_UP).run(service.address, &Arc::default())?;
        self.server.execute(
            database,
            "delete from ticket_events where id not in (select distinct on (provider) id from ticket_events)",
        )
    }

    /// Measures from an empty table on.
    pub fn measure(&self, service: &Service, connections: usize) -> anyhow::Result<Figures> {
        self.warm_up(service, connections)?;
        self.server.empty(DATABASE)?;
        self.measure_on(service, DATABASE, Load::new(connections, self.duration))
    }

    /// Fills caches, opens connections and prepares statements.
    pub fn warm_up(&self, service: &Service, connections: usize) -> anyhow::Result<()> {
        Load::new(connections, WARM_UP).run(service.address, &Arc::default()).map(drop)
    }

    /// Number of recorded deliveries of the load generator, duplicates included.
    pub fn recorded(&self, database: &str) -> anyhow::Result<u64> {
        // their ids begin with the time, those of rows that a bench has made with zeros
        let query = "select coalesce(sum(delivery_count), 0) from ticket_events
            where id >= '01000000-0000-0000-0000-000000000000'
            and provider in ('ticket_status_update', 'booking_callback', 'order_ticketed')
            and environment = 'live' and booking_ref like 'BENCH-%'";
        Ok(self.number(database, query)? as u64)
    }

    /// The number that a query gives.
    pub fn number(&self, database: &str, query: &str) -> anyhow::Result<f64> {
        let query = format!("select number::text from ({query}) as q (number)");
        Ok(self.server.texts(database, &query)?.first().context("there is no row")?.parse()?)
    }

    /// Measures from the existing table on.
    pub fn measure_on(&self, service: &Service, database: &str, load: Load) -> anyhow::Result<Figures> {
        let run = || load.run(service.address, &Arc::default());
        self.measure_with(service, load.connections, run, || self.recorded(database))
    }

    /// Measures any load, with a count of what is recorded.
    pub fn measure_with(
        &self,
        service: &Service,
        connections: usize,
        load: impl FnOnce() -> anyhow::Result<Run>,
        recorded: impl Fn() -> anyhow::Result<u64>,
    ) -> anyhow::Result<Figures> {
        let recorded_before = recorded()?;
        let (cpu_before, used_before) = (service.cpu()?, self.cpu()?);
        let run = load()?;
        let (cpu, used) = (service.cpu()?, self.cpu()?);
        let recorded = recorded()? - recorded_before;
        let (acknowledged, refused) = (run.acknowledged, run.refused);
        ensure!(refused == 0, "{refused} deliveries were refused, and {acknowledged} acknowledged");
        ensure!(recorded == acknowledged, "{acknowledged} deliveries were acknowledged, and {recorded} recorded");
        let of_an_event = |seconds: f64| seconds * 1e6 / acknowledged as f64;
        let figures = Figures {
            rate: run.rate(),
            p50: run.latency(0.50),
            p99: run.latency(0.99),
            user: of_an_event(cpu.user - cpu_before.user),
            system: of_an_event(cpu.system - cpu_before.system),
            postgres: of_an_event(used.postgres - used_before.postgres),
            load: of_an_event(used.load - used_before.load),
            idle: (used.idle - used_before.idle) / run.seconds / available_parallelism()?.get() as f64,
            memory: service.peak_memory()?,
        };
        eprintln!("  {connections:>4} connections: {figures}");
        Ok(figures)
    }
}

impl Figures {
    /// The median of each figure.
    pub fn median(rounds: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| median(rounds.iter().map(figure));
        Self {
            rate: of(|f| f.rate),
            p50: of(|f| f.p50),
            p99: of(|f| f.p99),
            user: of(|f| f.user),
            system: of(|f| f.system),
            postgres: of(|f| f.postgres),
            load: of(|f| f.load),
            idle: of(|f| f.idle),
            memory: of(|f| f.memory),
        }
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { rate, p50, p99, user, system, postgres, load, idle, memory } = self;
        write!(
            f,
            "{rate:.0} events/s, p50 {p50:.2} ms, p99 {p99:.2} ms, CPU {user:.0} + {system:.0} µs, of Postgres {postgres:.0} µs, \
             of the load {load:.0} µs, {:.0} % idle, {memory:.0} MB",
            idle * 100.0,
        )
    }
}

pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
