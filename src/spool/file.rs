//! The spool file: framed records under growing keys in a `redb` database.
//!
//! Invariants:
//!
//! - A key is never reused. The next frame's previous key, or the watermark, skips the keys of an uncommitted batch.
//! - Counters change after the commit.
//! - A record that is read was verified: its checksum, its key, and that it follows the record before.

use std::{
    fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use time::OffsetDateTime;

use super::{
    SpoolError,
    backend::Backend,
    database::{Writes, open_database},
    directory::{FileIdentity, SpoolDirectory},
    frame::{self, Watermark},
};

pub(super) const RECORDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("records");

/// One entry, under 0: the [`Watermark`].
const WATERMARKS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("marks");

/// Exists only while the disk is probed.
const PROBE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("trial");

/// What a record takes in the file beside its own bytes, roughly.
const OVERHEAD_BYTES: u64 = 64;

/// A file without records is emptied when it is larger than this.
const EMPTIED_ABOVE_BYTES: u64 = 16 * 1024 * 1024;

/// `redb` may panic over a damaged file.
pub(super) fn catch_panic<T>(act: impl FnOnce() -> Result<T, SpoolError>) -> Result<T, SpoolError> {
    catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(SpoolError::Damaged(text.unwrap_or_else(|| "a panic".to_owned())))
    })
}

/// An open spool file.
pub(super) struct SpoolFile {
    /// `None` only while it is dropped, and when it is spent.
    database: Option<Database>,
    /// The same file without `redb`: it stays readable when it was deleted or replaced.
    pub(super) raw: fs::File,
    identity: FileIdentity,
    writes: Writes,
    backend: Backend,
    /// All records were removed and the file was emptied: it has to be opened again.
    pub(super) needs_reopen: bool,
    pub(super) records: u64,
    pub(super) bytes: u64,
    /// When the newest of the deliveries that were in it at its opening was received.
    pub(super) newest: Option<OffsetDateTime>,
    pub(super) watermark: Watermark,
}

impl Drop for SpoolFile {
    fn drop(&mut self) {
        drop_database(self.database.take());
    }
}

impl SpoolFile {
    /// Opens and verifies the file, or initialises an empty one. `known`: its range of keys when this process closed it,
    /// whose last batch may have been refused, and whose last removal may have failed.
    pub(super) fn open(
        directory: &SpoolDirectory,
        raw: &fs::File,
        known: Option<Watermark>,
        writes: Writes,
    ) -> Result<Self, SpoolError> {
        let is_new = raw.metadata().map_err(SpoolError::io)?.len() == 0;
        if is_new && known.is_some_and(|known| known.last_key >= known.first_pending) {
            return Err(SpoolError::Damaged("the file was emptied".to_owned()));
        }
        let opened = catch_panic(|| {
            // the known keys tell whether records are missing; the commit of a refused batch may be lost
            let mut file = Self::of(directory, raw, known.is_none(), writes)?;
            if is_new {
                file.initialize(known.map_or(1, |known| known.next_key))?;
            }
            file.verify(known)?;
            if writes == Writes::ToDisk {
                directory.sync()?;
            }
            Ok(file)
        });
        if is_new && opened.as_ref().is_err_and(SpoolError::is_no_space) {
            // a file that is half initialised would be taken for a damaged one
            raw.set_len(0).map_err(SpoolError::io)?;
        }
        opened
    }

    /// Initialises an empty file.
    pub(super) fn new(directory: &SpoolDirectory, raw: &fs::File, first_key: u64) -> Result<Self, SpoolError> {
        let mut file = Self::of(directory, raw, false, Writes::ToDisk)?;
        file.initialize(first_key)?;
        Ok(file)
    }

    /// `must_have_last`: a lost commit is an error.
    fn of(
        directory: &SpoolDirectory,
        raw: &fs::File,
        must_have_last: bool,
        writes: Writes,
    ) -> Result<Self, SpoolError> {
        let identity = FileIdentity::of(raw).map_err(SpoolError::io)?;
        let (database, backend) = open_database(directory, raw, must_have_last, writes)?;
        Ok(Self {
            database: Some(database),
            raw: raw.try_clone().map_err(SpoolError::io)?,
            identity,
            writes,
            backend,
            needs_reopen: false,
            records: 0,
            bytes: 0,
            newest: None,
            watermark: Watermark::default(),
        })
    }

    fn initialize(&mut self, first_key: u64) -> Result<(), SpoolError> {
        self.watermark = Watermark { first_pending: first_key, next_key: first_key, last_key: first_key - 1 };
        let transaction = self.database()?.begin_write()?;
        transaction.open_table(RECORDS)?;
        transaction.open_table(WATERMARKS)?.insert(0, frame::watermark(self.watermark).as_slice())?;
        Ok(transaction.commit()?)
    }

    pub(super) fn write_watermark(&self) -> Result<(), SpoolError> {
        let transaction = self.database()?.begin_write()?;
        transaction.open_table(WATERMARKS)?.insert(0, frame::watermark(self.watermark).as_slice())?;
        Ok(transaction.commit()?)
    }

    pub(super) fn database(&self) -> Result<&Database, SpoolError> {
        self.database.as_ref().ok_or_else(|| SpoolError::Aborted("the file is closed".to_owned()))
    }

    /// Whether nothing is written to the disk: records can be read and removed, but none appended.
    pub(super) fn is_in_memory(&self) -> bool {
        self.writes == Writes::InMemory
    }

