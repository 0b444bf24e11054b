//! Ends the server when the process that started it has ended, however that happened.
//!
//! The watcher is a shell that reads from a pipe. This process holds the only writing end, which the kernel closes when
//! the process dies, even by `kill -9`. (Linux' parent death signal is sent when the *thread* ends that spawned the
//! server, and an async runtime ends threads.)
//!
//! Invariants:
//!
//! - The watcher starts before any process that it has to stop.
//! - `initdb` and the server are in its process group: it signals its own group, never a process id that may have been
//!   reused. The group also keeps the Ctrl-C of a terminal from the server.
//! - It is not a child of the server, which would take the end of an unknown child for a crash, and it holds no lock.

use std::ffi::OsStr;
use std::io::{PipeWriter, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

use super::Error;

/// `$1` is the data directory; the other arguments are removed in the end.
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
        # A server that is just starting has no pid file yet: wait some rounds in any case.
        if [ "$round" -ge 20 ]; then
            pid=
            read -r pid 2>/dev/null <"$data/postmaster.pid"
            kill -0 "${pid:-none}" 2>/dev/null || break
        fi
        round=$((round + 1))
        sleep 0.05
    done
fi

# The processes of a killed server may write for a moment longer.
round=0
while [ "$#" -gt 0 ] && [ "$round" -lt 100 ] && ! rm -rf -- "$@"; do
    round=$((round + 1))
    sleep 0.05
done
"#;

/// The watcher of one server. To be dropped after the server has ended: then it removes what it has to, and ends.
#[derive(Debug)]
pub(super) struct Watcher {
    shell: Child,
    pipe: PipeWriter,
}

impl Watcher {
    /// Starts to watch. `data` is the directory of the server's pid file; `remove` is removed after the server has ended.
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
        // Once it prints, it ignores the signals that are sent to its group.
        let mut stdout = shell.stdout.take().expect("stdout was set to a pipe");
        let watcher = Self { shell, pipe };
        stdout.read_exact(&mut [0]).map_err(Error::io(action))?;
        Ok(watcher)
    }

    /// Makes `command` start in the watcher's process group.
    pub(super) fn adopt(&self, command: &mut Command) {
        command.process_group(self.group().as_raw_nonzero().get());
    }

    /// Signals the whole group. Its id cannot have been reused: the watcher leads it and is not waited for before the drop.
    pub(super) fn signal(&self, signal: Signal) {
        // Fails only for an empty group.
        let _ = kill_process_group(self.group(), signal);
    }

    fn group(&self) -> Pid {
        Pid::from_child(&self.shell)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // Fails when the watcher was killed.
        let _ = self.pipe.write_all(b"gone\n");
        let _ = self.shell.wait();
    }
}
