//! A Postgres for one test, which may stop, freeze and kill it.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use sqlx::{PgPool, postgres::PgPoolOptions};
use tempfile::TempDir;
use ticket_webhooks::{
    embedded_postgres::{EmbeddedPostgres, Options},
    store,
};
use uuid::Uuid;

use super::database;

const DATABASE: &str = "deliveries";

/// The directory of a stopped server with an empty database for deliveries. Each server starts on a copy.
fn template() -> &'static Path {
    static TEMPLATE: OnceLock<PathBuf> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        // it goes with the shared server's directory, which must be there first
        database::server();
        let directory = database::process_directory().join("template");
        let fast = Options { durable: false, ..Options::new(&directory) };
        let postgres = EmbeddedPostgres::start(&fast).expect("the test needs a Postgres");
        let created = Command::new("sh")
            .args(["-c", &format!("{} -qc 'create database {DATABASE}'", postgres.psql_command("postgres"))])
            .status();
        assert!(created.unwrap().success());
        postgres.stop().unwrap();
        directory
    })
}

/// Each commit reaches the operating system, so it survives the server's end, but not the machine's.
fn options(directory: &Path) -> Options {
    let mut options = Options::new(directory);
    options.settings.push(("fsync".to_owned(), "off".to_owned()));
    options
}

/// A server that a test may end. Its data stay until this value is dropped.
pub struct Server {
    running: Option<EmbeddedPostgres>,
    directory: PathBuf,
    url: String,
    tcp_port: Option<u16>,
}

impl Server {
    /// Starts it with a database that has the service's tables (`migrated`), or none.
    pub async fn start(migrated: bool) -> Self {
        Self::start_on(None, migrated).await
    }

    /// As [`Self::start`], and also listening on a port of the loopback.
    pub async fn start_on(tcp_port: Option<u16>, migrated: bool) -> Self {
        let directory = std::env::temp_dir().join(format!("ticket-webhooks-server-{}", Uuid::now_v7().simple()));
        let copy = directory.clone();
        let copied = tokio::task::spawn_blocking(move || {
            Command::new("cp").arg("-a").args([template(), &*copy]).status().unwrap().success()
        });
        assert!(copied.await.unwrap());
        let mut server = Self { running: None, directory, url: String::new(), tcp_port };
        server.start_again().await;
        if migrated {
            let pool = server.pool();
            store::migrate(&pool).await.unwrap();
            pool.close().await;
        }
        server
    }

    pub async fn start_again(&mut self) {
        let mut options = options(&self.directory);
        options.tcp_port = self.tcp_port;
        let started = tokio::task::spawn_blocking(move || EmbeddedPostgres::start(&options)).await.unwrap();
        let postgres = started.expect("the test needs a Postgres");
        if self.url.is_empty() {
            self.url = postgres.url(DATABASE);
        }
        self.running = Some(postgres);
    }

    fn postgres(&self) -> &EmbeddedPostgres {
        self.running.as_ref().expect("the server runs")
    }

    /// Stops it in order and keeps a copy of its data.
    pub async fn stop_and_copy(&mut self) -> TempDir {
        self.signal("INT");
        self.gone().await;
        let copy = TempDir::new().unwrap();
        let copied = Command::new("cp").arg("-a").arg(self.directory.join("data")).arg(copy.path()).status();
        assert!(copied.unwrap().success());
        copy
    }

    /// Stops it and starts it with the data of a copy, as after a recovery to that point in time.
    pub async fn go_back_to(&mut self, copy: &TempDir) {
        self.signal("INT");
        self.gone().await;
        let data = self.directory.join("data");
        std::fs::remove_dir_all(&data).unwrap();
        assert!(Command::new("mv").arg(copy.path().join("data")).arg(data).status().unwrap().success());
        self.start_again().await;
    }

    /// A dump of the database, as SQL.
    pub fn dump(&self) -> String {
        // beside psql
        let psql = self.postgres().psql_command(DATABASE);
        let (psql, url) = psql.split_once(' ').unwrap();
        let output =
            Command::new("sh").args(["-c", &format!("{} {url}", psql.replace("psql", "pg_dump"))]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Makes [`Self::url`] name this role; [`Self::pool`] stays the superuser's.
    pub fn use_role(&mut self, role: &str) {
        self.url = self.url.replace("user=ticket_webhooks", &format!("user={role}"));
    }

    /// Valid also while the server is down.
    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn pool(&self) -> PgPool {
        PgPoolOptions::new().max_connections(2).connect_lazy_with(self.postgres().connect_options(DATABASE))
    }

    /// Sends a signal to the server's main process: QUIT stops at once, KILL kills.
    pub fn signal(&self, signal: &str) {
        let id = self.postgres().process_id().to_string();
        assert!(Command::new("kill").args([&format!("-{signal}"), &id]).status().unwrap().success());
    }

    /// Sends a signal to the server's main process and all its children.
    pub fn signal_all(&self, signal: &str) {
        let id = self.postgres().process_id().to_string();
        let children = Command::new("pkill").args([&format!("-{signal}"), "-P", &id]).status().unwrap();
        assert!(children.success());
        self.signal(signal);
    }

    /// Waits until the server has ended after a signal.
    pub async fn gone(&mut self) {
        let postgres = self.running.take().expect("the server runs");
        postgres.exited().await;
        tokio::task::spawn_blocking(move || drop(postgres)).await.unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // a failed test may leave it frozen: it could not be stopped
        if let Some(postgres) = &self.running {
            let id = postgres.process_id().to_string();
            let _ = Command::new("pkill").args(["-CONT", "-P", &id]).status();
            let _ = Command::new("kill").args(["-CONT", &id]).stderr(std::process::Stdio::null()).status();
        }
        let (running, directory) = (self.running.take(), self.directory.clone());
        let _ = std::thread::spawn(move || {
            drop(running);
            let _ = std::fs::remove_dir_all(directory);
        })
        .join();
    }
}