    pub(super) fn is_in(&self, directory: &SpoolDirectory) -> bool {
        directory.contains(self.identity)
    }

    /// How long `redb` left it.
    pub(super) fn length(&self) -> u64 {
        self.backend.length()
    }

    pub(super) fn identity(&self) -> FileIdentity {
        self.identity
    }

    pub(super) fn raw(&self) -> io::Result<fs::File> {
        self.raw.try_clone()
    }

    /// Writes so many bytes and removes them.
    pub(super) fn probe_disk(&mut self, bytes: usize) -> Result<(), SpoolError> {
        let transaction = self.database()?.begin_write()?;
        transaction.open_table(PROBE)?.insert(0, vec![0; bytes].as_slice())?;
        transaction.commit()?;
        let transaction = self.database()?.begin_write()?;
        transaction.delete_table(PROBE)?;
        Ok(transaction.commit()?)
    }

    /// Appends records, synced when it returns.
    pub(super) fn append(&mut self, records: &[Vec<u8>], max_bytes: u64) -> Result<(), SpoolError> {
        if records.is_empty() {
            return Ok(());
        }
        let added: u64 = records.iter().map(|record| cost(record)).sum();
        if self.bytes.saturating_add(added) > max_bytes {
            return Err(SpoolError::Full { bytes: self.bytes, max_bytes });
        }
        let transaction = self.database()?.begin_write()?;
        let mut table = transaction.open_table(RECORDS)?;
        let Watermark { mut last_key, mut next_key, .. } = self.watermark;
        for record in records {
            table.insert(next_key, frame::record(next_key, last_key, record).as_slice())?;
            (last_key, next_key) = (next_key, next_key + 1);
        }
        drop(table);
        transaction.commit()?;
        (self.watermark.last_key, self.watermark.next_key) = (last_key, next_key);
        self.records += records.len() as u64;
        self.bytes += added;
        Ok(())
    }

    /// The oldest records with their keys, verified and without a gap.
    pub(super) fn read(&mut self, limit: usize, max_bytes: u64) -> Result<Vec<(u64, Vec<u8>)>, SpoolError> {
        let transaction = self.database()?.begin_read()?;
        let table = transaction.open_table(RECORDS)?;
        let (mut records, mut bytes, mut last, mut is_cut) = (Vec::new(), 0, None, false);
        for entry in table.iter()?.take(limit) {
            let (key, value) = entry?;
            let record = verified(key.value(), last, self.watermark.first_pending, value.value())?;
            bytes += cost(&record);
            if bytes > max_bytes && !records.is_empty() {
                is_cut = true;
                break;
            }
            last = Some(key.value());
            records.push((key.value(), record));
        }
        if !is_cut && (records.len() as u64) < self.records.min(limit as u64) {
            return Err(SpoolError::Damaged(format!("{} of {} records are there", records.len(), self.records)));
        }
        Ok(records)
    }

    /// Removes every record up to this key: these many, with these bytes.
    pub(super) fn remove(&mut self, last_key: u64, count: u64, bytes: u64) -> Result<(), SpoolError> {
        if last_key < self.watermark.first_pending {
            // the file was replaced meanwhile: they are under new keys, and are read again
            return Ok(());
        }
        let first_pending = last_key + 1;
        let transaction = self.database()?.begin_write()?;
        let mut removed = 0;
        let mut table = transaction.open_table(RECORDS)?;
        for record in table.extract_from_if(..first_pending, |_, _| true)? {
            record?;
            removed += 1;
        }
        drop(table);
        if removed != count {
            return Err(SpoolError::Damaged(format!("{removed} of {count} records can be removed")));
        }
        let watermark = Watermark { first_pending, ..self.watermark };
        transaction.open_table(WATERMARKS)?.insert(0, frame::watermark(watermark).as_slice())?;
        transaction.commit()?;
        self.watermark = watermark;
        self.records -= count;
        self.bytes = self.bytes.saturating_sub(bytes);
        if self.records == 0 && (self.is_in_memory() || self.length() > EMPTIED_ABOVE_BYTES) {
            self.empty();
        }
        Ok(())
    }

    /// Gives back the disk space of a file without records.
    fn empty(&mut self) {
        // closing writes to the file, and unlocks it
        drop_database(self.database.take());
        if self.raw.try_lock().is_ok() {
            // if that fails, the file is opened again as it is
            let _ = self.raw.set_len(0);
        }
        self.needs_reopen = true;
    }
}

/// Closing writes, and `redb` may panic over a damaged file.
fn drop_database(database: Option<Database>) {
    let _ = catch_panic(|| {
        drop(database);
        Ok(())
    });
}

/// The record of an intact frame under its own key. It follows the record `last`, or is the first that is pending.
pub(super) fn verified(key: u64, last: Option<u64>, first_pending: u64, frame: &[u8]) -> Result<Vec<u8>, SpoolError> {
    let wrong = |what: &str| SpoolError::Damaged(format!("record {key} {what}"));
    let (own_key, previous_key, record) = frame::open(frame).ok_or_else(|| wrong("is not as it was written"))?;
    if own_key != key || last.map_or(previous_key >= first_pending, |last| previous_key != last) {
        return Err(wrong("stands in another place than it was written to"));
    }
    Ok(record)
}

/// The bytes that a record counts.
pub(super) fn cost(record: &[u8]) -> u64 {
    record.len() as u64 + OVERHEAD_BYTES
}
