//! The file that is open, and what is done when it is damaged or gone: a new one of what is whole in it.

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
    file::{File, guarded},
    place::{Identity, Place},
    salvage::Salvage,
};

/// Keys of damaged records in a line of the log.
const LOGGED: usize = 50;

pub(super) struct Shared {
    pub(super) place: Place,
    pub(super) max_bytes: u64,
    slot: Mutex<Slot>,
    pub(super) newest_at_open: Option<OffsetDateTime>,
    pub(super) records: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) has_failed: AtomicBool,
    pub(super) filled: Notify,
    pub(super) incidents: Incidents,
}

/// The file that is open.
#[derive(Default)]
struct Slot {
    /// `None` after an error of the disk, until it can be opened again.
    file: Option<File>,
    /// The next key of the one that was open before.
    ended_at: Option<u64>,
}

/// What has become of files and records since the spool was opened.
#[derive(Default)]
pub(super) struct Incidents {
    pub(super) set_aside: AtomicU64,
    pub(super) gone: AtomicU64,
    pub(super) damaged: AtomicU64,
    identity: Mutex<Option<Identity>>,
}

impl Shared {
    pub(super) fn open(place: Place, max_bytes: u64) -> Result<Self, SpoolError> {
        let incidents = Incidents::default();
        let file = open_file(&place, None, &incidents)?;
        Ok(Self {
            place,
            max_bytes,
            newest_at_open: file.newest,
            records: AtomicU64::new(file.records),
            bytes: AtomicU64::new(file.bytes),
            slot: Mutex::new(Slot { file: Some(file), ended_at: None }),
            has_failed: AtomicBool::new(false),
            filled: Notify::new(),
            incidents,
        })
    }

    /// Whether the file that was opened last still stands under its name.
    pub(super) fn is_in_place(&self) -> bool {
        let identity = *self.incidents.identity.lock().unwrap_or_else(PoisonError::into_inner);
        identity.is_some_and(|identity| self.place.holds(identity))
    }

    /// Does something with the file, which is opened again if the disk had failed, and made anew from what is whole in
    /// it if it is damaged or gone.
    pub(super) fn with_file<T>(&self, act: impl Fn(&mut File) -> Result<T, SpoolError>) -> Result<T, SpoolError> {
        // a panic leaves nothing half done: what was not committed is gone when the file is opened again
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        let result = match self.attempt(&mut slot, &act) {
            Err(SpoolError::Damaged(why)) => {
                self.replace(&mut slot, Some(&why)).and_then(|()| self.attempt(&mut slot, &act))
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

    fn attempt<T>(&self, slot: &mut Slot, act: impl Fn(&mut File) -> Result<T, SpoolError>) -> Result<T, SpoolError> {
        if slot.file.is_none() {
            slot.file = Some(open_file(&self.place, slot.ended_at, &self.incidents)?);
        }
        let is_gone = |slot: &Slot| slot.file.as_ref().is_some_and(|file| !file.is_in(&self.place));
        if is_gone(slot) {
            self.replace(slot, None)?;
        }
        let Some(file) = slot.file.as_mut() else { return Err(SpoolError::CutOff("it is closed".to_owned())) };
        let result = guarded(|| act(file));
        // what was written meanwhile is in a file that nobody will find
        if is_gone(slot) {
            self.replace(slot, None)?;
        } else if matches!(result, Err(SpoolError::Disk(_))) {
            slot.ended_at = slot.file.take().map(|file| file.next);
        }
        result
    }

    /// A new file with what is whole in the one that is open, which is damaged, or else gone. It stays open when that
    /// fails, for there is no other.
    fn replace(&self, slot: &mut Slot, damage: Option<&str>) -> Result<(), SpoolError> {
        let Some(file) = &slot.file else { return Ok(()) };
        if damage.is_none() && self.place.is_taken() {
            return Err(SpoolError::InUse(self.place.path()));
        }
        let raw = file.raw().map_err(SpoolError::io)?;
        let known = (file.low, file.next);
        slot.file = Some(replace_file(&self.place, &raw, Some(known), damage, &self.incidents)?);
        Ok(())
    }
}

/// Opens the file in its place. A damaged one is replaced by what is whole in it.
fn open_file(place: &Place, ended_at: Option<u64>, incidents: &Incidents) -> Result<File, SpoolError> {
    let raw = place.open()?;
    let file = match File::open(place, &raw, ended_at) {
        Err(SpoolError::Damaged(why)) => replace_file(place, &raw, None, Some(&why), incidents),
        result => result,
    }?;
    incidents.opened(&file);
    Ok(file)
}

/// Makes a file of everything that is whole in another one, and puts it in its place.
fn replace_file(
    place: &Place,
    raw: &fs::File,
    known: Option<(u64, u64)>,
    damage: Option<&str>,
    incidents: &Incidents,
) -> Result<File, SpoolError> {
    let found = raw.try_clone().and_then(Salvage::of).map_err(SpoolError::io)?;
    let mut found = match known {
        Some((low, next)) => found.known(low, next),
        None => found,
    };
    let next = place.begin_next()?;
    let mut file = File::new(place, &next, found.end())?;
    let saved = file.take_over(&mut found)?;
    let aside = place.finish_next(raw, damage.is_some())?;
    incidents.opened(&file);
    let (missing, lost) = found.missing();
    let keys: Vec<_> = missing.iter().take(LOGGED).map(|missing| missing.key).collect();
    let aside = aside.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
    incidents.damaged.fetch_add(lost, Ordering::Relaxed);
    match damage {
        Some(why) => {
            incidents.set_aside.fetch_add(1, Ordering::Relaxed);
            tracing::error!(
                file = aside, saved, lost, keys = ?keys, error = why,
                "the spool was damaged and is set aside; what is whole in it is in a new one"
            );
        }
        None => {
            incidents.gone.fetch_add(1, Ordering::Relaxed);
            tracing::error!(
                file = %place.path().display(), replaced_by = aside, saved, lost, keys = ?keys,
                "the spool's file was deleted or replaced; what was in it is in a new one"
            );
        }
    }
    Ok(file)
}

impl Incidents {
    fn opened(&self, file: &File) {
        *self.identity.lock().unwrap_or_else(PoisonError::into_inner) = Some(file.identity());
    }
}
