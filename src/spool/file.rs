//! The file: framed records under growing keys, in a tree that `redb` keeps.

use std::{
    fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
};

use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition, backends::FileBackend,
};
use time::OffsetDateTime;

use super::{
    SpoolError,
    frame::{self, Mark},
    place::{Identity, Place},
    record,
    salvage::Salvage,
};

pub(super) const RECORDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("records");

/// Says what was drained: see [`Mark`].
const MARKS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("marks");

/// Exists while it is tried whether the disk works.
const TRIAL: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("trial");

/// What a record costs beside its own bytes, roughly.
const OVERHEAD_BYTES: u64 = 64;

/// Memory for pages of the file.
const CACHE_BYTES: usize = 8 * 1024 * 1024;

/// An emptied file is made small again when it holds more than this.
const KEPT_BYTES: u64 = 16 * 1024 * 1024;

/// Records that are taken over in one commit have these many bytes.
const TAKEN_OVER_BYTES: u64 = 16 * 1024 * 1024;

/// Does something in which `redb` may panic over a damaged file.
pub(super) fn guarded<T>(act: impl FnOnce() -> Result<T, SpoolError>) -> Result<T, SpoolError> {
    catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(SpoolError::Damaged(text.unwrap_or_else(|| "a panic".to_owned())))
    })
}

/// An open file and what it holds.
pub(super) struct File {
    database: Option<Database>,
    /// The same file, to be looked at without the tree, also when it has lost its name.
    pub(super) raw: fs::File,
    identity: Identity,
    pub(super) records: u64,
    pub(super) bytes: u64,
    /// When the newest delivery was received that was in it when it was opened.
    pub(super) newest: Option<OffsetDateTime>,
    /// Everything below it is drained.
    pub(super) low: u64,
    /// The key of the record that was added last.
    pub(super) last: u64,
    pub(super) next: u64,
}

impl Drop for File {
    fn drop(&mut self) {
        let database = self.database.take();
        // it writes when it is closed, and may panic over what is damaged
        let _ = guarded(|| {
            drop(database);
            Ok(())
        });
    }
}

impl File {
    /// Opens the file in its place or begins a new one. `ended_at` is the next key of the one that was open before:
    /// what has a higher one was refused.
    pub(super) fn open(place: &Place, raw: &fs::File, ended_at: Option<u64>) -> Result<Self, SpoolError> {
        guarded(|| {
            let mut file = Self::open_database(place, raw)?;
            let is_new = file.next == 0;
            if is_new {
                file.begin(1)?;
            }
            file.survey(ended_at)?;
            place.sync()?;
            Ok(file)
        })
    }

    /// A new file whose keys begin here.
    pub(super) fn new(place: &Place, raw: &fs::File, first_key: u64) -> Result<Self, SpoolError> {
        let mut file = Self::open_database(place, raw)?;
        file.begin(first_key)?;
        Ok(file)
    }

    fn open_database(place: &Place, raw: &fs::File) -> Result<Self, SpoolError> {
        let identity = Identity::of(raw).map_err(SpoolError::io)?;
        let is_new = raw.metadata().map_err(SpoolError::io)?.len() == 0;
        let backend = FileBackend::new(raw.try_clone().map_err(SpoolError::io)?)?;
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
        let database = match builder.create_with_backend(backend) {
            Ok(database) => database,
            Err(DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch) => {
                return Err(SpoolError::InUse(place.path()));
            }
            Err(DatabaseError::Storage(StorageError::Io(error))) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Err(SpoolError::Directory(place.path(), error));
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Self {
            database: Some(database),
            raw: raw.try_clone().map_err(SpoolError::io)?,
            identity,
            records: 0,
            bytes: 0,
            newest: None,
            low: 0,
            last: 0,
            next: u64::from(!is_new),
        })
    }

    fn begin(&mut self, first_key: u64) -> Result<(), SpoolError> {
        (self.low, self.last, self.next) = (first_key, first_key - 1, first_key);
        let transaction = self.database()?.begin_write()?;
        transaction.open_table(RECORDS)?;
        transaction.open_table(MARKS)?.insert(0, frame::mark(self.mark()).as_slice())?;
        Ok(transaction.commit()?)
    }

    pub(super) fn write_mark(&self) -> Result<(), SpoolError> {
        let transaction = self.database()?.begin_write()?;
        transaction.open_table(MARKS)?.insert(0, frame::mark(self.mark()).as_slice())?;
        Ok(transaction.commit()?)
    }

    fn mark(&self) -> Mark {
        Mark { low: self.low, next: self.next, previous: self.last }
    }

    pub(super) fn database(&self) -> Result<&Database, SpoolError> {
        self.database.as_ref().ok_or_else(|| SpoolError::CutOff("it is closed".to_owned()))
    }

