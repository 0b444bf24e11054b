//! The server process: its settings, its start, its end, its log.
//!
//! A thread waits for it, so that its end is noticed however it comes, and nobody has to poll. Its
//! output goes to a file, since a pipe which nobody reads would block it once full.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::sync::watch;

use super::place::Place;
use super::programs::Programs;
use super::watcher::Watcher;
use super::{Error, Options};

/// Generous, because it covers the recovery after a crash.
const START_TIMEOUT: Duration = Duration::from_mins(1);

/// A clean shutdown writes out everything that has changed.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

const POLL: Duration = Duration::from_millis(5);

/// How the server ended.
#[derive(Debug, Clone)]
struct End {
    is_clean: bool,
    status: String,
}

/// A server process and what belongs to it.
#[derive(Debug)]
pub(super) struct Server {
    process_id: u32,
    /// `None` while it lives.
    end: watch::Receiver<Option<End>>,
    log: Log,
    socket_directory: PathBuf,
    /// Data which are removed anyway are not written out at the end.
    is_ephemeral: bool,
    /// `None` once it was shut down.
    watcher: Option<Watcher>,
}

impl Server {
    /// Starts it, and returns when it accepts connections. It takes the lock with it.
    pub(super) fn start(
        place: &Place,
        programs: &Programs,
        options: &Options,
        socket_directory: &Path,
        watcher: Watcher,
        lock: File,
    ) -> Result<Self, Error> {
        let log = Log::open(place)?;
        let mut command = place.command(&programs.postgres());
        command.arg("-D").arg(place.data());
        configure(&mut command, options, socket_directory);
        watcher.adopt(&mut command);
        let child = command
            .stdin(lock)
            .stdout(log.writer()?)
            .stderr(log.writer()?)
            .spawn()
            .map_err(Error::io(format!("run {}", programs.postgres().display())))?;
        // The command holds this process's copy of the lock; from here on it is the server's alone.
        drop(command);

        // Dropping it, also in the errors below, ends the server.
        let mut server = Self {
            process_id: child.id(),
            // Without a thread nobody would learn of its end, so that it has to come now.
            end: wait_in_thread(child).inspect_err(|_| watcher.signal(Signal::KILL))?,
            log,
            socket_directory: socket_directory.to_path_buf(),
            is_ephemeral: options.ephemeral,
            watcher: Some(watcher),
        };
        server.wait_until_ready(&place.data().join("postmaster.pid"))?;
        Ok(server)
    }

    pub(super) fn process_id(&self) -> u32 {
        self.process_id
    }

    pub(super) fn log(&self) -> &Log {
        &self.log
    }

    /// Completes when the server has ended.
    pub(super) fn exited(&self) -> impl Future<Output = Error> + Send + use<> {
        let mut end = self.end.clone();
        let log = self.log.clone();
        async move {
            // The sender tells the end before it goes away.
            let end = end.wait_for(Option::is_some).await.ok();
            let end = end.and_then(|end| end.clone());
            log.ended(end.as_ref())
        }
    }

    /// Ends it and waits for that; does nothing the second time.
    pub(super) fn shut_down(&mut self) -> Result<(), Error> {
        let Some(watcher) = self.watcher.take() else {
            return Ok(());
        };
        let had_ended = self.end.borrow().is_some();
        // Postgres knows INT as the fast shutdown, QUIT as the immediate one.
        let gently = if self.is_ephemeral { Signal::QUIT } else { Signal::INT };
        for signal in [gently, Signal::QUIT, Signal::KILL] {
            watcher.signal(signal);
            if self.ended_within(STOP_TIMEOUT) {
                break;
            }
        }
        // Empty by now when it is one of its own under /tmp. Else it is the data directory, which
        // never is empty, so that this leaves it alone.
        let _ = fs::remove_dir(&self.socket_directory);
        // Before the watcher removes an ephemeral directory, and the log with it.
        let end = self.end.borrow().clone();
        let is_clean = self.is_ephemeral || end.as_ref().is_some_and(|end| end.is_clean);
        if is_clean && !had_ended { Ok(()) } else { Err(self.log.ended(end.as_ref())) }
    }

