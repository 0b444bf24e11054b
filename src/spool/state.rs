//! The open spool file: its replacement when it is damaged or gone, and how it goes on when its disk is full.
//!
//! Invariants:
//!
//! - One mutex serialises all access to the file.
//! - Before and after every operation the file is checked to be in place and not cut short: success is reported after that.
//! - After a disk error the file is closed, and opened and verified again by the next operation.
//! - When the disk has no space, the file is opened so that writes stay in memory: reading and removing go on, appending
//!   is refused until there is space. When the last record is removed the file is emptied, which frees the disk.
//! - The counters are copies: readers of metrics do not wait for the file.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use time::OffsetDateTime;
use tokio::sync::Notify;

use super::{
    SpoolError,
    directory::{FileIdentity, SpoolDirectory},
    file::{SpoolFile, catch_panic},
    frame::Watermark,
    open::{Incidents, open_file, open_in_memory, replace_file},
};

/// So long the disk is not tried again after it had no space: opening the file reads all of it.
const DISK_RETRY_DELAY: Duration = Duration::from_secs(1);

pub(super) struct SpoolState {
    pub(super) directory: SpoolDirectory,
    pub(super) max_bytes: u64,
    slot: Mutex<FileSlot>,
    pub(super) newest_at_open: Option<OffsetDateTime>,
    pub(super) records: AtomicU64,
    pub(super) bytes: AtomicU64,
    /// An operation failed, other than by a full spool, and nothing was written since.
    pub(super) has_failed: AtomicBool,
    /// Something was appended.
    pub(super) appended: Notify,
    pub(super) incidents: Incidents,
}

struct FileSlot {
    /// `None` after a disk error, until it can be opened again.
    file: Option<SpoolFile>,
    /// The file that this process closed last, and its range of keys then.
    closed: Option<(FileIdentity, Watermark)>,
    opened: Instant,
}

impl SpoolState {
    pub(super) fn open(directory: SpoolDirectory, max_bytes: u64) -> Result<Self, SpoolError> {
        let incidents = Incidents::default();
        let file = open_file(&directory, None, &incidents)?;
        Ok(Self {
            directory,
            max_bytes,
            newest_at_open: file.newest,
            records: AtomicU64::new(file.records),
            bytes: AtomicU64::new(file.bytes),
            has_failed: AtomicBool::new(file.is_in_memory()),
            slot: Mutex::new(FileSlot { file: Some(file), closed: None, opened: Instant::now() }),
            appended: Notify::new(),
            incidents,
        })
    }

    /// Whether the file that was opened last is still the one in the directory.
    pub(super) fn is_in_place(&self) -> bool {
        let identity = *self.incidents.identity.lock().unwrap_or_else(PoisonError::into_inner);
        identity.is_some_and(|identity| self.directory.contains(identity))
    }

    /// Reads or removes records. The file is opened first if it is closed, and replaced if it is damaged or gone; after
    /// the replacement of a damaged file the operation runs again. It needs no disk space.
    pub(super) fn with_file<T>(&self, act: impl Fn(&mut SpoolFile) -> Result<T, SpoolError>) -> Result<T, SpoolError> {
        let mut slot = self.slot();
        let result = self.repair_and_attempt(&mut slot, &act);
        self.finish(&mut slot, result)
    }

    /// The same for an operation that has to be on the disk when it returns.
    pub(super) fn with_writable_file<T>(
        &self,
        act: impl Fn(&mut SpoolFile) -> Result<T, SpoolError>,
    ) -> Result<T, SpoolError> {
        let mut slot = self.slot();
        let result = self.leave_drain_only(&mut slot).and_then(|()| {
            self.repair_and_attempt(&mut slot, |file| {
                if file.is_in_memory() { Err(SpoolError::no_space()) } else { act(file) }
            })
        });
        if result.is_ok() {
            self.has_failed.store(false, Ordering::Relaxed);
        }
        self.finish(&mut slot, result)
    }

    fn slot(&self) -> MutexGuard<'_, FileSlot> {
        // a panic leaves no half change: redb drops what was not committed
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn repair_and_attempt<T>(
        &self,
        slot: &mut FileSlot,
        act: impl Fn(&mut SpoolFile) -> Result<T, SpoolError>,
    ) -> Result<T, SpoolError> {
        let result = match self.attempt(slot, &act) {
            Err(SpoolError::Damaged(damage)) => {
                self.replace(slot, Some(&damage)).and_then(|()| self.attempt(slot, &act))
            }
            result => result,
        };
        match result {
            Err(error) if error.is_no_space() && slot.file.as_ref().is_some_and(|file| !file.is_in_memory()) => {
                self.enter_drain_only(slot, &error)?;
                self.attempt(slot, act)
            }
            result => result,
        }
    }

