//! The durable buffer on disk for the time in which Postgres does not take writes.
//!
//! It is a `redb` database in a directory, with one commit and one sync for each batch.
//!
//! Invariants:
//!
//! - What `Spool::append` has returned for survives `kill -9` and a power cut: file and directory are synced.
//! - Records are read in the order in which they were appended, and stay until they are removed.
//! - A record is read byte for byte as it was written, or not at all: each has a checksum.
//! - It never exceeds its size limit: a batch that does not fit is refused as a whole.
//! - It can be opened and drained without any disk space, and gives its own back when it is empty.
//! - A damaged file is never deleted: it is set aside, and before anything else is done its intact records are copied in
//!   order to a new file and synced. The same happens when the file was deleted, replaced or cut short: it is still open,
//!   and the loss is noticed before anything is acknowledged.
//! - It holds no credentials: payloads are redacted before. Only the service's user may read it.
//! - One process has a directory at a time (file lock). Within it one mutex serialises all access to the file: committers
//!   append, the drainer reads and removes, and the readiness check writes a probe after a disk error.

mod backend;
mod database;
mod directory;
mod error;
mod file;
mod frame;
mod open;
mod private;
pub mod record;
pub mod salvage;
mod scan;
mod spools;
mod state;
mod verify;

use std::{
    path::Path,
    sync::{Arc, atomic::Ordering},
};

use time::OffsetDateTime;
use tokio::task::spawn_blocking;

use self::{directory::SpoolDirectory, file::cost, state::SpoolState};
pub use self::{error::SpoolError, spools::Spools};
use crate::delivery::Delivery;

/// Bytes of records that are read at once, unless a single one has more.
const MAX_READ_BYTES: u64 = 4 * 1024 * 1024;

/// The size of an ordinary delivery.
const ORDINARY_BYTES: u64 = 4 * 1024;

/// The size of a batch of ordinary deliveries.
const PROBE_BYTES: usize = 64 * 1024;

/// A spool in a directory. Clones are the same spool.
#[derive(Clone)]
pub struct Spool {
    state: Arc<SpoolState>,
}

/// Deliveries that were read together, to be removed together.
pub struct ReadBatch {
    pub deliveries: Vec<Delivery>,
    last_key: u64,
    bytes: u64,
}

impl Spool {
    /// Opens the spool in a directory, which is created when it is missing. The whole file is verified, which may take
    /// seconds.
    ///
    /// # Errors
    ///
    /// The directory is not writable, or another process has it.
    pub fn open(directory: &Path, max_bytes: u64) -> Result<Self, SpoolError> {
        let spool = Self { state: Arc::new(SpoolState::open(SpoolDirectory::new(directory), max_bytes)?) };
        spool.state.appended.notify_one();
        Ok(spool)
    }

    /// Damaged files that were set aside since it was opened.
    pub fn files_set_aside(&self) -> u64 {
        self.state.incidents.set_aside.load(Ordering::Relaxed)
    }

    /// How often the file was found deleted or replaced since it was opened.
    pub fn files_replaced(&self) -> u64 {
        self.state.incidents.replaced.load(Ordering::Relaxed)
    }

    /// Acknowledged records that were lost to damage since it was opened.
    pub fn records_damaged(&self) -> u64 {
        self.state.incidents.damaged.load(Ordering::Relaxed)
    }

    /// Counts the files in the directory that were set aside, whenever that was.
    pub fn files_aside(&self) -> u64 {
        self.state.directory.count_set_aside()
    }

    pub fn is_empty(&self) -> bool {
        self.records() == 0
    }

    pub fn records(&self) -> u64 {
        self.state.records.load(Ordering::Acquire)
    }

    /// Bytes of the records, not of the file.
    pub fn bytes(&self) -> u64 {
        self.state.bytes.load(Ordering::Relaxed)
    }

    /// The limit of [`Self::bytes`].
    pub fn max_bytes(&self) -> u64 {
        self.state.max_bytes
    }

    /// When the newest of the deliveries that were in it at its opening was received.
    pub fn newest_at_open(&self) -> Option<OffsetDateTime> {
        self.state.newest_at_open
    }

    /// When the oldest delivery in it was received.
    ///
    /// # Errors
    ///
    /// The disk fails.
    pub async fn oldest(&self) -> Result<Option<OffsetDateTime>, SpoolError> {
        let records = self.blocking(|state| state.with_file(|file| file.read(1, MAX_READ_BYTES))).await?;
        Ok(records.first().and_then(|(_, record)| record::received_at(record)))
    }

    /// Waits until something was appended since the last call.
    pub async fn appended(&self) {
        self.state.appended.notified().await;
    }

    /// Makes deliveries durable, all or none.
    ///
    /// # Errors
    ///
    /// They do not fit, or the disk fails; the next call tries again.
    pub async fn append(&self, deliveries: &[Delivery]) -> Result<(), SpoolError> {
        let records: Vec<_> = deliveries.iter().map(record::encode).collect();
        self.blocking(move |state| state.with_writable_file(|file| file.append(&records, state.max_bytes))).await?;
        self.state.appended.notify_one();
        Ok(())
    }

    /// Reads the oldest deliveries: at most `limit`, and none after those that take `max_memory_bytes`. `None`: it is empty.
    pub async fn read(&self, limit: usize, max_memory_bytes: usize) -> Result<Option<ReadBatch>, SpoolError> {
        let records = self.blocking(move |state| state.with_file(|file| file.read(limit, MAX_READ_BYTES))).await?;
        let mut batch: Option<ReadBatch> = None;
        let mut memory_bytes = 0;
        for (key, record) in records {
            if memory_bytes >= max_memory_bytes {
                break;
            }
            let delivery = record::decode(&record);
            memory_bytes += delivery.memory_bytes();
            let batch = batch.get_or_insert(ReadBatch { deliveries: Vec::new(), last_key: key, bytes: 0 });
            batch.deliveries.push(delivery);
            (batch.last_key, batch.bytes) = (key, batch.bytes + cost(&record));
        }
        Ok(batch)
    }

    /// Removes what was read and is durable elsewhere.
    pub async fn remove(&self, batch: ReadBatch) -> Result<(), SpoolError> {
        let count = batch.deliveries.len() as u64;
        self.blocking(move |state| state.with_file(|file| file.remove(batch.last_key, count, batch.bytes))).await
    }

    /// Whether an ordinary delivery can be appended now. It says no before the disk is full. After an error, or when the
    /// file is gone, it tries to write.
    pub async fn has_room(&self) -> bool {
        if self.bytes() + ORDINARY_BYTES > self.state.max_bytes || !self.state.directory.has_space() {
            return false;
        }
        let is_working = !self.state.has_failed.load(Ordering::Relaxed) && self.state.is_in_place();
        let probe = |state: &SpoolState| state.with_writable_file(|file| file.probe_disk(PROBE_BYTES));
        is_working || self.blocking(probe).await.is_ok()
    }

    async fn blocking<T: Send + 'static>(
        &self,
        act: impl Fn(&SpoolState) -> Result<T, SpoolError> + Send + 'static,
    ) -> Result<T, SpoolError> {
        let state = Arc::clone(&self.state);
        let done = spawn_blocking(move || act(&state)).await;
        done.map_err(|error| SpoolError::Aborted(error.to_string()))?
    }
}
