//! The durable buffer on disk, for the time in which Postgres does not take writes.
//!
//! What always holds:
//!
//! - What [`Spool::append`] has returned for survives `kill -9` and a power cut: it is synced, and so is the directory.
//! - Records come out in the order in which they went in, and stay until they are removed.
//! - It never grows beyond its limit; what does not fit is refused as a whole.
//! - A file that is damaged is never written to or deleted: it is set aside, and a new one is begun.
//! - No credential is in it: payloads are redacted before they are handed in. Only the service's user may read it.
//!
//! One process has one directory. It is a `redb` database, one commit with one sync for each batch.

mod file;
mod private;
pub mod record;
mod spools;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use time::OffsetDateTime;
use tokio::{sync::Notify, task::spawn_blocking};

use self::file::File;
pub use self::{file::SpoolError, spools::Spools};
use crate::delivery::Delivery;

/// Records that are read at once are not more than these many bytes, unless a single one is.
const READ_BYTES: u64 = 4 * 1024 * 1024;

/// A delivery takes so much, or less as a rule.
const ORDINARY_BYTES: usize = 1024;

/// A buffer in a directory. Clones are the same buffer.
#[derive(Clone)]
pub struct Spool {
    shared: Arc<Shared>,
}

struct Shared {
    directory: PathBuf,
    max_bytes: u64,
    /// `None` after an error of the disk, until it can be opened again.
    file: Mutex<Option<File>>,
    newest_at_open: Option<OffsetDateTime>,
    records: AtomicU64,
    bytes: AtomicU64,
    has_failed: AtomicBool,
    filled: Notify,
}

/// Records that were read together.
pub struct Batch {
    /// What was handed in.
    pub deliveries: Vec<Delivery>,
    last_key: u64,
}

impl Spool {
    /// Opens the buffer in a directory, which is made when it is missing. May take seconds for a large one, for it is
    /// checked as a whole.
    ///
    /// # Errors
    ///
    /// The directory cannot be written to, or another process has it.
    pub fn open(directory: &Path, max_bytes: u64) -> Result<Self, SpoolError> {
        let file = File::open(directory)?;
        let spool = Self {
            shared: Arc::new(Shared {
                directory: directory.to_owned(),
                max_bytes,
                newest_at_open: file.newest,
                records: AtomicU64::new(file.records),
                bytes: AtomicU64::new(file.bytes),
                file: Mutex::new(Some(file)),
                has_failed: AtomicBool::new(false),
                filled: Notify::new(),
            }),
        };
        spool.shared.filled.notify_one();
        Ok(spool)
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
        Ok(Some(Batch { deliveries: records.iter().map(|(_, record)| record::decode(record)).collect(), last_key }))
    }

    /// Removes what was read and is safe elsewhere.
    pub async fn remove(&self, batch: Batch) -> Result<(), SpoolError> {
        let shared = Arc::clone(&self.shared);
        let removed = spawn_blocking(move || shared.with_file(|file| file.remove(batch.last_key))).await;
        removed.map_err(|error| SpoolError::cut_off(&error))?
    }

    /// Whether a delivery of ordinary size can be taken now. After the disk has failed, it is tried.
    pub async fn has_room(&self) -> bool {
        if self.bytes() + ORDINARY_BYTES as u64 > self.shared.max_bytes {
            return false;
        }
        !self.shared.has_failed.load(Ordering::Relaxed) || self.try_disk().await.is_ok()
    }

    /// Writes as much as a delivery takes, and removes it.
    async fn try_disk(&self) -> Result<(), SpoolError> {
        let shared = Arc::clone(&self.shared);
        let tried = spawn_blocking(move || shared.with_file(|file| file.try_disk(ORDINARY_BYTES))).await;
        tried.map_err(|error| SpoolError::cut_off(&error))?
    }
}

impl Shared {
    /// Does something with the file, which is opened again if the disk had failed.
    fn with_file<T>(&self, act: impl FnOnce(&mut File) -> Result<T, SpoolError>) -> Result<T, SpoolError> {
        // a panic in `redb` leaves nothing half done: what was not committed is gone when the file is opened again
        let mut slot = self.file.lock().unwrap_or_else(|poisoned| {
            let mut slot = poisoned.into_inner();
            *slot = None;
            slot
        });
        let result = match slot.take() {
            Some(file) => Ok(file),
            None => File::open(&self.directory),
        }
        .and_then(|mut file| {
            let result = act(&mut file);
            self.records.store(file.records, Ordering::Release);
            self.bytes.store(file.bytes, Ordering::Relaxed);
            if !matches!(result, Err(SpoolError::Disk(_))) {
                *slot = Some(file);
            }
            result
        });
        self.has_failed.store(matches!(result, Err(SpoolError::Disk(_))), Ordering::Relaxed);
        result
    }
}