    fn finish<T>(&self, slot: &mut FileSlot, result: Result<T, SpoolError>) -> Result<T, SpoolError> {
        if let Some(file) = &slot.file {
            self.records.store(file.records, Ordering::Release);
            self.bytes.store(file.bytes, Ordering::Relaxed);
            if file.is_in_memory() {
                self.has_failed.store(true, Ordering::Relaxed);
            }
            if file.needs_reopen {
                if !file.is_in(&self.directory) {
                    self.incidents.replaced.fetch_add(1, Ordering::Relaxed);
                }
                slot.close();
            }
        }
        if !matches!(result, Ok(_) | Err(SpoolError::Full { .. })) {
            self.has_failed.store(true, Ordering::Relaxed);
        }
        result
    }

    /// Opens the file anew, after an operation found no space.
    fn enter_drain_only(&self, slot: &mut FileSlot, error: &SpoolError) -> Result<(), SpoolError> {
        let Some(raw) = slot.file.as_ref().map(SpoolFile::raw) else { return Ok(()) };
        let raw = raw.map_err(SpoolError::io)?;
        slot.close();
        let known = slot.closed.map(|(_, watermark)| watermark);
        slot.open(open_in_memory(&self.directory, &raw, known, error)?);
        Ok(())
    }

    /// Goes back to writing to the disk, when that has space.
    fn leave_drain_only(&self, slot: &mut FileSlot) -> Result<(), SpoolError> {
        let Some(file) = slot.file.as_ref().filter(|file| file.is_in_memory()) else { return Ok(()) };
        if slot.opened.elapsed() < DISK_RETRY_DELAY || !self.directory.has_space() {
            return Err(SpoolError::no_space());
        }
        if file.is_in(&self.directory) {
            slot.close();
            Ok(())
        } else {
            self.replace(slot, None)
        }
    }

    fn attempt<T>(
        &self,
        slot: &mut FileSlot,
        act: impl Fn(&mut SpoolFile) -> Result<T, SpoolError>,
    ) -> Result<T, SpoolError> {
        if slot.file.is_none() {
            slot.open(open_file(&self.directory, slot.closed, &self.incidents)?);
        }
        self.check_in_place(slot)?;
        let Some(file) = slot.file.as_mut() else { return Err(SpoolError::Aborted("the file is closed".to_owned())) };
        let result = catch_panic(|| act(file));
        // the file may have been deleted while it was written: check again before reporting success
        self.check_in_place(slot)?;
        if matches!(&result, Err(error @ SpoolError::Disk(_)) if !error.is_no_space()) {
            slot.close();
        }
        result
    }

    /// Replaces a file that is gone. One whose writes stay in memory is only read, and one that needs to be reopened is
    /// empty: both may be gone.
    fn check_in_place(&self, slot: &mut FileSlot) -> Result<(), SpoolError> {
        let file = slot.file.as_ref().filter(|file| !file.is_in_memory() && !file.needs_reopen);
        let Some(file) = file else { return Ok(()) };
        match self.directory.length_of(file.identity()) {
            None => self.replace(slot, None),
            Some(length) if length < file.length() => Err(SpoolError::Damaged("the file was cut short".to_owned())),
            Some(_) => Ok(()),
        }
    }

    /// Replaces the open file, which is damaged, or gone if there is no `damage`. If that fails it stays open, as the only
    /// access to the records.
    fn replace(&self, slot: &mut FileSlot, damage: Option<&str>) -> Result<(), SpoolError> {
        let Some(file) = &slot.file else { return Ok(()) };
        if damage.is_none() && self.directory.is_locked_by_other() {
            return Err(SpoolError::InUse(self.directory.file_path()));
        }
        let raw = file.raw().map_err(SpoolError::io)?;
        slot.open(replace_file(&self.directory, &raw, Some(file.watermark), damage, &self.incidents)?);
        Ok(())
    }
}

impl FileSlot {
    fn open(&mut self, file: SpoolFile) {
        (self.file, self.opened) = (Some(file), Instant::now());
    }

    fn close(&mut self) {
        if let Some(file) = self.file.take() {
            self.closed = Some((file.identity(), file.watermark));
        }
    }
}
