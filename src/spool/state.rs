//! The open spool file, and its replacement when it is damaged or gone.
//!
//! Invariants:
//!
//! - One mutex serialises all access to the file.
//! - After every operation the file is checked to be in place before success is reported.
//! - After a disk error the file is closed, and opened and verified again by the next operation.
//! - The counters are copies: readers of metrics do not wait for the file.

use std::{
    fs,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use time::OffsetDateTime;
use tokio::sync::Notify;

use super::{
    SpoolError,
    directory::{FileIdentity, SpoolDirectory},
    file::{SpoolFile, catch_panic},
    frame::Watermark,
    salvage::Salvage,
};

/// Keys of lost records in a log line.
const MAX_LOGGED_KEYS: usize = 50;

pub(super) struct SpoolState {
    pub(super) directory: SpoolDirectory,
    pub(super) max_bytes: u64,
    slot: Mutex<FileSlot>,
    pub(super) newest_at_open: Option<OffsetDateTime>,
    pub(super) records: AtomicU64,
    pub(super) bytes: AtomicU64,
    /// The last operation failed, other than by a full spool.
    pub(super) has_failed: AtomicBool,
    /// Something was appended.
    pub(super) appended: Notify,
    pub(super) incidents: Incidents,
}

struct FileSlot {
    /// `None` after a disk error, until it can be opened again.
    file: Option<SpoolFile>,
    /// This process had it open and closed it after a disk error.
    was_open_before: bool,
}

/// Counted since the spool was opened.
#[derive(Default)]
pub(super) struct Incidents {
    /// Damaged files.
    pub(super) set_aside: AtomicU64,
    /// Files that were deleted or replaced by others.
    pub(super) replaced: AtomicU64,
    /// Lost records.
    pub(super) damaged: AtomicU64,
    /// Of the file that was opened last.
    identity: Mutex<Option<FileIdentity>>,
}

impl SpoolState {
    pub(super) fn open(directory: SpoolDirectory, max_bytes: u64) -> Result<Self, SpoolError> {
        let incidents = Incidents::default();
        let file = open_file(&directory, false, &incidents)?;
        Ok(Self {
            directory,
            max_bytes,
            newest_at_open: file.newest,
            records: AtomicU64::new(file.records),
            bytes: AtomicU64::new(file.bytes),
            slot: Mutex::new(FileSlot { file: Some(file), was_open_before: false }),
            has_failed: AtomicBool::new(false),
            appended: Notify::new(),
            incidents,
        })
    }

    /// Whether the file that was opened last is still the one in the directory.
    pub(super) fn is_in_place(&self) -> bool {
        let identity = *self.incidents.identity.lock().unwrap_or_else(PoisonError::into_inner);
        identity.is_some_and(|identity| self.directory.contains(identity))
    }

    /// Runs an operation on the file, which is opened first if it is closed, and replaced if it is damaged or gone. After
    /// the replacement of a damaged file the operation runs again.
    pub(super) fn with_file<T>(&self, act: impl Fn(&mut SpoolFile) -> Result<T, SpoolError>) -> Result<T, SpoolError> {
        // poisoned by a panic: nothing is half done, as what was not committed does not exist
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        let result = match self.attempt(&mut slot, &act) {
            Err(SpoolError::Damaged(damage)) => {
                self.replace(&mut slot, Some(&damage)).and_then(|()| self.attempt(&mut slot, &act))
            }
            result => result,
        };
        if let Some(file) = &slot.file {
            self.records.store(file.records, Ordering::Release);
            self.bytes.store(file.bytes, Ordering::Relaxed);
        }
        let has_failed = !matches!(result, Ok(_) | Err(SpoolError::Full { .. }));
        self.has_failed.store(has_failed, Ordering::Relaxed);
        result
    }

    fn attempt<T>(
        &self,
        slot: &mut FileSlot,
        act: impl Fn(&mut SpoolFile) -> Result<T, SpoolError>,
    ) -> Result<T, SpoolError> {
        if slot.file.is_none() {
            slot.file = Some(open_file(&self.directory, slot.was_open_before, &self.incidents)?);
        }
        let is_gone = |slot: &FileSlot| slot.file.as_ref().is_some_and(|file| !file.is_in(&self.directory));
        if is_gone(slot) {
            self.replace(slot, None)?;
        }
        let Some(file) = slot.file.as_mut() else { return Err(SpoolError::Aborted("the file is closed".to_owned())) };
        let result = catch_panic(|| act(file));
        // what was just written is in a file without a name
        if is_gone(slot) {
            self.replace(slot, None)?;
        } else if matches!(result, Err(SpoolError::Disk(_))) {
            slot.was_open_before = slot.file.take().is_some();
        }
        result
    }

    /// Replaces the open file, which is damaged, or gone if there is no `damage`. If that fails it stays open, as the only
    /// access to the records.
    fn replace(&self, slot: &mut FileSlot, damage: Option<&str>) -> Result<(), SpoolError> {
        let Some(file) = &slot.file else { return Ok(()) };
        if damage.is_none() && self.directory.is_locked_by_other() {
            return Err(SpoolError::InUse(self.directory.file_path()));
        }
        let raw = file.raw().map_err(SpoolError::io)?;
        slot.file = Some(replace_file(&self.directory, &raw, Some(file.watermark), damage, &self.incidents)?);
        Ok(())
    }
}

/// Opens the file, and replaces it if it is damaged.
fn open_file(
    directory: &SpoolDirectory,
    was_open_before: bool,
    incidents: &Incidents,
) -> Result<SpoolFile, SpoolError> {
    let raw = directory.open()?;
    let file = match SpoolFile::open(directory, &raw, was_open_before) {
        Err(SpoolError::Damaged(damage)) => replace_file(directory, &raw, None, Some(&damage), incidents),
        result => result,
    }?;
    incidents.opened(&file);
    Ok(file)
}

/// Copies the intact records to a new file and puts that in place. `watermark`: that of the open file, which is newer than
/// what is found in a damaged one.
fn replace_file(
    directory: &SpoolDirectory,
    raw: &fs::File,
    watermark: Option<Watermark>,
    damage: Option<&str>,
    incidents: &Incidents,
) -> Result<SpoolFile, SpoolError> {
    let salvage = raw.try_clone().and_then(Salvage::of).map_err(SpoolError::io)?;
    let mut salvage = match watermark {
        Some(watermark) => salvage.with_watermark(watermark),
        None => salvage,
    };
    let replacement = directory.create_replacement()?;
    let mut file = SpoolFile::new(directory, &replacement, salvage.end())?;
    let saved = file.copy_from(&mut salvage)?;
    let set_aside = directory.install_replacement(raw, damage.is_some())?;
    incidents.opened(&file);
    let (missing, lost) = salvage.missing();
    let keys: Vec<_> = missing.iter().take(MAX_LOGGED_KEYS).map(|missing| missing.key).collect();
    let set_aside = set_aside.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
    incidents.damaged.fetch_add(lost, Ordering::Relaxed);
    match damage {
        Some(error) => {
            incidents.set_aside.fetch_add(1, Ordering::Relaxed);
            tracing::error!(
                spool.file = set_aside, saved, lost, spool.record_keys = ?keys, error,
                "the spool's file was damaged and is set aside; its intact records are in a new one"
            );
        }
        None => {
            incidents.replaced.fetch_add(1, Ordering::Relaxed);
            tracing::error!(
                spool.file = %directory.file_path().display(), spool.file_set_aside = set_aside, saved, lost,
                spool.record_keys = ?keys,
                "the spool's file was deleted or replaced; its intact records are in a new one"
            );
        }
    }
    Ok(file)
}

impl Incidents {
    fn opened(&self, file: &SpoolFile) {
        *self.identity.lock().unwrap_or_else(PoisonError::into_inner) = Some(file.identity());
    }
}
