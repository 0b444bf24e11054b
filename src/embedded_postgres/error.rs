//! What can go wrong with an embedded Postgres, told to the person in front of the terminal: each
//! message names the path, the user or the version, and what to do about it.

use std::fmt::Display;
use std::io;
use std::path::PathBuf;

/// Why there is no embedded Postgres, or none any more.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No server programs of a supported version.
    #[error(
        "no PostgreSQL server programs (initdb and postgres) of version 14 or later were found{}; \
         install them with: {install}",
        too_old.as_ref().map(|found| format!(" (only {found})")).unwrap_or_default()
    )]
    NoPrograms {
        /// Programs that were found but are too old to be used.
        too_old: Option<String>,
        /// The command which installs them on this system.
        install: String,
    },

    /// The data were written by a major version whose programs are not installed.
    #[error(
        "{} was made by PostgreSQL {data_version}, but the installed programs are of \
         version {programs_version} ({}), which cannot read it: install PostgreSQL {data_version}, \
         or move the directory away to start with an empty database", data.display(), programs.display()
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
        /// By whom, as far as is known: empty or starting with a space.
        by: String,
    },

    /// Started by root, and the user who has to run the server cannot reach the directory.
    #[error(
        "{} cannot be entered by the user {user}, who has to run the database because PostgreSQL \
         does not run as root (and {} is no way out: {} cannot be entered either); run this as an \
         ordinary user, use another directory, or: chmod o+x {}",
        closed.display(), shared.display(), shared_closed.display(), closed.display()
    )]
    NotEnterable {
        /// The first directory on the way which cannot be entered.
        closed: PathBuf,
        /// The user who cannot enter it.
        user: String,
        /// The directory which would have been used instead.
        shared: PathBuf,
        /// The first directory on the way there which cannot be entered.
        shared_closed: PathBuf,
    },

    /// A path which has to be ours is somebody else's.
    #[error("{} belongs to the user id {owner}, not to {expected}; {advice}", path.display())]
    OtherOwner {
        /// The path.
        path: PathBuf,
        /// The user id of its owner.
        owner: u32,
        /// Whose it should be.
        expected: String,
        /// What to do.
        advice: &'static str,
    },

    /// There are files where the database should be made.
    #[error("{} holds files which are not an embedded database's; use another directory, or remove them", path.display())]
    ForeignFiles {
        /// The directory with the files.
        path: PathBuf,
    },

    /// `initdb` could not create the cluster.
    #[error("initdb failed ({status}); the end of {}:\n{tail}", log.display())]
    Initdb {
        /// How it ended.
        status: String,
        /// The log with its output.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },

    /// The server is not running any more.
    #[error("the database server ended ({status}); the end of {}:\n{tail}", log.display())]
    Ended {
        /// How it ended.
        status: String,
        /// The server's log.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },

    /// The server runs, but takes no connections.
    #[error("the database server was not ready within {seconds} s; the end of {}:\n{tail}", log.display())]
    NotReady {
        /// How long it was waited for, in seconds.
        seconds: u64,
        /// The server's log.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },

    /// The system refused something.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was tried, with the path.
        action: String,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    /// For `map_err`: the system refused to do `action`.
    pub(super) fn io(action: impl Display) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action: action.to_string(), source }
    }
}
