//! One directory, one server.
//!
//! Two locks, because they end at different times. `owner` is held by the process which runs the
//! server: who finds it taken is told so at once. `lock` is the server's standard input, and so is
//! held by the server and each of its processes until the last of them is gone, also when their
//! parent was killed: who finds only that one taken waits for a server that is on its way out.
//!
//! Under both locks no server that was started here can be alive, so that a pid file which says
//! otherwise is stale, unless somebody started a server by hand: that one is left unharmed.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::Error;
use super::place::Place;

/// How long a killed process may need until the system has let go of its lock.
const OWNER_TIMEOUT: Duration = Duration::from_millis(500);

/// How long a server may need to end after its parent: an immediate shutdown kills after 5 s what
/// has not ended by itself.
const SERVER_TIMEOUT: Duration = Duration::from_secs(15);

const POLL: Duration = Duration::from_millis(10);

/// Makes this process the one which runs the server in `place`, until the file is dropped.
pub(super) fn own(place: &Place) -> Result<File, Error> {
    let path = place.home.join("owner");
    let mut file = open(&path)?;
    if !locked_within(&file, &path, OWNER_TIMEOUT)? {
        let mut owner = String::new();
        // For the message only.
        let _ = file.read_to_string(&mut owner);
        let by = match owner.trim() {
            "" => String::new(),
            id => format!(" (by process {id})"),
        };
        return Err(already_running(place, by));
    }
    let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    written.map_err(Error::io(format!("write {}", path.display())))?;
    Ok(file)
}

/// Refuses a directory with other content than ours: it is about to be removed some day.
pub(super) fn refuse_foreign_files(place: &Place) -> Result<(), Error> {
    let cannot = || Error::io(format!("read {}", place.home.display()));
    for entry in fs::read_dir(&place.home).map_err(cannot())? {
        if entry.map_err(cannot())?.file_name() != "owner" {
            // It was empty of our files, so it is left as it was.
            let _ = fs::remove_file(place.home.join("owner"));
            return Err(Error::ForeignFiles { path: place.home.clone() });
        }
    }
    Ok(())
}

/// Waits until the last server in `place` is gone with all its processes, and returns the lock
/// which the next one has to inherit.
pub(super) fn wait_for_last_server(place: &Place) -> Result<File, Error> {
    let path = place.home.join("lock");
    let file = open(&path)?;
    if !locked_within(&file, &path, SERVER_TIMEOUT)? {
        let by = " (left by a process which is gone, and it does not end)".to_owned();
        return Err(already_running(place, by));
    }
    clear_stale_pid_file(place)?;
    Ok(file)
}

/// Postgres removes a stale pid file by itself, unless the process id exists: as a zombie nobody
/// has waited for, or given to another program since. Then it would refuse to start for ever.
fn clear_stale_pid_file(place: &Place) -> Result<(), Error> {
    let path = place.data().join("postmaster.pid");
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
            return Err(already_running(place, by));
        }
        sleep(POLL);
    }
}

/// Whether the process exists, is no zombie, and is called `postgres` or `postmaster`.
fn is_live_postgres(id: u32) -> bool {
    // `1234 (postgres) S …`; where there is no /proc, `ps` says the same as `S postgres`.
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

fn already_running(place: &Place, by: String) -> Error {
    Error::AlreadyRunning { directory: place.home.clone(), by }
}
