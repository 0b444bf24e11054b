//! Ends the server when the process which started it is gone, whichever way it went.
//!
//! The watcher is a shell which waits at one end of a pipe; this process holds the only other end,
//! and the kernel closes that when it dies, even by `kill -9`. (A signal at the parent's death, as
//! Linux offers it, comes when the *thread* ends which spawned the server, and an async runtime
//! ends threads.)
//!
//! Invariants: the watcher is there before anything it has to stop. `initdb` and the server
//! are put into its process group, so that it signals its own group and no process id that could
//! have been given to somebody else meanwhile; the group also keeps the Ctrl-C of a terminal away
//! from the server. It is not a child of the server, which would take the end of an unknown child
//! for a crash, and it holds no lock.

use std::ffi::OsStr;
use std::io::{PipeWriter, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

use super::Error;

/// `$1` is the data directory; what follows is removed in the end.
const SCRIPT: &str = r#"
trap '' HUP INT QUIT TERM
echo watching
data=$1
shift

read -r word
if [ "$word" != gone ]; then
    round=0
    while [ "$round" -lt 300 ]; do
        kill -s QUIT 0
        # A server which is only just being started has no pid file yet: some rounds in any case.
        if [ "$round" -ge 20 ]; then
            pid=
            read -r pid 2>/dev/null <"$data/postmaster.pid"
            kill -0 "${pid:-none}" 2>/dev/null || break
        fi
        round=$((round + 1))
        sleep 0.05
    done
fi

# The processes of a server that was killed may write for a moment longer.
round=0
while [ "$#" -gt 0 ] && [ "$round" -lt 100 ] && ! rm -rf -- "$@"; do
    round=$((round + 1))
    sleep 0.05
done
"#;

/// The watcher of one server. Dropped by the living parent only when the server is gone: then it
/// removes what it has to, and ends.
#[derive(Debug)]
pub(super) struct Watcher {
    shell: Child,
    pipe: PipeWriter,
}

impl Watcher {
    /// Starts to watch. `data` is where the server's pid file will be; `remove` is what goes when
    /// the server is gone.
    pub(super) fn spawn(data: &Path, remove: &[PathBuf]) -> Result<Self, Error> {
        let action = "start the watcher of the database server (/bin/sh)";
        let (end, pipe) = std::io::pipe().map_err(Error::io(action))?;
        let mut shell = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "ticket-webhooks-watcher"].map(OsStr::new))
            .arg(data)
            .args(remove)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .current_dir("/")
            .process_group(0)
            .stdin(end)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(Error::io(action))?;
        // Its first word says that it is deaf to the signals which are meant for its group.
        let mut stdout = shell.stdout.take().expect("stdout was set to a pipe");
        let watcher = Self { shell, pipe };
        stdout.read_exact(&mut [0]).map_err(Error::io(action))?;
        Ok(watcher)
    }

    /// Makes `command` start in the watcher's process group.
    pub(super) fn adopt(&self, command: &mut Command) {
        command.process_group(self.group().as_raw_nonzero().get());
    }

    /// Sends a signal to everything in the group. The group's id cannot have passed to others: the
    /// watcher leads it and is not waited for before the drop.
    pub(super) fn signal(&self, signal: Signal) {
        // The only failure is an empty group.
        let _ = kill_process_group(self.group(), signal);
    }

    fn group(&self) -> Pid {
        Pid::from_child(&self.shell)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // It fails when somebody killed the watcher: then there is nothing to tell or wait for.
        let _ = self.pipe.write_all(b"gone\n");
        let _ = self.shell.wait();
    }
}
