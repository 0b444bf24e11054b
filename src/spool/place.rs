//! Where the file is: its name, those of files set aside, and whether it still is the one that was opened.

use std::{
    fs, io,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
};

use super::{SpoolError, private};
use crate::clock;

const NAME: &str = "deliveries.redb";

/// A file that is being made in the place of a damaged one.
const NEXT: &str = "deliveries.redb.next";

/// The name of what waits for an operator goes on behind this.
const ASIDE: &str = "deliveries.redb.damaged-";

/// A directory of a spool.
#[derive(Clone, Debug)]
pub(super) struct Place {
    directory: PathBuf,
}

/// Which file it is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity(u64, u64);

impl Identity {
    pub(super) fn of(file: &fs::File) -> io::Result<Self> {
        file.metadata().map(|file| Self(file.dev(), file.ino()))
    }
}

impl Place {
    pub(super) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.directory.join(NAME)
    }

    /// Whether this file still stands under its name.
    pub(super) fn holds(&self, identity: Identity) -> bool {
        fs::metadata(self.path()).is_ok_and(|file| Identity(file.dev(), file.ino()) == identity)
    }

    /// Makes the directory when it is missing, and opens the file or an empty one.
    pub(super) fn open(&self) -> Result<fs::File, SpoolError> {
        self.prepare()?;
        let next = self.directory.join(NEXT);
        if next.exists() {
            // it is complete when the damaged one was moved away already
            let tidied = if self.path().exists() { fs::remove_file(&next) } else { fs::rename(&next, self.path()) };
            tidied.map_err(|error| self.unusable(error))?;
        }
        private::file(&self.path()).map_err(|error| self.of_file(error))
    }

    /// An empty file beside the one in use.
    pub(super) fn begin_next(&self) -> Result<fs::File, SpoolError> {
        self.prepare()?;
        let next = self.directory.join(NEXT);
        match fs::remove_file(&next) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.unusable(error)),
            _ => private::file(&next).map_err(|error| self.of_file(error)),
        }
    }

    /// Puts the file that was begun in its place, and what stands there aside. A file that has lost its name is copied
    /// aside when it is damaged. What was set aside.
    pub(super) fn finish_next(&self, old: &fs::File, is_damaged: bool) -> Result<Vec<PathBuf>, SpoolError> {
        let unusable = |error| self.unusable(error);
        let is_in_place = self.holds(Identity::of(old).map_err(unusable)?);
        let mut aside = Vec::new();
        if is_damaged && !is_in_place {
            let copy = self.free_name();
            let copied = private::file(&copy).and_then(|file| copy_all(old, &file).and_then(|()| file.sync_all()));
            copied.map_err(unusable)?;
            aside.push(copy);
        }
        if self.path().exists() {
            let name = self.free_name();
            fs::rename(self.path(), &name).map_err(unusable)?;
            self.sync()?;
            aside.push(name);
        }
        fs::rename(self.directory.join(NEXT), self.path()).map_err(unusable)?;
        self.sync()?;
        Ok(aside)
    }

    /// Whether another process has the file that stands under the name now.
    pub(super) fn is_taken(&self) -> bool {
        let file = fs::OpenOptions::new().read(true).write(true).open(self.path());
        file.is_ok_and(|file| matches!(file.try_lock(), Err(fs::TryLockError::WouldBlock)))
    }

    /// A new file is only safe once its name is.
    pub(super) fn sync(&self) -> Result<(), SpoolError> {
        let synced = fs::File::open(&self.directory).and_then(|directory| directory.sync_all());
        synced.map_err(|error| self.unusable(error))
    }

    /// How many files were set aside and are still here.
    pub(super) fn files_aside(&self) -> u64 {
        let Ok(entries) = fs::read_dir(&self.directory) else { return 0 };
        entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(ASIDE)).count() as u64
    }

    fn prepare(&self) -> Result<(), SpoolError> {
        private::directory(&self.directory).map_err(|error| self.unusable(error))
    }

    /// A name that nothing has: no file that was set aside is ever written over.
    fn free_name(&self) -> PathBuf {
        let now = clock::now().unix_timestamp();
        let name = |number: u32| match number {
            0 => self.directory.join(format!("{ASIDE}{now}")),
            _ => self.directory.join(format!("{ASIDE}{now}-{number}")),
        };
        (0..).map(name).find(|name| fs::symlink_metadata(name).is_err()).unwrap_or_else(|| name(0))
    }

    fn unusable(&self, error: io::Error) -> SpoolError {
        SpoolError::Directory(self.directory.clone(), error)
    }

    fn of_file(&self, error: io::Error) -> SpoolError {
        match error.kind() {
            io::ErrorKind::PermissionDenied => SpoolError::Directory(self.path(), error),
            _ => SpoolError::Disk(Box::new(redb::Error::Io(error))),
        }
    }
}

fn copy_all(from: &fs::File, to: &fs::File) -> io::Result<()> {
    let (mut buffer, mut offset) = (vec![0; 1024 * 1024], 0);
    loop {
        match from.read_at(&mut buffer, offset)? {
            0 => return Ok(()),
            read => {
                to.write_all_at(&buffer[..read], offset)?;
                offset += read as u64;
            }
        }
    }
}
