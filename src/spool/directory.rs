//! The directory of a spool: the names of its files, and how a file is replaced.
//!
//! Invariants:
//!
//! - A file is replaced by a rename that is synced: after a crash the old file or the complete new one is in place.
//! - A file that was set aside is never overwritten or removed.

use std::{
    fs, io,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
};

use super::{SpoolError, private};
use crate::clock;

const FILE_NAME: &str = "deliveries.redb";

/// A new file while it is filled.
const REPLACEMENT_NAME: &str = "deliveries.redb.next";

/// Below this much free space nothing is appended after a failure, and readiness says no. Far more than a batch of
/// ordinary deliveries takes.
const MIN_FREE_BYTES: u64 = 1024 * 1024;

/// Followed by the time in seconds since 1970.
const SET_ASIDE_PREFIX: &str = "deliveries.redb.damaged-";

#[derive(Clone, Debug)]
pub(super) struct SpoolDirectory {
    path: PathBuf,
}

/// Device and inode: identifies a file whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileIdentity(u64, u64);

impl FileIdentity {
    pub(super) fn of(file: &fs::File) -> io::Result<Self> {
        file.metadata().map(|file| Self(file.dev(), file.ino()))
    }
}

impl SpoolDirectory {
    pub(super) fn new(directory: &Path) -> Self {
        Self { path: directory.to_owned() }
    }

    pub(super) fn file_path(&self) -> PathBuf {
        self.path.join(FILE_NAME)
    }

    /// Whether the file in place is this one.
    pub(super) fn contains(&self, identity: FileIdentity) -> bool {
        self.length_of(identity).is_some()
    }

    /// The length of this file, if it is the one in place.
    pub(super) fn length_of(&self, identity: FileIdentity) -> Option<u64> {
        let file = fs::metadata(self.file_path()).ok()?;
        (FileIdentity(file.dev(), file.ino()) == identity).then_some(file.len())
    }

    /// Whether the disk has space for more than an ordinary batch. It does not know of quotas.
    pub(super) fn has_space(&self) -> bool {
        // a file system that counts no blocks does not tell
        let known = rustix::fs::statvfs(&self.path).ok().filter(|disk| disk.f_blocks > 0);
        known.is_none_or(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) >= MIN_FREE_BYTES)
    }

    /// Opens the file or creates an empty one, with the directory if that is missing.
    pub(super) fn open(&self) -> Result<fs::File, SpoolError> {
        self.create()?;
        let replacement = self.path.join(REPLACEMENT_NAME);
        if replacement.exists() {
            // after a crash: it is complete if the old file was set aside already
            let is_incomplete = self.file_path().exists();
            let finished =
                if is_incomplete { fs::remove_file(&replacement) } else { fs::rename(&replacement, self.file_path()) };
            finished.map_err(|error| self.directory_error(error))?;
        }
        private::file(&self.file_path()).map_err(|error| self.file_error(error))
    }

    /// An empty file beside the one in place.
    pub(super) fn create_replacement(&self) -> Result<fs::File, SpoolError> {
        self.create()?;
        let replacement = self.path.join(REPLACEMENT_NAME);
        match fs::remove_file(&replacement) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.directory_error(error)),
            _ => private::file(&replacement).map_err(|error| self.file_error(error)),
        }
    }

    pub(super) fn remove_replacement(&self) {
        // if that fails, the next replacement or the next start does it
        let _ = fs::remove_file(self.path.join(REPLACEMENT_NAME));
    }

    /// Puts the replacement in place and sets aside what is there, and a copy of `old` if that is damaged and no longer in
    /// place. Returns the paths that were set aside.
    pub(super) fn install_replacement(&self, old: &fs::File, is_damaged: bool) -> Result<Vec<PathBuf>, SpoolError> {
        let directory_error = |error| self.directory_error(error);
        let is_in_place = self.contains(FileIdentity::of(old).map_err(directory_error)?);
        let mut set_aside = Vec::new();
        if is_damaged && !is_in_place {
            let copy = self.unused_name();
            let copied = private::file(&copy).and_then(|file| copy_all(old, &file).and_then(|()| file.sync_all()));
            copied.map_err(directory_error)?;
            set_aside.push(copy);
        }
        if self.file_path().exists() {
            let name = self.unused_name();
            fs::rename(self.file_path(), &name).map_err(directory_error)?;
            self.sync()?;
            set_aside.push(name);
        }
        fs::rename(self.path.join(REPLACEMENT_NAME), self.file_path()).map_err(directory_error)?;
        self.sync()?;
        Ok(set_aside)
    }

    /// Whether another process has locked the file in place.
    pub(super) fn is_locked_by_other(&self) -> bool {
        let file = fs::OpenOptions::new().read(true).write(true).open(self.file_path());
        file.is_ok_and(|file| matches!(file.try_lock(), Err(fs::TryLockError::WouldBlock)))
    }

    /// A new file is durable only after its name is.
    pub(super) fn sync(&self) -> Result<(), SpoolError> {
        let synced = fs::File::open(&self.path).and_then(|directory| directory.sync_all());
        synced.map_err(|error| self.directory_error(error))
    }

    pub(super) fn count_set_aside(&self) -> u64 {
        let Ok(entries) = fs::read_dir(&self.path) else { return 0 };
        entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(SET_ASIDE_PREFIX)).count()
            as u64
    }

    fn create(&self) -> Result<(), SpoolError> {
        private::directory(&self.path).map_err(|error| self.directory_error(error))
    }

    fn unused_name(&self) -> PathBuf {
        let now = clock::now().unix_timestamp();
        let name = |number: u32| match number {
            0 => self.path.join(format!("{SET_ASIDE_PREFIX}{now}")),
            _ => self.path.join(format!("{SET_ASIDE_PREFIX}{now}-{number}")),
        };
        (0..).map(name).find(|name| fs::symlink_metadata(name).is_err()).unwrap_or_else(|| name(0))
    }

    fn directory_error(&self, error: io::Error) -> SpoolError {
        SpoolError::Directory(self.path.clone(), error)
    }

    fn file_error(&self, error: io::Error) -> SpoolError {
        match error.kind() {
            io::ErrorKind::PermissionDenied => SpoolError::Directory(self.file_path(), error),
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
