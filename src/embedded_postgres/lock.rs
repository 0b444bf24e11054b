//! One server per directory.
//!
//! Two file locks, which are released at different times. `owner` is held by the process that runs the server: a second
//! one fails at once. `lock` is the server's standard input, so every process of the server holds it until the last has
//! ended, also after their parent was killed: when only this one is held, a start waits for the ending server.
//!
//! Invariant: under both locks no server that was started here is alive, so an existing pid file is stale, unless a
//! server was started by hand: that one is not disturbed.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::Error;
use super::data_directory::DataDirectory;

/// For the system to release the lock of a killed process.
const OWNER_TIMEOUT: Duration = Duration::from_millis(500);

/// For a server to end after its parent: an immediate shutdown kills the remaining processes after 5 s.
const SERVER_TIMEOUT: Duration = Duration::from_secs(15);

const POLL: Duration = Duration::from_millis(10);

/// Makes this process the one that runs the server in `directory`, until the file is dropped.
pub(super) fn own(directory: &DataDirectory) -> Result<File, Error> {
    let path = directory.path.join("owner");
    let mut file = open(&path)?;
    if !locked_within(&file, &path, OWNER_TIMEOUT)? {
        let mut owner = String::new();
        // For the message only.
        let _ = file.read_to_string(&mut owner);
        let by = match owner.trim() {
            "" => String::new(),
            id => format!(" (by process {id})"),
        };
        return Err(already_running(directory, by));
    }
    let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    written.map_err(Error::io(format!("write {}", path.display())))?;
    Ok(file)
}

/// Fails for a directory with other files than ours: an ephemeral one is removed in the end.
pub(super) fn refuse_foreign_files(directory: &DataDirectory) -> Result<(), Error> {
    let cannot = || Error::io(format!("read {}", directory.path.display()));
    for entry in fs::read_dir(&directory.path).map_err(cannot())? {
        if entry.map_err(cannot())?.file_name() != "owner" {
            // Leave the directory as it was.
            let _ = fs::remove_file(directory.path.join("owner"));
            return Err(Error::ForeignFiles { path: directory.path.clone() });
        }
    }
    Ok(())
}

/// Waits until all processes of the last server have ended, and returns the lock that the next one has to inherit.
pub(super) fn wait_for_last_server(directory: &DataDirectory) -> Result<File, Error> {
    let path = directory.path.join("lock");
    let file = open(&path)?;
    if !locked_within(&file, &path, SERVER_TIMEOUT)? {
        let by = " (by a server whose parent has ended, and which does not end)".to_owned();
        return Err(already_running(directory, by));
    }
    clear_stale_pid_file(directory)?;
    Ok(file)
}

/// Postgres itself removes a stale pid file, unless the process id exists, as a zombie or as another program: then it
/// would never start.
fn clear_stale_pid_file(directory: &DataDirectory) -> Result<(), Error> {
    let path = directory.data().join("postmaster.pid");
    let deadline = Instant::now() + SERVER_TIMEOUT;
    loop {
        let Ok(content) = fs::read_to_string(&path) else {
            return Ok(());
        };
        let id: Option<u32> = content.lines().next().and_then(|line| line.parse().ok());
        if !id.is_some_and(is_live_postgres) {
            return fs::remove_file(&path).map_err(Error::io(format!("remove the stale {}", path.display())));
        }
        if Instant::now() > deadline {
            let id = id.unwrap_or_default();
            let by = format!(" (by a server with the process id {id} that was not started here)");
            return Err(already_running(directory, by));
        }
        sleep(POLL);
    }
}

/// Whether the process exists, is no zombie, and is called `postgres` or `postmaster`.
fn is_live_postgres(id: u32) -> bool {
    // `1234 (postgres) S …`; without /proc, `ps` prints `S postgres`.
    let process = if Path::new("/proc/self/stat").exists() {
        fs::read_to_string(format!("/proc/{id}/stat")).ok().and_then(|stat| {
            let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
            Some((rest.trim().to_owned(), name.to_owned()))
        })
    } else {
        Command::new("ps").args(["-o", "state=,comm=", "-p", &id.to_string()]).output().ok().and_then(|output| {
            let line = String::from_utf8(output.stdout).ok()?;
            let (state, name) = line.trim().split_once(char::is_whitespace)?;
            Some((state.to_owned(), name.to_owned()))
        })
    };
    process.is_some_and(|(state, name)| {
        !state.starts_with('Z') && ["postgres", "postmaster"].iter().any(|own| name.contains(own))
    })
}

fn open(path: &Path) -> Result<File, Error> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(Error::io(format!("open {}", path.display())))
}

fn locked_within(file: &File, path: &Path, timeout: Duration) -> Result<bool, Error> {
    let deadline = Instant::now() + timeout;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) if Instant::now() > deadline => return Ok(false),
            Err(TryLockError::WouldBlock) => sleep(POLL),
            Err(TryLockError::Error(error)) => {
                return Err(Error::io(format!("lock {}", path.display()))(error));
            }
        }
    }
}

fn already_running(directory: &DataDirectory, by: String) -> Error {
    Error::AlreadyRunning { directory: directory.path.clone(), by }
}
