//! The server process: settings, start, end, log.
//!
//! A thread waits for the process, so that no end goes unnoticed. Its output goes to a file: a pipe that nobody reads
//! would block it once full.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::sync::watch;

use super::data_directory::DataDirectory;
use super::programs::Programs;
use super::watcher::Watcher;
use super::{Error, Options};

/// Includes the recovery after a crash.
const START_TIMEOUT: Duration = Duration::from_mins(1);

/// A clean shutdown writes all changed pages.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

const POLL: Duration = Duration::from_millis(5);

/// The end of the server.
#[derive(Debug, Clone)]
struct End {
    is_clean: bool,
    status: String,
}

/// A running server.
#[derive(Debug)]
pub(super) struct Server {
    process_id: u32,
    /// `None` while it runs.
    end: watch::Receiver<Option<End>>,
    log: Log,
    socket_directory: PathBuf,
    /// The data are removed afterwards: no clean shutdown is needed.
    is_ephemeral: bool,
    /// `None` after the shutdown.
    watcher: Option<Watcher>,
}

impl Server {
    /// Starts it and returns once it accepts connections. It inherits the lock.
    pub(super) fn start(
        directory: &DataDirectory,
        programs: &Programs,
        options: &Options,
        socket_directory: &Path,
        watcher: Watcher,
        lock: File,
    ) -> Result<Self, Error> {
        let log = Log::open(directory)?;
        let mut command = directory.command(&programs.postgres());
        command.arg("-D").arg(directory.data());
        configure(&mut command, options, socket_directory);
        watcher.adopt(&mut command);
        let child = command
            .stdin(lock)
            .stdout(log.writer()?)
            .stderr(log.writer()?)
            .spawn()
            .map_err(Error::io(format!("run {}", programs.postgres().display())))?;
        // The command has this process's copy of the lock, which only the server may hold from here on.
        drop(command);

        // Its drop, also for an error below, ends the server.
        let mut server = Self {
            process_id: child.id(),
            // Without the thread its end would go unnoticed.
            end: wait_in_thread(child).inspect_err(|_| watcher.signal(Signal::KILL))?,
            log,
            socket_directory: socket_directory.to_path_buf(),
            is_ephemeral: options.ephemeral,
            watcher: Some(watcher),
        };
        server.wait_until_ready(&directory.data().join("postmaster.pid"))?;
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
            // The sender sends the end before it is dropped.
            let end = end.wait_for(Option::is_some).await.ok();
            let end = end.and_then(|end| end.clone());
            log.ended(end.as_ref())
        }
    }

    /// Ends it and waits; a second call does nothing.
    pub(super) fn shut_down(&mut self) -> Result<(), Error> {
        let Some(watcher) = self.watcher.take() else {
            return Ok(());
        };
        let had_ended = self.end.borrow().is_some();
        // INT is Postgres' fast shutdown, QUIT the immediate one.
        let gently = if self.is_ephemeral { Signal::QUIT } else { Signal::INT };
        for signal in [gently, Signal::QUIT, Signal::KILL] {
            watcher.signal(signal);
            if self.ended_within(STOP_TIMEOUT) {
                break;
            }
        }
        // Removes an own directory in /tmp, which is empty now; the data directory never is.
        let _ = fs::remove_dir(&self.socket_directory);
        // Before the watcher's drop removes an ephemeral directory with the log.
        let end = self.end.borrow().clone();
        let is_clean = self.is_ephemeral || end.as_ref().is_some_and(|end| end.is_clean);
        if is_clean && !had_ended { Ok(()) } else { Err(self.log.ended(end.as_ref())) }
    }

    /// Reads the state from the pid file: an attempt to connect would be logged as an error by the server.
    fn wait_until_ready(&mut self, pid_file: &Path) -> Result<(), Error> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if let Some(end) = self.end.borrow().as_ref() {
                return Err(self.log.ended(Some(end)));
            }
            let content = fs::read_to_string(pid_file).unwrap_or_default();
            let mut lines = content.lines();
            // The file may still be that of the last server.
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
        // An explicit stop reports the error.
        let _ = self.shut_down();
    }
}

/// Settings on the command line override `postgresql.conf`.
fn configure(command: &mut Command, options: &Options, socket_directory: &Path) {
    let mut set = |name: &str, value: &str| {
        command.arg("-c").arg(format!("{name}={value}"));
    };
    // A list of directories: quotes protect commas and spaces.
    let sockets = socket_directory.to_string_lossy().replace('"', "\"\"");
    set("unix_socket_directories", &format!("\"{sockets}\""));
    set("unix_socket_permissions", "0700");
    let listen = options.tcp_port.map_or("", |_| "127.0.0.1");
    set("listen_addresses", listen);
    set("port", &options.port().to_string());
    set("log_destination", "stderr");
    set("logging_collector", "off");
    if !options.durable {
        // `synchronous_commit` stays on: without `fsync` it costs nothing, and a commit that is only in the server's memory
        // would be lost when the server is killed.
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

/// The log file, and the offset at which this start begins.
#[derive(Debug, Clone)]
pub(super) struct Log {
    path: PathBuf,
    start: u64,
}

impl Log {
    const TAIL_LINES: usize = 15;
    const TAIL_BYTES: u64 = 16 * 1024;

    pub(super) fn open(directory: &DataDirectory) -> Result<Self, Error> {
        let mut log = Self { path: directory.path.join("log"), start: 0 };
        let file = log.writer()?;
        let metadata = file.metadata();
        log.start = metadata.map_or(0, |metadata| metadata.len());
        Ok(log)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// With mode 0600: failed statements are logged with their data.
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

    /// `None`: the server could not be killed.
    fn ended(&self, end: Option<&End>) -> Error {
        Error::Ended {
            status: end.map_or_else(|| "still running".to_owned(), |end| end.status.clone()),
            log: self.path.clone(),
            tail: self.tail(),
        }
    }
}
