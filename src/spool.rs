//! The durable buffer on disk, for the time in which Postgres does not take writes.
//!
//! Invariants:
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

mod error;
mod file;
mod frame;
mod place;
mod private;
pub mod record;
pub mod salvage;
mod scan;
mod shared;
mod spools;
mod survey;

use std::{
    path::Path,
    sync::{Arc, atomic::Ordering},
};

use time::OffsetDateTime;
use tokio::task::spawn_blocking;

pub use self::{error::SpoolError, spools::Spools};
use self::{file::cost, place::Place, shared::Shared};
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
        let spool = Self { shared: Arc::new(Shared::open(Place::new(directory), max_bytes)?) };
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

    /// The oldest deliveries, at most `limit`, and no more once they take so much memory; `None` when there are none.
    pub async fn read(&self, limit: usize, max_memory_bytes: usize) -> Result<Option<Batch>, SpoolError> {
        let shared = Arc::clone(&self.shared);
        let read = spawn_blocking(move || shared.with_file(|file| file.read(limit, READ_BYTES))).await;
        let records = read.map_err(|error| SpoolError::cut_off(&error))??;
        let mut batch: Option<Batch> = None;
        let mut memory_bytes = 0;
        for (key, record) in records {
            if memory_bytes >= max_memory_bytes {
                break;
            }
            let delivery = record::decode(&record);
            memory_bytes += delivery.memory_bytes();
            let batch = batch.get_or_insert(Batch { deliveries: Vec::new(), last_key: key, bytes: 0 });
            batch.deliveries.push(delivery);
            (batch.last_key, batch.bytes) = (key, batch.bytes + cost(&record));
        }
        Ok(batch)
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
