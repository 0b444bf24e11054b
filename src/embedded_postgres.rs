//! A private, real Postgres for `dev` and the tests, run from the server programs which are
//! installed on this machine.
//!
//! Invariants:
//!
//! - The server lives no longer than the process which started it, whichever way that ends: a
//!   watcher beside it stops it (`watcher`). Every committed row is kept.
//! - One directory, one server: a second start is refused and the first is unharmed (`lock`).
//! - Only the server's own user and root can reach it, over a unix socket, unless a TCP port is
//!   asked for.
//! - It never runs as root: Postgres refuses that, so root hands it to another user (`place`).
//!
//! What it deliberately does not do: download anything, upgrade the data of another major version,
//! or serve production.
//!
//! All of it is blocking: in async code, start and stop it with `spawn_blocking`.

mod cluster;
mod error;
mod lock;
mod place;
mod programs;
mod server;
mod watcher;

use std::fmt::Write as _;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use sqlx::postgres::{PgConnectOptions, PgSslMode};

pub use error::Error;
pub use programs::Programs;

use place::Place;
use server::Server;
use watcher::Watcher;

/// The superuser of the cluster, and the role everybody connects as.
const ROLE: &str = "ticket_webhooks";

/// The port in the socket's name. It cannot collide: each server has a socket directory of its own.
const SOCKET_PORT: u16 = 5432;

/// How an embedded Postgres is run. `Options::new(directory)` gives the ones `dev` needs.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where `data/`, the server's `log` and the lock files are. Made when missing.
    pub directory: PathBuf,
    /// `true`: a commit survives a power cut, as with any Postgres. `false`: it survives the
    /// server and its parent being killed, but not the machine; much faster, for tests.
    pub durable: bool,
    /// `true`: the directory is removed once the server is gone, even when this process was
    /// killed. It must be missing or empty at the start, so that nothing else is ever removed.
    pub ephemeral: bool,
    /// More settings for the server (`max_connections`, …), over those of `postgresql.conf`.
    pub settings: Vec<(String, String)>,
    /// Also listen on this port of 127.0.0.1, where every user of the machine may then connect as
    /// superuser: for tests which put a proxy in between.
    pub tcp_port: Option<u16>,
    /// Directories to search for the server programs; `None`: wherever they usually are.
    pub program_places: Option<Vec<PathBuf>>,
    /// When root starts this in a directory which the server's user may not enter (below `/root`
    /// for example), all is kept in a subdirectory of this one instead.
    pub shared_directory: PathBuf,
}

impl Options {
    /// A durable server which keeps its data in `directory`.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            durable: true,
            ephemeral: false,
            settings: Vec::new(),
            tcp_port: None,
            program_places: None,
            shared_directory: PathBuf::from("/var/lib/ticket-webhooks"),
        }
    }

    /// A fast server which is removed with all its data when it ends: one per test process.
    pub fn ephemeral(directory: impl Into<PathBuf>) -> Self {
        Self { durable: false, ephemeral: true, ..Self::new(directory) }
    }
}

/// A running server. Dropping it stops the server, which blocks until it is gone.
#[derive(Debug)]
pub struct EmbeddedPostgres {
    server: Server,
    socket_directory: PathBuf,
    port: u16,
    psql: PathBuf,
    // Fields are dropped in this order: the directory is free for others once the server is gone.
    _ownership: File,
}

impl EmbeddedPostgres {
    /// Starts the server and returns when it accepts connections: in well under a second, save for
    /// the first start in a directory, which creates the cluster and may take some seconds.
    ///
    /// # Errors
    ///
    /// See [`Error`]; nothing keeps running after one.
    pub fn start(options: &Options) -> Result<Self, Error> {
        let programs = options.programs()?;
        let place = Place::choose(&options.directory, &options.shared_directory)?;
        place.create()?;
        let ownership = lock::own(&place)?;
        if options.ephemeral {
            lock::refuse_foreign_files(&place)?;
        }
        let server_lock = lock::wait_for_last_server(&place)?;
        let socket_directory = place.socket_directory()?;

        let removed_after =
            if options.ephemeral { vec![place.home.clone(), socket_directory.clone()] } else { Vec::new() };
        let watcher = Watcher::spawn(&place.data(), &removed_after)?;
        let programs = cluster::prepare(&place, programs, options, &watcher, &server_lock)?;
        let server = Server::start(&place, &programs, options, &socket_directory, watcher, server_lock)?;
        Ok(Self { server, socket_directory, port: options.port(), psql: programs.psql(), _ownership: ownership })
    }

    /// How sqlx connects to `database`; `postgres` exists from the start.
    #[must_use]
    pub fn connect_options(&self, database: &str) -> PgConnectOptions {
        // Everything is set, since the PG* variables of the environment fill what is not.
        PgConnectOptions::new_without_pgpass()
            .socket(&self.socket_directory)
            .port(self.port)
            .username(ROLE)
            .database(database)
            .ssl_mode(PgSslMode::Disable)
    }

    /// The same as a URL, in a form which sqlx and libpq (psql, `pg_dump`, …) both take.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        // Role and socket are parameters: `postgres://role@/database` is refused by sqlx, whose
        // URLs must have a host before they may have a user.
        format!(
            "postgres:///{}?host={}&port={}&user={ROLE}&sslmode=disable",
            percent_encoded(database.as_bytes()),
            percent_encoded(self.socket_directory.as_os_str().as_bytes()),
            self.port,
        )
    }

    /// A line for the shell which opens psql on `database`; it works for root as well.
    #[must_use]
    pub fn psql_command(&self, database: &str) -> String {
        // The percent-encoded URL holds no quote which could end the quoting.
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

    /// Completes when the server has ended, with an error which says how and holds the end of its
    /// log. It borrows nothing, and so can wait in a task or a `select!`.
    pub fn exited(&self) -> impl Future<Output = Error> + Send + use<> {
        self.server.exited()
    }

    /// Shuts the server down, cutting off those who are connected, and returns when it is gone.
    ///
    /// # Errors
    ///
    /// [`Error::Ended`] when it had ended before, or would not end cleanly.
    pub fn stop(mut self) -> Result<(), Error> {
        self.server.shut_down()
    }
}

impl Options {
    fn port(&self) -> u16 {
        self.tcp_port.unwrap_or(SOCKET_PORT)
    }

    fn programs(&self) -> Result<Programs, Error> {
        match &self.program_places {
            Some(places) => Programs::find_in(places),
            None => Programs::find(),
        }
    }
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

fn percent_encoded(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut encoded, &byte| {
        if is_unreserved(byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("writing to a String cannot fail");
        }
        encoded
    })
}
