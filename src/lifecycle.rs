//! The process: its signals, its background tasks (`tasks`), and the limits that the operating system sets it.

mod background;
mod tasks;

use std::io;

#[cfg(target_os = "linux")]
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};

pub use self::tasks::{Stage, Tasks};

/// SIGTERM and SIGINT: the first starts the shutdown, the second aborts it.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Replaces the default action, which ends the process at once.
    ///
    /// # Errors
    ///
    /// The operating system refuses.
    pub fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next signal and returns its name.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// SIGHUP: reloads the configuration.
pub struct ReloadSignal(Signal);

impl ReloadSignal {
    /// Replaces the default action, which ends the process at once.
    ///
    /// # Errors
    ///
    /// The operating system refuses.
    pub fn listen() -> io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }

    /// Waits for the next signal; those that arrived since the last call count as one.
    pub async fn next(&mut self) {
        self.0.recv().await;
    }
}

/// Raises the soft limit for open files to the hard limit, and returns it; `None` is unlimited. The usual soft limit of
/// 1024 is too low for a server.
pub fn raise_open_file_limit() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(%error, "the limit for open files could not be raised");
    }
    getrlimit(Resource::Nofile).current
}

/// Switches off core dumps, and access to this process's memory by other processes of its user.
///
/// # Errors
///
/// The operating system refuses.
pub fn keep_memory_private() -> io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    // the limit does not apply to a core pattern that is a pipe
    #[cfg(target_os = "linux")]
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}