    /// Whether it still stands under its name.
    pub(super) fn is_in(&self, place: &Place) -> bool {
        place.holds(self.identity)
    }

    pub(super) fn identity(&self) -> Identity {
        self.identity
    }

    pub(super) fn raw(&self) -> io::Result<fs::File> {
        self.raw.try_clone()
    }

    /// Adds what another file holds, synced when it returns. How many records.
    pub(super) fn take_over(&mut self, found: &mut Salvage) -> Result<u64, SpoolError> {
        let (mut taken, mut records, mut bytes) = (0, Vec::new(), 0);
        loop {
            let whole = found.next_whole().map_err(SpoolError::io)?;
            let is_last = whole.is_none();
            if let Some(whole) = whole {
                bytes += cost(&whole.record);
                self.newest = self.newest.max(record::received_at(&whole.record));
                records.push(whole.record);
            }
            if is_last || bytes > TAKEN_OVER_BYTES {
                self.append(&records, u64::MAX)?;
                taken += records.len() as u64;
                (records, bytes) = (Vec::new(), 0);
            }
            if is_last {
                return Ok(taken);
            }
        }
    }

    /// Tries whether the disk takes so many bytes; they are gone when it returns.
    pub(super) fn try_disk(&mut self, bytes: usize) -> Result<(), SpoolError> {
        let transaction = self.database()?.begin_write()?;
        transaction.open_table(TRIAL)?.insert(0, vec![0; bytes].as_slice())?;
        transaction.commit()?;
        let transaction = self.database()?.begin_write()?;
        transaction.delete_table(TRIAL)?;
        Ok(transaction.commit()?)
    }

    /// Adds records, synced when it returns.
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
        let (mut last, mut next) = (self.last, self.next);
        for record in records {
            table.insert(next, frame::record(next, last, record).as_slice())?;
            (last, next) = (next, next + 1);
        }
        drop(table);
        transaction.commit()?;
        (self.last, self.next) = (last, next);
        self.records += records.len() as u64;
        self.bytes += added;
        Ok(())
    }

    /// The oldest records with their keys, each of them verified, and none left out.
    pub(super) fn read(&mut self, limit: usize, max_bytes: u64) -> Result<Vec<(u64, Vec<u8>)>, SpoolError> {
        let transaction = self.database()?.begin_read()?;
        let table = transaction.open_table(RECORDS)?;
        let (mut records, mut bytes, mut last, mut is_cut) = (Vec::new(), 0, None, false);
        for entry in table.iter()?.take(limit) {
            let (key, value) = entry?;
            let record = verified(key.value(), last, self.low, value.value())?;
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

    /// Removes every record up to this key.
    pub(super) fn remove(&mut self, last_key: u64, count: u64, bytes: u64) -> Result<(), SpoolError> {
        if last_key < self.low {
            // they were taken over from another file meanwhile, and come again
            return Ok(());
        }
        let low = last_key + 1;
        let transaction = self.database()?.begin_write()?;
        let mut removed = 0;
        let mut table = transaction.open_table(RECORDS)?;
        for record in table.extract_from_if(..low, |_, _| true)? {
            record?;
            removed += 1;
        }
        drop(table);
        if removed != count {
            return Err(SpoolError::Damaged(format!("{removed} of {count} records can be removed")));
        }
        let mark = Mark { low, ..self.mark() };
        transaction.open_table(MARKS)?.insert(0, frame::mark(mark).as_slice())?;
        transaction.commit()?;
        self.low = low;
        self.records -= count;
        self.bytes = self.bytes.saturating_sub(bytes);
        if self.records == 0 && self.raw.metadata().is_ok_and(|file| file.len() > KEPT_BYTES) {
            let compacted = self.database.as_mut().map_or(Ok(false), Database::compact);
            compacted.map_err(|error| SpoolError::from(redb::Error::from(error)))?;
        }
        Ok(())
    }
}

/// The record in a frame that stands where it belongs: under its key, behind the record before it.
pub(super) fn verified(key: u64, last: Option<u64>, low: u64, frame: &[u8]) -> Result<Vec<u8>, SpoolError> {
    let wrong = |what: &str| SpoolError::Damaged(format!("record {key} {what}"));
    let (own_key, previous, record) = frame::open(frame).ok_or_else(|| wrong("is not as it was written"))?;
    if own_key != key || last.map_or(previous >= low, |last| previous != last) {
        return Err(wrong("stands in another place than it was written to"));
    }
    Ok(record)
}

/// What a record counts for.
pub(super) fn cost(record: &[u8]) -> u64 {
    record.len() as u64 + OVERHEAD_BYTES
}
