//! A private, real Postgres for `dev` and the tests, run by the PostgreSQL server programs that are installed. All of it
//! blocks: in async code, start and stop it with `spawn_blocking`.
//!
//! Invariants:
//!
//! - The server does not outlive the process that started it, however that ends: a watcher stops it (`watcher`). Every
//!   committed row is kept.
//! - One server per directory: a second start fails and does not disturb the first (`lock`).
//! - Only the server's user and root can connect, over a unix socket, unless a TCP port is configured.
//! - The server never runs as root, which Postgres refuses: root starts it as another user (`data_directory`).
//!
//! It does not download anything, upgrade the data of another major version, or serve production.

mod cluster;
mod data_directory;
mod error;
mod lock;
mod programs;
mod server;
mod watcher;

use std::fs::File;
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode, utf8_percent_encode};
use sqlx::postgres::{PgConnectOptions, PgSslMode};

pub use error::Error;
pub use programs::Programs;

use data_directory::DataDirectory;
use server::Server;
use watcher::Watcher;

/// The superuser of the cluster, and the only role.
const ROLE: &str = "ticket_webhooks";

/// The characters that RFC 3986 reserves.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// In the socket's name. Each server has its own socket directory, so it cannot collide.
const SOCKET_PORT: u16 = 5432;

/// How the server runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// Holds `data/`, the server's `log` and the lock files. Created when missing.
    pub directory: PathBuf,
    /// `true`: a commit survives a power cut. `false`: it survives a kill of the server and its parent, not a crash of
    /// the machine; much faster, for tests.
    pub durable: bool,
    /// `true`: the directory is removed after the server has ended, even when this process was killed. It must be missing
    /// or empty at the start, so that nothing else is removed.
    pub ephemeral: bool,
    /// Server settings that override `postgresql.conf`, such as `max_connections`.
    pub settings: Vec<(String, String)>,
    /// Also listen on this port of 127.0.0.1, where every local user can connect as superuser: for tests with a proxy in
    /// between.
    pub tcp_port: Option<u16>,
    /// Directories to search for the server programs; `None`: the usual ones.
    pub program_directories: Option<Vec<PathBuf>>,
    /// Replaces `directory` when root starts this and the server's user may not enter `directory`, such as one below
    /// `/root`: a subdirectory of this one is used.
    pub shared_directory: PathBuf,
}

impl Options {
    /// A durable server that keeps its data in `directory`.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            durable: true,
            ephemeral: false,
            settings: Vec::new(),
            tcp_port: None,
            program_directories: None,
            shared_directory: PathBuf::from("/var/lib/ticket-webhooks"),
        }
    }

    /// A fast server whose data are removed when it ends.
    pub fn ephemeral(directory: impl Into<PathBuf>) -> Self {
        Self { durable: false, ephemeral: true, ..Self::new(directory) }
    }
}

/// A running server. Dropping it stops the server and blocks until it has ended.
#[derive(Debug)]
pub struct EmbeddedPostgres {
    server: Server,
    socket_directory: PathBuf,
    port: u16,
    psql: PathBuf,
    // Dropped last: the directory is free for others once the server has ended.
    _ownership: File,
}

impl EmbeddedPostgres {
    /// Starts the server and returns once it accepts connections, in well under a second; the first start in a directory
    /// creates the cluster, which may take some seconds.
    ///
    /// # Errors
    ///
    /// [`Error`]; no process is left running.
    pub fn start(options: &Options) -> Result<Self, Error> {
        let programs = options.programs()?;
        let data_directory = DataDirectory::choose(&options.directory, &options.shared_directory)?;
        data_directory.create()?;
        let ownership = lock::own(&data_directory)?;
        if options.ephemeral {
            lock::refuse_foreign_files(&data_directory)?;
        }
        let server_lock = lock::wait_for_last_server(&data_directory)?;
        let socket_directory = data_directory.socket_directory()?;

        let removed_after =
            if options.ephemeral { vec![data_directory.path.clone(), socket_directory.clone()] } else { Vec::new() };
        let watcher = Watcher::spawn(&data_directory.data(), &removed_after)?;
        let programs = cluster::prepare(&data_directory, programs, options, &watcher, &server_lock)?;
        let server = Server::start(&data_directory, &programs, options, &socket_directory, watcher, server_lock)?;
        Ok(Self { server, socket_directory, port: options.port(), psql: programs.psql(), _ownership: ownership })
    }

    /// Options for connecting to `database`; `postgres` exists from the start.
    #[must_use]
    pub fn connect_options(&self, database: &str) -> PgConnectOptions {
        // Every option is set: unset ones would be read from PG* variables.
        PgConnectOptions::new_without_pgpass()
            .socket(&self.socket_directory)
            .port(self.port)
            .username(ROLE)
            .database(database)
            .ssl_mode(PgSslMode::Disable)
    }

    /// The same as a URL that both sqlx and libpq (psql, `pg_dump`, …) accept.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        // Role and socket are parameters, because sqlx refuses a user without a host: `postgres://role@/database`.
        format!(
            "postgres:///{}?host={}&port={}&user={ROLE}&sslmode=disable",
            utf8_percent_encode(database, RESERVED),
            percent_encode(self.socket_directory.as_os_str().as_encoded_bytes(), RESERVED),
            self.port,
        )
    }

    /// A shell command that opens psql on `database`; it works for root as well.
    #[must_use]
    pub fn psql_command(&self, database: &str) -> String {
        // The percent-encoded URL needs no quoting of quotes.
        let psql = self.psql.to_string_lossy();
        let psql = if psql.bytes().all(|byte| is_unreserved(byte) || byte == b'/') {
            psql.into_owned()
        } else {
            format!("'{}'", psql.replace('\'', r"'\''"))
        };
        format!("{psql} '{}'", self.url(database))
    }

    /// The id of the server's main process.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.server.process_id()
    }

    /// The server's own log.
    #[must_use]
    pub fn log(&self) -> &Path {
        self.server.log().path()
    }

    /// Completes when the server has ended; the error has its exit status and the end of its log.
    pub fn exited(&self) -> impl Future<Output = Error> + Send + use<> {
        self.server.exited()
    }

    /// Shuts the server down, which closes all connections, and returns once it has ended.
    ///
    /// # Errors
    ///
    /// [`Error::Ended`]: it had ended before, or did not end cleanly.
    pub fn stop(mut self) -> Result<(), Error> {
        self.server.shut_down()
    }
}

impl Options {
    fn port(&self) -> u16 {
        self.tcp_port.unwrap_or(SOCKET_PORT)
    }

    fn programs(&self) -> Result<Programs, Error> {
        match &self.program_directories {
            Some(directories) => Programs::find_in(directories),
            None => Programs::find(),
        }
    }
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}
