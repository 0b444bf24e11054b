//! The durable buffer on disk, for the time in which Postgres does not take writes.
//!
//! What always holds:
//!
//! - What [`Spool::append`] has returned for survives `kill -9` and a power cut: it is synced, and so is the directory.
//! - Records come out in the order in which they went in, and stay until they are removed.
//! - No record comes out that is not byte for byte what went in: each has a checksum.
//! - It never grows beyond its limit; what does not fit is refused as a whole.
//! - A file that is damaged is never deleted: it is set aside, and every record in it that is whole is taken over into a
//!   new one, in order and synced, before anything else is done. The same when the file was deleted or replaced: it is
//!   still open then, and noticed before anything is acknowledged.
//! - No credential is in it: payloads are redacted before they are handed in. Only the service's user may read it.
//!
//! One process has one directory. It is a `redb` database, one commit with one sync for each batch.

mod file;
mod frame;
mod place;
mod private;
pub mod record;
pub mod salvage;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use time::OffsetDateTime;
use tokio::{sync::Notify, task::spawn_blocking};

pub use self::file::SpoolError;
use self::{
    file::{File, cost, guarded},
    place::{Identity, Place},
    salvage::Salvage,
};
use crate::delivery::Delivery;

/// Records that are read at once are not more than these many bytes, unless a single one is.
const READ_BYTES: u64 = 4 * 1024 * 1024;

/// A delivery takes so much, or less as a rule.
const ORDINARY_BYTES: usize = 1024;

/// Keys of damaged records in a line of the log.
const LOGGED: usize = 50;

/// A buffer in a directory. Clones are the same buffer.
#[derive(Clone)]
pub struct Spool {
    shared: Arc<Shared>,
}

struct Shared {
    place: Place,
    max_bytes: u64,
    slot: Mutex<Slot>,
    newest_at_open: Option<OffsetDateTime>,
    records: AtomicU64,
    bytes: AtomicU64,
    has_failed: AtomicBool,
    filled: Notify,
    incidents: Incidents,
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
struct Incidents {
    set_aside: AtomicU64,
    gone: AtomicU64,
    damaged: AtomicU64,
    identity: Mutex<Option<Identity>>,
}

/// Records that were read together.
pub struct Batch {
    /// What was handed in.
    pub deliveries: Vec<Delivery>,
    last_key: u64,
    bytes: u64,
}

impl Spool {
    /// Opens the buffer in a directory, which is made when it is missing. May take seconds for a large one, for it is
    /// checked as a whole.
    ///
    /// # Errors
    ///
    /// The directory cannot be written to, or another process has it.
    pub fn open(directory: &Path, max_bytes: u64) -> Result<Self, SpoolError> {
        let (place, incidents) = (Place::new(directory), Incidents::default());
        let file = open_file(&place, None, &incidents)?;
        let spool = Self {
            shared: Arc::new(Shared {
                place,
                max_bytes,
                newest_at_open: file.newest,
                records: AtomicU64::new(file.records),
                bytes: AtomicU64::new(file.bytes),
                slot: Mutex::new(Slot { file: Some(file), ended_at: None }),
                has_failed: AtomicBool::new(false),
                filled: Notify::new(),
                incidents,
            }),
        };
        spool.shared.filled.notify_one();
        Ok(spool)
    }

    /// Files that were damaged and set aside since it was opened.
    pub fn files_set_aside(&self) -> u64 {
        self.shared.incidents.set_aside.load(Ordering::Relaxed)
    }

    /// How often the file was deleted or replaced since it was opened.
    pub fn files_gone(&self) -> u64 {
        self.shared.incidents.gone.load(Ordering::Relaxed)
    }

    /// Records that were not whole any more since it was opened: deliveries that did not come out.
    pub fn records_damaged(&self) -> u64 {
        self.shared.incidents.damaged.load(Ordering::Relaxed)
    }

    /// Files that were set aside, whenever, and lie in the directory now.
    pub fn files_aside(&self) -> u64 {
        self.shared.place.files_aside()
    }

    /// The path of the file in a directory.
    pub fn path_in(directory: &Path) -> PathBuf {
        Place::new(directory).path()
    }

    /// Whether nothing waits in it.
    pub fn is_empty(&self) -> bool {
        self.records() == 0
    }

