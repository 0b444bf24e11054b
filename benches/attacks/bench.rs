//! The attacked service, its accounts, and the check that no acknowledged live delivery is lost.

use std::{
    collections::HashSet,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::Context;

use crate::{
    database::Server,
    live::{Live, Sent},
    requests::Account,
    service::{Service, logged_address},
};

/// The database of all attacks.
pub const DATABASE: &str = "attacks";

/// The accounts of every provider.
pub const LIVE: Account = Account { name: "bench", environment: "live" };
pub const TEST: Account = Account { name: "trial", environment: "test" };

/// Duration of the live load before an attack, whose latency is the baseline.
const UNLOADED: Duration = Duration::from_millis(1500);

/// Limit for recording what was acknowledged, after an attack.
const TIMEOUT: Duration = Duration::from_secs(20);

/// What all attacks share.
pub struct Bench {
    pub server: Server,
    /// For logs and the spool.
    pub directory: PathBuf,
    /// The release binary under test.
    pub binary: PathBuf,
    /// Duration of one attack.
    pub duration: Duration,
    /// Deliveries spooled before a drain is measured.
    pub spooled: u64,
}

/// A running service.
pub struct Subject {
    pub service: Service,
    pub public: SocketAddr,
    pub admin: SocketAddr,
}

/// Figures of the live load during an attack.
pub struct Loaded {
    /// Before the attack. All latencies are in milliseconds.
    pub unloaded_p50: f64,
    pub p50: f64,
    pub p99: f64,
    /// Not answered 200.
    pub refused: usize,
    pub sent: usize,
    /// Peak memory of the service in megabytes.
    pub memory: f64,
    /// Acknowledged and not recorded exactly once.
    pub lost: usize,
}

impl Bench {
    /// Empties the tables and removes the spool.
    pub fn clean(&self) -> anyhow::Result<()> {
        // a new database: binaries differ in their migrations, and queries of a killed service end with the old one
        self.server.create_empty_database(DATABASE)?;
        let spool = self.spool();
        if spool.exists() {
            fs::remove_dir_all(&spool)?;
        }
        Ok(())
    }

    /// The spool's directory.
    pub fn spool(&self) -> PathBuf {
        self.directory.join("spool")
    }

    /// Starts Postgres again if an attack has left it stopped.
    pub fn server_is_there(&mut self) -> anyhow::Result<()> {
        if self.server.url(DATABASE).is_err() { self.server.come_back() } else { Ok(()) }
    }

    /// Starts the service without a spool.
    pub fn start(&self, variables: &[(&str, &str)]) -> anyhow::Result<Subject> {
        self.run(Command::new(&self.binary), variables)
    }

    /// Starts the service with the existing spool.
    pub fn start_with_spool(&self, variables: &[(&str, &str)]) -> anyhow::Result<Subject> {
        let spool = self.spool();
        let directory = spool.to_str().context("the target directory is no UTF-8")?;
        self.start(&[&[("TICKET_WEBHOOKS__SPOOL__DIRECTORY", directory)], variables].concat())
    }

    /// Starts the service by a command that runs its binary.
    pub fn run(&self, command: Command, variables: &[(&str, &str)]) -> anyhow::Result<Subject> {
        let log = self.directory.join("service.log");
        let service = Service::start(command, &[LIVE, TEST], &self.server.url(DATABASE)?, &log, variables)?;
        let admin = logged_address(&fs::read_to_string(log)?, "admin.address").context("no admin listener")?;
        Ok(Subject { public: service.address, admin, service })
    }

    /// Attacks a service under the live load, and checks that load.
    pub fn under_load<T>(
        &self,
        subject: &Subject,
        live: Live,
        attack: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<(Loaded, T)> {
        let running = live.start(subject.public);
        sleep(UNLOADED);
        let start = Instant::now();
        let outcome = attack();
        let end = Instant::now();
        let sent = running.finish()?;
        let outcome = outcome?;
        let before: Vec<_> = sent.iter().filter(|sent| sent.at < start).collect();
        let during: Vec<_> = sent.iter().filter(|sent| (start..end).contains(&sent.at)).collect();
        let loaded = Loaded {
            unloaded_p50: latency(&before, 0.50),
            p50: latency(&during, 0.50),
            p99: latency(&during, 0.99),
            refused: during.iter().filter(|sent| sent.status != 200).count(),
            sent: during.len(),
            memory: subject.service.peak_memory()?,
            lost: self.lost(&sent)?,
        };
        Ok((loaded, outcome))
    }

    /// How many acknowledged deliveries are not recorded exactly once.
    fn lost(&self, sent: &[Sent]) -> anyhow::Result<usize> {
        let query = "select booking_ref from ticket_events where environment = 'live' and booking_ref like 'BENCH-%'
            group by booking_ref having count(*) = 1 and sum(delivery_count) = 1";
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let recorded: HashSet<_> = self.server.texts(DATABASE, query)?.into_iter().collect();
            let acknowledged = sent.iter().filter(|sent| sent.status == 200);
            let lost = acknowledged.filter(|sent| !recorded.contains(&sent.booking_ref())).count();
            if lost == 0 || Instant::now() > deadline {
                return Ok(lost);
            }
            sleep(Duration::from_millis(100));
        }
    }

    /// The result of a query with one row and one column.
    pub fn number(&self, query: &str) -> anyhow::Result<u64> {
        let query = format!("select number::text from ({query}) as q (number)");
        Ok(self.server.texts(DATABASE, &query)?.first().context("there is no row")?.parse()?)
    }

    /// Number of events whose booking reference has this prefix.
    pub fn events(&self, prefix: &str) -> anyhow::Result<u64> {
        self.number(&format!("select count(*) from ticket_events where booking_ref like '{prefix}%'"))
    }

    /// Waits for `count` events with this prefix, at most for `timeout`; returns their number.
    pub fn wait_for_events(&self, prefix: &str, count: u64, timeout: Duration) -> anyhow::Result<u64> {
        let deadline = Instant::now() + timeout;
        loop {
            let events = self.events(prefix)?;
            if events >= count || Instant::now() > deadline {
                return Ok(events);
            }
            sleep(Duration::from_millis(20));
        }
    }
}

/// The files of a directory, largest first.
pub fn files(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            files.push((entry.metadata()?.len(), entry.path()));
        }
    }
    files.sort();
    Ok(files.into_iter().rev().map(|(_, path)| path).collect())
}

/// Quantile of the latency of acknowledged deliveries, in milliseconds.
fn latency(sent: &[&Sent], share: f64) -> f64 {
    let mut took: Vec<_> = sent.iter().filter(|sent| sent.status == 200).map(|sent| sent.took).collect();
    took.sort_unstable();
    let index = (took.len() as f64 * share) as usize;
    took.get(index).or(took.last()).map_or(f64::NAN, |took| took.as_secs_f64() * 1000.0)
}