    /// The server itself says in its pid file when it is ready, so that no connection has to be
    /// tried, which would show up in its log as an error.
    fn wait_until_ready(&mut self, pid_file: &Path) -> Result<(), Error> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if let Some(end) = self.end.borrow().as_ref() {
                return Err(self.log.ended(Some(end)));
            }
            let content = fs::read_to_string(pid_file).unwrap_or_default();
            let mut lines = content.lines();
            // The file may still be the last server's.
            let is_its_own = lines.next() == Some(&self.process_id.to_string());
            if is_its_own && lines.nth(6).is_some_and(|line| line.trim() == "ready") {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Error::NotReady {
                    seconds: START_TIMEOUT.as_secs(),
                    log: self.log.path.clone(),
                    tail: self.log.tail(),
                });
            }
            sleep(POLL);
        }
    }

    fn ended_within(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        while self.end.borrow().is_none() {
            if Instant::now() > deadline {
                return false;
            }
            sleep(POLL);
        }
        true
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // An error was told by whoever wanted to know.
        let _ = self.shut_down();
    }
}

/// Everything on the command line: it goes over `postgresql.conf`, and each start decides anew.
fn configure(command: &mut Command, options: &Options, socket_directory: &Path) {
    let mut set = |name: &str, value: &str| {
        command.arg("-c").arg(format!("{name}={value}"));
    };
    // A list of directories, in which quotes keep a comma or a space from ending one.
    let sockets = socket_directory.to_string_lossy().replace('"', "\"\"");
    set("unix_socket_directories", &format!("\"{sockets}\""));
    set("unix_socket_permissions", "0700");
    let listen = options.tcp_port.map_or("", |_| "127.0.0.1");
    set("listen_addresses", listen);
    set("port", &options.port().to_string());
    set("log_destination", "stderr");
    set("logging_collector", "off");
    if !options.durable {
        // Not `synchronous_commit`: without `fsync` it costs nothing, and a commit which only waits
        // in the server's memory would be lost with a killed server.
        for name in ["fsync", "full_page_writes", "wal_init_zero", "wal_recycle"] {
            set(name, "off");
        }
    }
    for (name, value) in &options.settings {
        set(name, value);
    }
}

fn wait_in_thread(mut child: Child) -> Result<watch::Receiver<Option<End>>, Error> {
    let (sender, receiver) = watch::channel(None);
    thread::Builder::new()
        .name("embedded-postgres".to_owned())
        .spawn(move || {
            let status = child.wait();
            sender.send_replace(Some(End {
                is_clean: status.as_ref().is_ok_and(ExitStatus::success),
                status: status.map_or_else(|error| error.to_string(), |status| status.to_string()),
            }));
        })
        .map_err(Error::io("start a thread"))?;
    Ok(receiver)
}

/// The log file, and where in it this start begins.
#[derive(Debug, Clone)]
pub(super) struct Log {
    path: PathBuf,
    start: u64,
}

impl Log {
    const TAIL_LINES: usize = 15;
    const TAIL_BYTES: u64 = 16 * 1024;

    pub(super) fn open(place: &Place) -> Result<Self, Error> {
        let mut log = Self { path: place.home.join("log"), start: 0 };
        let file = log.writer()?;
        let metadata = file.metadata();
        log.start = metadata.map_or(0, |metadata| metadata.len());
        Ok(log)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Private: statements which fail are logged with their data.
    pub(super) fn writer(&self) -> Result<File, Error> {
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.path)
            .map_err(Error::io(format!("open {}", self.path.display())))
    }

    /// The last lines since this start; empty when they cannot be read.
    pub(super) fn tail(&self) -> String {
        let read = || {
            let mut file = File::open(&self.path)?;
            let length = file.metadata()?.len();
            let from = self.start.max(length.saturating_sub(Self::TAIL_BYTES));
            file.seek(SeekFrom::Start(from))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            std::io::Result::Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let text = read().unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(Self::TAIL_LINES)..].join("\n")
    }

    /// `None` stands for a server which could not even be killed.
    fn ended(&self, end: Option<&End>) -> Error {
        Error::Ended {
            status: end.map_or_else(|| "not at all".to_owned(), |end| end.status.clone()),
            log: self.path.clone(),
            tail: self.tail(),
        }
    }
}
