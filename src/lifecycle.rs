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

/// Raises the limit for open files to so many, as far as the system lets it. Many systems start a process with 1024,
/// which is meant for programs that know no better: a service that has no file left accepts no connection.
pub fn allow_open_files(needed: u64) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let is_enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= needed);
    if is_enough(current) {
        return;
    }
    let wanted = if is_enough(maximum) { Some(needed) } else { maximum };
    let raised = setrlimit(Resource::Nofile, Rlimit { current: wanted, maximum });
    if raised.is_err() || !is_enough(wanted) {
        tracing::warn!(
            needed,
            allowed = getrlimit(Resource::Nofile).current,
            "fewer files may be open than server.max_connections needs: raise the limit (ulimit -n), or lower the key"
        );
    }
}
/// SIGHUP: asks the service to read its configuration anew.
pub struct Hangups(Signal);

impl Hangups {
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
