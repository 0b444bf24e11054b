//! A Postgres, a spool on disk and the service over both; all of them can be broken.

use std::{
    fs,
    io::Read,
    net::SocketAddr,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{sync::watch, task::spawn_blocking, time::sleep};

use super::ledger::Recorded;
use crate::{
    durability::clock,
    support::{Chance, Command, Server, Service, provider, settings},
};

/// How long the spool may take to drain.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Short, so that a frozen server costs a round little time.
const WRITE_TIMEOUT_MS: &str = "300";

pub struct World {
    pub server: Server,
    spool: TempDir,
    /// A disk that can be filled lies over the spool's directory.
    is_on_small_disk: bool,
    /// The service sees another time than the machine has.
    has_other_clock: bool,
    service: Option<Service>,
    address: watch::Sender<SocketAddr>,
    probes: u32,
}

impl World {
    pub async fn new() -> Self {
        let mut world = Self {
            server: Server::start(true).await,
            spool: TempDir::new().unwrap(),
            is_on_small_disk: false,
            has_other_clock: false,
            service: None,
            address: watch::channel(SocketAddr::from(([127, 0, 0, 1], 1))).0,
            probes: 0,
        };
        world.start_service(256).await;
        world
    }

    pub fn service(&self) -> &Service {
        self.service.as_ref().expect("the service runs")
    }

    /// Where the service is; it changes with every start.
    pub fn address(&self) -> watch::Receiver<SocketAddr> {
        self.address.subscribe()
    }

    /// What was found in the spool.
    pub async fn start_service(&mut self, max_batch: u64) -> u64 {
        let command = Command::new(&["serve"]);
        self.start(command, max_batch).await
    }

    async fn start(&mut self, command: Command, max_batch: u64) -> u64 {
        let mut settings = settings(self.server.url());
        for (name, value) in [
            ("TICKET_WEBHOOKS__SPOOL__DIRECTORY", self.spool.path().display().to_string().as_str()),
            ("TICKET_WEBHOOKS__DATABASE__WRITE_TIMEOUT_MS", WRITE_TIMEOUT_MS),
            ("TICKET_WEBHOOKS__INBOX__MAX_BATCH", max_batch.to_string().as_str()),
            // not a line for each delivery
            ("RUST_LOG", "info,ticket_webhooks::receive=off"),
        ] {
            settings.push((name.to_owned(), value.to_owned()));
        }
        let command = command.envs(&settings);
        let service = spawn_blocking(move || Service::over(command.start())).await.unwrap();
        let opened: Value = serde_json::from_str(&service.process.line("the spool is open")).unwrap();
        self.address.send_replace(service.public.trim_start_matches("http://").parse().unwrap());
        self.service = Some(service);
        opened["records"].as_u64().unwrap()
    }

    /// `kill -9`.
    pub async fn kill_service(&mut self) {
        let mut service = self.service.take().expect("the service runs");
        spawn_blocking(move || {
            service.process.signal("KILL");
            service.process.wait();
        })
        .await
        .unwrap();
    }

    /// Under the service, the file or the directory with it.
    pub fn delete_spool(&self, with_directory: bool) {
        if with_directory {
            match fs::remove_dir_all(self.spool.path()) {
                // the service has made a new file in it meanwhile
                Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty => {}
                removed => removed.unwrap(),
            }
        } else {
            fs::remove_file(self.spool.path().join("deliveries.redb")).unwrap();
        }
    }

    /// Flips one bit somewhere in what is used of the spool's file, in place, as a disk does it.
    pub fn flip_bits(&self, chance: &mut Chance) {
        let file = fs::OpenOptions::new().read(true).write(true).open(self.spool.path().join("deliveries.redb"));
        let (file, mut bytes) = (file.unwrap(), Vec::new());
        (&file).read_to_end(&mut bytes).unwrap();
        let used: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
        let at = used[chance.between(0, used.len() as u64) as usize];
        file.write_all_at(&[bytes[at] ^ (1 << chance.between(0, 8))], at as u64).unwrap();
    }

    /// In order, with exit code 0.
    pub async fn stop_service(&mut self) {
        let log = self.service.take().expect("the service runs").stop().await;
        assert!(log.contains("\"stopped\""), "{log}");
    }

    /// The service again, its spool on a disk of 16 MB that nobody else sees and that goes with it. The directory, as it
    /// can be reached from here; `None` where that is not to be had.
    pub async fn use_small_disk(&mut self, max_batch: u64) -> Option<PathBuf> {
        if !Command::can_mount() {
            return None;
        }
        self.stop_service().await;
        self.start(Command::over_a_disk_of_its_own(self.spool.path(), "16m", &["serve"]), max_batch).await;
        self.is_on_small_disk = true;
        let root = PathBuf::from(format!("/proc/{}/root", self.service().process.id()));
        Some(root.join(self.spool.path().strip_prefix("/").unwrap()))
    }

    /// The service, which does not run, with a clock that is behind by an hour. What was found in the spool; `None` where
    /// no clock can be set.
    pub async fn start_an_hour_back(&mut self, max_batch: u64) -> Option<u64> {
        let library = clock::library()?.display().to_string();
        let command = Command::new(&["serve"])
            .env("LD_PRELOAD", &library)
            .env("FAKETIME", "-3600s")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        self.has_other_clock = true;
        Some(self.start(command, max_batch).await)
    }

    /// Back from a small disk, which must be empty, and from another clock.
    pub async fn use_own_machine(&mut self, chance: &mut Chance) {
        if std::mem::take(&mut self.is_on_small_disk) | std::mem::take(&mut self.has_other_clock) {
            self.stop_service().await;
            self.start_service(chance.one_of(BATCHES)).await;
        }
    }

    /// Waits until the spool is empty. Nobody delivers any more.
    pub async fn drained(&mut self) {
        self.probes += 1;
        let (booking, callback) = (format!("probe-{}", self.probes), provider("booking_callback"));
        let answer = self.service().post(callback, (callback.delivery)("main", &booking).to_string()).await;
        assert_eq!(answer.status, 200);
        let pool = self.server.pool();
        let query = "select exists (select from ticket_events where provider = 'booking_callback' \
                     and environment = 'live' and booking_ref = $1)";
        let deadline = Instant::now() + TIMEOUT;
        // it is recorded when nothing is spooled, or when the spool is being drained and its log says so
        let is_recorded = async || sqlx::query_scalar(query).bind(&booking).fetch_one(&pool).await.unwrap();
        while !is_recorded().await || self.is_draining() {
            assert!(Instant::now() < deadline, "the spool is not drained:\n{}", self.service().process.output());
            sleep(Duration::from_millis(10)).await;
        }
        pool.close().await;
    }

    fn is_draining(&self) -> bool {
        let log = self.service().process.output();
        let count = |text: &str| log.matches(text).count();
        count("the spool is in use") > count("the spool is empty again")
    }

    /// What is recorded of a round.
    pub async fn recorded(&self, round: u32) -> Vec<Recorded> {
        let pool = self.server.pool();
        let query = "select booking_ref, case when booking_ref like '%revised%' then remark::integer else 0 end as says, \
                     revision, late, delivery_count from ticket_events where starts_with(booking_ref, $1)";
        let rows = sqlx::query_as(query).bind(format!("{round}-")).fetch_all(&pool).await.unwrap();
        pool.close().await;
        rows
    }

    pub async fn unprocessed(&self) -> i64 {
        sqlx::query_scalar("select count(*) from unprocessed_deliveries").fetch_one(&self.server.pool()).await.unwrap()
    }
}

/// Deliveries in a batch: fewer than there are clients, or more.
pub const BATCHES: &[u64] = &[4, 16, 256];

/// Leaves no byte on the disk; what it returns is in the way.
pub fn fill(directory: &Path) -> PathBuf {
    let filler = directory.join("filler");
    let full = fs::write(&filler, vec![0; 32 * 1024 * 1024]).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    filler
}
