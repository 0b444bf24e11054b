//! The errors of the embedded Postgres. Each message is for a developer at a terminal: it names the path, the user or the
//! version, and what to do.

use std::fmt::Display;
use std::io;
use std::path::PathBuf;

/// The server did not start, or has ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No server programs of a supported version.
    #[error(
        "no PostgreSQL server programs (initdb and postgres) of version 14 or later were found{}; \
         install them with: {install}",
        too_old.as_ref().map(|found| format!(" (only {found})")).unwrap_or_default()
    )]
    NoPrograms {
        /// The version and the directory of programs that are too old.
        too_old: Option<String>,
        /// The command that installs them on this system.
        install: String,
    },

    /// The programs of the data's major version are not installed.
    #[error(
        "{} was made by PostgreSQL {data_version}, and the installed programs are version \
         {programs_version} ({}), which cannot read it: install PostgreSQL {data_version}, or move the directory away to \
         start with an empty database", data.display(), programs.display()
    )]
    OtherVersion {
        /// The data directory.
        data: PathBuf,
        /// The major version of the data.
        data_version: String,
        /// Where the programs are.
        programs: PathBuf,
        /// The major version of the programs.
        programs_version: u32,
    },

    /// Another process runs the server of this directory.
    #[error("the database in {} is already running{by}; stop it first, or use another directory", directory.display())]
    AlreadyRunning {
        /// The directory.
        directory: PathBuf,
        /// The process, where known: empty or starting with a space.
        by: String,
    },

    /// Started by root, and the server's user cannot enter the directory.
    #[error(
        "the user {user} cannot enter {}, and has to, because PostgreSQL does not run as root (nor can {} be used instead: \
         {} cannot be entered either); run this as an ordinary user, use another directory, or: chmod o+x {}",
        closed.display(), shared.display(), shared_closed.display(), closed.display()
    )]
    NotEnterable {
        /// The first directory of the path that cannot be entered.
        closed: PathBuf,
        /// The server's user.
        user: String,
        /// [`super::Options::shared_directory`], or the one used in it.
        shared: PathBuf,
        /// The first directory of that path that cannot be entered.
        shared_closed: PathBuf,
    },

    /// A path has an unexpected owner.
    #[error("{} belongs to the user id {owner}, not to {expected}; {advice}", path.display())]
    OtherOwner {
        /// The path.
        path: PathBuf,
        /// The actual user id.
        owner: u32,
        /// The expected user id.
        expected: String,
        /// What to do.
        advice: &'static str,
    },

    /// The directory for a new database is not empty.
    #[error("{} has files that are not of an embedded database; use another directory, or remove them", path.display())]
    ForeignFiles {
        /// The directory with the files.
        path: PathBuf,
    },

    /// `initdb` failed to create the cluster.
    #[error("initdb failed ({status}); the end of {}:\n{tail}", log.display())]
    Initdb {
        /// The exit status.
        status: String,
        /// The log with its output.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },

    /// The server has ended.
    #[error("the database server ended ({status}); the end of {}:\n{tail}", log.display())]
    Ended {
        /// The exit status.
        status: String,
        /// The server's log.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },

    /// The server runs and does not accept connections.
    #[error("the database server was not ready within {seconds} s; the end of {}:\n{tail}", log.display())]
    NotReady {
        /// The timeout.
        seconds: u64,
        /// The server's log.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },

    /// A system call failed.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was attempted, with the path.
        action: String,
        /// The system's error.
        source: io::Error,
    },
}

impl Error {
    /// For `map_err`.
    pub(super) fn io(action: impl Display) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action: action.to_string(), source }
    }
}
