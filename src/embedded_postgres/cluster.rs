//! Creates the database cluster, or finds the programs for an existing one.
//!
//! Invariant: `data/` is missing or complete. `initdb` writes to `data.new/`, which is renamed afterwards; a later start
//! removes what a killed one left of it.

use std::fs::{self, File};
use std::io;

use super::data_directory::DataDirectory;
use super::programs::Programs;
use super::server::Log;
use super::watcher::Watcher;
use super::{Error, Options, ROLE};

/// Makes sure that there is a cluster, and returns the programs to run it with: `programs`, or those of the version that
/// created the cluster.
pub(super) fn prepare(
    directory: &DataDirectory,
    programs: Programs,
    options: &Options,
    watcher: &Watcher,
    lock: &File,
) -> Result<Programs, Error> {
    let version_file = directory.data().join("PG_VERSION");
    match fs::read_to_string(&version_file) {
        Ok(version) => programs_for(version.trim(), programs, directory, options),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create(directory, &programs, options, watcher, lock)?;
            Ok(programs)
        }
        Err(error) => Err(Error::io(format!("read {}", version_file.display()))(error)),
    }
}

fn programs_for(
    version: &str,
    programs: Programs,
    directory: &DataDirectory,
    options: &Options,
) -> Result<Programs, Error> {
    let major: Option<u32> = version.parse().ok();
    if major == Some(programs.major()) {
        return Ok(programs);
    }
    major.and_then(|major| Programs::of_version(major, options.program_directories.as_deref())).ok_or_else(|| {
        Error::OtherVersion {
            data: directory.data(),
            data_version: version.to_owned(),
            programs: programs.directory().to_path_buf(),
            programs_version: programs.major(),
        }
    })
}

fn create(
    directory: &DataDirectory,
    programs: &Programs,
    options: &Options,
    watcher: &Watcher,
    lock: &File,
) -> Result<(), Error> {
    let data = directory.data();
    // Missing or empty is fine; any other error is reported by the rename.
    if let Err(error) = fs::remove_dir(&data)
        && error.kind() == io::ErrorKind::DirectoryNotEmpty
    {
        return Err(Error::ForeignFiles { path: data });
    }
    tracing::info!("creating the database in {}, which takes some seconds", directory.path.display());
    let new = directory.path.join("data.new");
    if let Err(error) = fs::remove_dir_all(&new)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(Error::io(format!("remove {}", new.display()))(error));
    }
    directory.create_private(&new).map_err(Error::io(format!("create {}", new.display())))?;

    let log = Log::open(directory)?;
    let mut initdb = directory.command(&programs.initdb());
    initdb.arg("--pgdata").arg(&new).args(["--username", ROLE, "--auth=trust"]).args([
        "--encoding=UTF8",
        "--locale=C",
        "--no-instructions",
    ]);
    if !options.durable {
        initdb.arg("--no-sync");
    }
    watcher.adopt(&mut initdb);
    let status = initdb
        // Like the server, it holds the lock if this process is killed.
        .stdin(lock.try_clone().map_err(Error::io("pass on the lock"))?)
        .stdout(log.writer()?)
        .stderr(log.writer()?)
        .status()
        .map_err(Error::io(format!("run {}", programs.initdb().display())))?;
    if !status.success() {
        return Err(Error::Initdb { status: status.to_string(), log: log.path().to_path_buf(), tail: log.tail() });
    }

    let renamed = fs::rename(&new, &data).and_then(|()| {
        // A rename is durable once its directory is synced.
        if options.durable {
            File::open(&directory.path)?.sync_all()?;
        }
        Ok(())
    });
    renamed.map_err(Error::io(format!("create {}", data.display())))
}