    /// How many deliveries wait in it.
    pub fn records(&self) -> u64 {
        self.shared.records.load(Ordering::Acquire)
    }

    /// The bytes of the deliveries in it.
    pub fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    /// The most bytes of deliveries in it.
    pub fn max_bytes(&self) -> u64 {
        self.shared.max_bytes
    }

    /// When the newest delivery was received that was in it when it was opened; `None` when there was none.
    pub fn newest_at_open(&self) -> Option<OffsetDateTime> {
        self.shared.newest_at_open
    }

    /// When the oldest delivery in it was received; `None` when there is none.
    ///
    /// # Errors
    ///
    /// The disk fails.
    pub async fn oldest(&self) -> Result<Option<OffsetDateTime>, SpoolError> {
        let shared = Arc::clone(&self.shared);
        let read = spawn_blocking(move || shared.with_file(|file| file.read(1, READ_BYTES))).await;
        let records = read.map_err(|error| SpoolError::cut_off(&error))??;
        Ok(records.first().and_then(|(_, record)| record::received_at(record)))
    }

    /// Waits until something may be in it.
    pub async fn filled(&self) {
        self.shared.filled.notified().await;
    }

    /// Makes deliveries durable, all or none.
    ///
    /// # Errors
    ///
    /// There is no room, or the disk fails; the next call tries again.
    pub async fn append(&self, deliveries: &[Delivery]) -> Result<(), SpoolError> {
        let records: Vec<_> = deliveries.iter().map(record::encode).collect();
        let shared = Arc::clone(&self.shared);
        let appended = spawn_blocking(move || shared.with_file(|file| file.append(&records, shared.max_bytes))).await;
        appended.map_err(|error| SpoolError::cut_off(&error))??;
        self.shared.filled.notify_one();
        Ok(())
    }

    /// The oldest deliveries, at most `limit`; `None` when there are none.
    pub async fn read(&self, limit: usize) -> Result<Option<Batch>, SpoolError> {
        let shared = Arc::clone(&self.shared);
        let read = spawn_blocking(move || shared.with_file(|file| file.read(limit, READ_BYTES))).await;
        let records = read.map_err(|error| SpoolError::cut_off(&error))??;
        let Some((last_key, _)) = records.last() else { return Ok(None) };
        let last_key = *last_key;
        let bytes = records.iter().map(|(_, record)| cost(record)).sum();
        let deliveries = records.iter().map(|(_, record)| record::decode(record)).collect();
        Ok(Some(Batch { deliveries, last_key, bytes }))
    }

    /// Removes what was read and is safe elsewhere.
    pub async fn remove(&self, batch: Batch) -> Result<(), SpoolError> {
        let shared = Arc::clone(&self.shared);
        let removed = spawn_blocking(move || {
            shared.with_file(|file| file.remove(batch.last_key, batch.deliveries.len() as u64, batch.bytes))
        })
        .await;
        removed.map_err(|error| SpoolError::cut_off(&error))?
    }

    /// Whether a delivery of ordinary size can be taken now. After the disk has failed, or when the file is gone, it is
    /// tried.
    pub async fn has_room(&self) -> bool {
        if self.bytes() + ORDINARY_BYTES as u64 > self.shared.max_bytes {
            return false;
        }
        let is_well = !self.shared.has_failed.load(Ordering::Relaxed) && self.shared.is_in_place();
        is_well || self.try_disk().await.is_ok()
    }

    /// Writes as much as a delivery takes, and removes it.
    async fn try_disk(&self) -> Result<(), SpoolError> {
        let shared = Arc::clone(&self.shared);
        let tried = spawn_blocking(move || shared.with_file(|file| file.try_disk(ORDINARY_BYTES))).await;
        tried.map_err(|error| SpoolError::cut_off(&error))?
    }
}

impl Shared {
    /// Whether the file that was opened last still stands under its name.
    fn is_in_place(&self) -> bool {
        let identity = *self.incidents.identity.lock().unwrap_or_else(PoisonError::into_inner);
        identity.is_some_and(|identity| self.place.holds(identity))
    }

    /// Does something with the file, which is opened again if the disk had failed, and made anew from what is whole in
    /// it if it is damaged or gone.
    fn with_file<T>(&self, act: impl Fn(&mut File) -> Result<T, SpoolError>) -> Result<T, SpoolError> {
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
