//! A standby that has every commit on its disk before the delivery is answered, at several distances from Postgres.
//!
//! The distance is that of a proxy in the replication connection. The standby shares the processors with everything else:
//! what that costs shows at no distance.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder},
    os::unix::{
        fs::{DirBuilderExt, MetadataExt, chown},
        process::CommandExt,
    },
    path::PathBuf,
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use ticket_webhooks::embedded_postgres::Programs;

use crate::{
    database::Server,
    fill_log,
    measure::{Bench, DATABASE, Figures},
    proxy::Proxy,
};

const CONNECTIONS: usize = 256;

/// Round trips in milliseconds.
pub const ROUND_TRIPS: [u64; 3] = [0, 1, 5];

/// Keeps the log that the standby needs while it is away.
const SLOT: &str = "bench_standby";

/// Files of its write-ahead log that are made in advance: enough for a round.
const LOG_FILES: usize = 64;

/// Of starting and of catching up.
const TIMEOUT: Duration = Duration::from_secs(120);

/// What was measured in one round.
pub struct Round {
    /// Without a standby.
    pub without: Figures,
    /// By the round trip.
    pub with: BTreeMap<u64, Figures>,
}

/// Alternates between no standby and one at each distance.
pub fn run(bench: &Bench) -> anyhow::Result<Vec<Round>> {
    eprintln!("a synchronous standby");
    let service = bench.service(DATABASE, &[])?;
    let mut standby = Standby::copy(&bench.server)?;
    standby.come_back(&bench.server)?;
    fill_log(&bench.server, LOG_FILES)?;
    let mut rounds = Vec::new();
    for _ in 0..bench.rounds {
        standby.go_away()?;
        let mut round = Round { without: bench.measure(&service, CONNECTIONS)?, with: BTreeMap::new() };
        standby.come_back(&bench.server)?;
        require(&bench.server, true)?;
        for milliseconds in ROUND_TRIPS {
            standby.proxy.set_round_trip(Duration::from_millis(milliseconds));
            eprintln!("  at {milliseconds} ms");
            round.with.insert(milliseconds, bench.measure(&service, CONNECTIONS)?);
        }
        require(&bench.server, false)?;
        standby.proxy.set_round_trip(Duration::ZERO);
        rounds.push(round);
    }
    standby.remove()?;
    forget(&bench.server)?;
    Ok(rounds)
}

/// Lets commits no longer wait for a standby. One of a run that was interrupted would never come back.
pub fn forget(server: &Server) -> anyhow::Result<()> {
    require(server, false)?;
    let drop =
        format!("select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = '{SLOT}'");
    server.execute("postgres", &drop)
}

/// Whether commits wait for the standby.
fn require(server: &Server, is_required: bool) -> anyhow::Result<()> {
    // not in one transaction: Postgres refuses that
    server.execute(
        "postgres",
        &format!("alter system set synchronous_standby_names = '{}'", if is_required { "*" } else { "" }),
    )?;
    server.execute("postgres", "select pg_reload_conf()")?;
    if is_required {
        wait_until(server, "select 1 from pg_stat_replication where sync_state = 'sync'")?;
    }
    Ok(())
}

/// Waits until a query has a row.
fn wait_until(server: &Server, query: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + TIMEOUT;
    while server.texts("postgres", &format!("select 'yes' from ({query}) as found"))?.is_empty() {
        ensure!(Instant::now() < deadline, "the standby does not catch up");
        sleep(Duration::from_millis(50));
    }
    Ok(())
}

struct Standby {
    directory: PathBuf,
    proxy: Proxy,
    /// Through the proxy.
    connection: String,
    running: Option<Server>,
}

impl Standby {
    /// Copies the files of the server; its owner owns them, too.
    fn copy(server: &Server) -> anyhow::Result<Self> {
        let home = server.home()?;
        let mut name = home.file_name().context("the server has a directory of its own")?.to_owned();
        name.push("-standby");
        let directory = home.with_file_name(name);
        if directory.exists() {
            fs::remove_dir_all(&directory)?;
        }
        fs::create_dir_all(&directory)?;
        let (owner, data) = (fs::metadata(home.join("data"))?, directory.join("data"));
        DirBuilder::new().mode(0o700).create(&data)?;
        chown(&data, Some(owner.uid()), Some(owner.gid()))?;
        let beside = Programs::find()?.directory().join("pg_basebackup");
        let output = Command::new(beside)
            .args(["--checkpoint=fast", "--write-recovery-conf", "--create-slot", "--slot", SLOT])
            .arg(format!("--dbname={}", server.url("postgres")?))
            .arg("--pgdata")
            .arg(&data)
            .current_dir("/")
            .uid(owner.uid())
            .gid(owner.gid())
            .output()
            .context("pg_basebackup cannot be run")?;
        ensure!(output.status.success(), "pg_basebackup: {}", String::from_utf8_lossy(&output.stderr));
        let primary = server.running()?.connect_options("postgres");
        let name = format!(".s.PGSQL.{}", primary.get_port());
        // that of the server, if its socket is among its files
        let _ = fs::remove_file(data.join(format!("{name}.lock")));
        let proxy = Proxy::start(primary.get_socket().context("the server has a socket")?.join(name))?;
        let (port, user) = (proxy.port, primary.get_username());
        let connection = format!("host=127.0.0.1 port={port} user={user} sslmode=disable gssencmode=disable");
        Ok(Self { directory, proxy, connection, running: None })
    }

    /// Starts it, and waits until it has what it has missed.
    fn come_back(&mut self, server: &Server) -> anyhow::Result<()> {
        let settings = [("primary_conninfo", self.connection.as_str()), ("primary_slot_name", SLOT)];
        let standby = Server::start_with(self.directory.clone(), &settings)?;
        wait_until(
            server,
            "select from pg_stat_replication where state = 'streaming' and pg_current_wal_flush_lsn() - replay_lsn < 1000000",
        )?;
        // frees files of its log for the next round
        standby.execute("postgres", "checkpoint")?;
        self.running = Some(standby);
        Ok(())
    }

    fn go_away(&mut self) -> anyhow::Result<()> {
        self.running.take().context("it is away")?.go_away()
    }

    fn remove(self) -> anyhow::Result<()> {
        self.running.context("it is away")?.remove()
    }
}
