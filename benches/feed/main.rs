//! `make feed-bench`: how fast the feed is read, and what its readers cost the deliveries.
//!
//! It starts a Postgres of its own with durable settings and the release binary.
//!
//! - Latency: from the answer to a delivery to a reader of the stream, at 1,000 events/s with 50 readers.
//! - A full read: one reader of pages through a million events (`--quick`: 100,000), the first and the last pages apart.
//! - Cost: the rate of deliveries without a reader and with 50 that read everything, while search keys are filled; with
//!   `--before BINARY` that of another binary too, in turn.

/// The Postgres under it all.
#[path = "../support/database.rs"]
mod database;
/// The requests of one connection.
#[path = "../throughput/deliveries.rs"]
mod deliveries;
/// The load generator.
#[path = "../throughput/load.rs"]
mod load;
/// Readers of the stream.
#[path = "../support/readers.rs"]
mod readers;
/// Prepared requests.
#[path = "../support/requests.rs"]
mod requests;
/// The server under load.
#[path = "../support/service.rs"]
mod service;
/// HTTP over a connection.
#[path = "../support/wire.rs"]
mod wire;

/// The rate of deliveries beside readers.
mod cost;
/// One reader of everything.
mod full_read;
/// From a delivery to a reader.
mod latency;

use std::{env, fs, path::PathBuf, process::Command, time::Duration};

use anyhow::Context;
use database::Server;
use deliveries::ACCOUNT;
use readers::TOKEN;
use service::{Service, logged_address};

const DATABASE: &str = "feed_bench";

/// State shared by all measurements.
pub struct Bench {
    pub server: Server,
    pub directory: PathBuf,
    pub rounds: usize,
    pub duration: Duration,
    pub before: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<_> = env::args().collect();
    let is_quick = arguments.iter().any(|argument| argument == "--quick");
    let before = arguments.iter().position(|argument| argument == "--before");
    let before = before.map(|at| arguments.get(at + 1).context("--before needs a binary")).transpose()?;
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("feed-bench");
    fs::create_dir_all(&directory)?;
    let bench = Bench {
        server: Server::start(directory.join("postgres"))?,
        directory,
        rounds: if is_quick { 1 } else { 3 },
        duration: Duration::from_secs(if is_quick { 2 } else { 5 }),
        before: before.map(PathBuf::from),
    };
    latency::run(&bench)?;
    full_read::run(&bench, if is_quick { 100_000 } else { 1_000_000 })?;
    cost::run(&bench)?;
    bench.server.remove()
}

impl Bench {
    /// Starts a service over an empty database, which it migrates.
    pub fn service(&self, binary: Option<&PathBuf>) -> anyhow::Result<Service> {
        self.server.create_empty_database(DATABASE)?;
        let command = Command::new(binary.map_or(env!("CARGO_BIN_EXE_ticket-webhooks").as_ref(), PathBuf::as_path));
        let log = self.directory.join("service.log");
        // the connections of one round may not be closed yet when those of the next are opened
        let variables = [
            ("TICKET_WEBHOOKS__ADMIN__TOKEN", TOKEN),
            ("TICKET_WEBHOOKS__SERVER__MAX_CONNECTIONS_PER_ADDRESS", "1024"),
        ];
        Service::start(command, &[ACCOUNT], &self.server.url(DATABASE)?, &log, &variables)
    }

    /// The admin listener of the service that was started last.
    pub fn admin(&self) -> anyhow::Result<String> {
        let log = fs::read_to_string(self.directory.join("service.log"))?;
        Ok(logged_address(&log, "admin.address").context("it has an admin listener")?.to_string())
    }
}
