//! The process: what it may have of the system, and the signals: when to stop, and when to read the configuration anew.

use std::io;

#[cfg(target_os = "linux")]
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and SIGINT: the first asks the service to stop, a second one ends it.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes the signals over from their default, which is to end the process at once.
    ///
    /// # Errors
    ///
    /// The operating system refuses.
    pub fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next signal and names it.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Raises the limit for open files as far as the system lets it, and says how many may be open; `None` for any number.
/// Many systems start a process with 1024, which is meant for programs that know no better.
pub fn raise_open_file_limit() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(%error, "the limit for open files could not be raised");
    }
    getrlimit(Resource::Nofile).current
}

/// SIGHUP: asks the service to read its configuration anew.
pub struct ReloadSignal(Signal);

impl ReloadSignal {
    /// Takes the signal over from its default, which is to end the process at once.
    ///
    /// # Errors
    ///
    /// The operating system refuses.
    pub fn listen() -> io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }

    /// Waits for the next one. Several that came since are one.
    pub async fn next(&mut self) {
        self.0.recv().await;
    }
}

/// Keeps what is in the memory of this process out of core dumps, and out of the sight of other processes of its user.
///
/// # Errors
///
/// The operating system refuses.
pub fn keep_memory_private() -> io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    // a core pattern that is a pipe disregards the limit
    #[cfg(target_os = "linux")]
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}
