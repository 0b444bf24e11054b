//! Creates the database cluster, or checks that the programs can read the one which is there.
//!
//! `data/` is either missing or whole: `initdb` works in `data.new/`, which is renamed when it is
//! done, and what a killed first start has left of that is removed.

use std::fs::{self, File};
use std::io;

use super::place::Place;
use super::programs::Programs;
use super::server::Log;
use super::watcher::Watcher;
use super::{Error, Options, ROLE};

/// Has a cluster in `place`, and returns the programs to run it with: `programs`, or those of the
/// version which the cluster was made by.
pub(super) fn prepare(
    place: &Place,
    programs: Programs,
    options: &Options,
    watcher: &Watcher,
    lock: &File,
) -> Result<Programs, Error> {
    let version_file = place.data().join("PG_VERSION");
    match fs::read_to_string(&version_file) {
        Ok(version) => programs_for(version.trim(), programs, place, options),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create(place, &programs, options, watcher, lock)?;
            Ok(programs)
        }
        Err(error) => Err(Error::io(format!("read {}", version_file.display()))(error)),
    }
}

fn programs_for(version: &str, programs: Programs, place: &Place, options: &Options) -> Result<Programs, Error> {
    let major: Option<u32> = version.parse().ok();
    if major == Some(programs.major()) {
        return Ok(programs);
    }
    major.and_then(|major| Programs::of_version(major, options.program_places.as_deref())).ok_or_else(|| {
        Error::OtherVersion {
            data: place.data(),
            data_version: version.to_owned(),
            programs: programs.directory().to_path_buf(),
            programs_version: programs.major(),
        }
    })
}

fn create(place: &Place, programs: &Programs, options: &Options, watcher: &Watcher, lock: &File) -> Result<(), Error> {
    let data = place.data();
    // Missing or empty is fine; what else may be wrong is told by the rename.
    if let Err(error) = fs::remove_dir(&data)
        && error.kind() == io::ErrorKind::DirectoryNotEmpty
    {
        return Err(Error::ForeignFiles { path: data });
    }
    tracing::info!("creating the database in {}: this first start takes some seconds", place.home.display());
    let new = place.home.join("data.new");
    if let Err(error) = fs::remove_dir_all(&new)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(Error::io(format!("remove {}", new.display()))(error));
    }
    place.create_private(&new).map_err(Error::io(format!("create {}", new.display())))?;

    let log = Log::open(place)?;
    let mut initdb = place.command(&programs.initdb());
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
        // Like the server, it holds the lock while it lives, should this process be killed.
        .stdin(lock.try_clone().map_err(Error::io("pass on the lock"))?)
        .stdout(log.writer()?)
        .stderr(log.writer()?)
        .status()
        .map_err(Error::io(format!("run {}", programs.initdb().display())))?;
    if !status.success() {
        return Err(Error::Initdb { status: status.to_string(), log: log.path().to_path_buf(), tail: log.tail() });
    }

    let renamed = fs::rename(&new, &data).and_then(|()| {
        // A rename is durable when its directory is.
        if options.durable {
            File::open(&place.home)?.sync_all()?;
        }
        Ok(())
    });
    renamed.map_err(Error::io(format!("create {}", data.display())))
}
