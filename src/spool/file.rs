//! The file: records under growing keys.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition};
use time::OffsetDateTime;

use super::{private, record};
use crate::clock;

const DELIVERIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("deliveries");

/// Exists while it is tried whether the disk works.
const TRIAL: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("trial");

const NAME: &str = "deliveries.redb";

/// What a record costs beside its own bytes, roughly.
const OVERHEAD_BYTES: u64 = 32;

/// Memory for pages of the file.
const CACHE_BYTES: usize = 8 * 1024 * 1024;

/// An emptied file is made small again when it holds more than this.
const KEPT_BYTES: u64 = 16 * 1024 * 1024;

/// Why the spool does not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// It holds as much as it may.
    #[error("the spool is full: {bytes} of {max_bytes} bytes (spool.max_bytes)")]
    Full {
        /// What it holds.
        bytes: u64,
        /// What it may hold.
        max_bytes: u64,
    },
    /// Another process has it open.
    #[error("{0} is in use by another process: every replica needs a spool.directory of its own")]
    InUse(PathBuf),
    /// The directory cannot be used.
    #[error("spool.directory: {0} cannot be used: {1}")]
    Directory(PathBuf, io::Error),
    /// The disk fails: full, read-only, gone.
    #[error("the spool cannot be written or read: {0}")]
    Disk(Box<redb::Error>),
    /// It was given up on the way.
    #[error("the spool was given up: {0}")]
    CutOff(String),
}

impl SpoolError {
    pub(super) fn cut_off(error: &tokio::task::JoinError) -> Self {
        Self::CutOff(error.to_string())
    }
}

impl<E: Into<redb::Error>> From<E> for SpoolError {
    fn from(error: E) -> Self {
        Self::Disk(Box::new(error.into()))
    }
}

/// An open file and what it holds.
pub(super) struct File {
    database: Database,
    path: PathBuf,
    pub(super) records: u64,
    pub(super) bytes: u64,
    /// When the newest delivery was received that was in it when it was opened.
    pub(super) newest: Option<OffsetDateTime>,
    next_key: u64,
}

impl File {
    /// Opens the file, or begins a new one where there is none or a damaged one.
    pub(super) fn open(directory: &Path) -> Result<Self, SpoolError> {
        private::directory(directory).map_err(|error| SpoolError::Directory(directory.to_owned(), error))?;
        let path = directory.join(NAME);
        let file = match Self::open_file(&path) {
            Err(SpoolError::Disk(error)) if is_damage(&error) => {
                let aside = set_aside(&path)?;
                tracing::error!(%error, file = %aside.display(), "the spool was damaged and is set aside; a new one is begun");
                Self::open_file(&path)
            }
            result => result,
        }?;
        // a new file is only safe once its name is
        let synced = fs::File::open(directory).and_then(|directory| directory.sync_all());
        synced.map_err(|error| SpoolError::Directory(directory.to_owned(), error))?;
        Ok(file)
    }

    fn open_file(path: &Path) -> Result<Self, SpoolError> {
        private::file(path).map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => SpoolError::Directory(path.to_owned(), error),
            _ => SpoolError::Disk(Box::new(redb::Error::Io(error))),
        })?;
        let opened = Database::builder().set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true).create(path);
        let database = match opened {
            Ok(database) => database,
            Err(DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch) => {
                return Err(SpoolError::InUse(path.to_owned()));
            }
            Err(DatabaseError::Storage(StorageError::Io(error))) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Err(SpoolError::Directory(path.to_owned(), error));
            }
            Err(error) => return Err(error.into()),
        };
        let transaction = database.begin_write()?;
        let (mut records, mut bytes, mut newest, mut next_key) = (0, 0, None, 0);
        for record in transaction.open_table(DELIVERIES)?.iter()? {
            let (key, value) = record?;
            records += 1;
            bytes += cost(value.value());
            newest = newest.max(record::received_at(value.value()));
            next_key = key.value() + 1;
        }
        transaction.commit()?;
        Ok(Self { database, path: path.to_owned(), records, bytes, newest, next_key })
    }

    /// Tries whether the disk takes so many bytes; they are gone when it returns.
    pub(super) fn try_disk(&mut self, bytes: usize) -> Result<(), SpoolError> {
        let transaction = self.database.begin_write()?;
        transaction.open_table(TRIAL)?.insert(0, vec![0; bytes].as_slice())?;
        transaction.commit()?;
        let transaction = self.database.begin_write()?;
        transaction.delete_table(TRIAL)?;
        Ok(transaction.commit()?)
    }

    /// Adds records, synced when it returns.
    pub(super) fn append(&mut self, records: &[Vec<u8>], max_bytes: u64) -> Result<(), SpoolError> {
        let added: u64 = records.iter().map(|record| cost(record)).sum();
        if self.bytes + added > max_bytes {
            return Err(SpoolError::Full { bytes: self.bytes, max_bytes });
        }
        let transaction = self.database.begin_write()?;
        let mut table = transaction.open_table(DELIVERIES)?;
        let mut next_key = self.next_key;
        for record in records {
            table.insert(next_key, record.as_slice())?;
            next_key += 1;
        }
        drop(table);
        transaction.commit()?;
        self.next_key = next_key;
        self.records += records.len() as u64;
        self.bytes += added;
        Ok(())
    }

    /// The oldest records with their keys.
    pub(super) fn read(&mut self, limit: usize, max_bytes: u64) -> Result<Vec<(u64, Vec<u8>)>, SpoolError> {
        let transaction = self.database.begin_read()?;
        let table = transaction.open_table(DELIVERIES)?;
        let (mut records, mut bytes) = (Vec::new(), 0);
        for record in table.iter()?.take(limit) {
            let (key, value) = record?;
            bytes += cost(value.value());
            if bytes > max_bytes && !records.is_empty() {
                break;
            }
            records.push((key.value(), value.value().to_vec()));
        }
        Ok(records)
    }

    /// Removes every record up to this key.
    pub(super) fn remove(&mut self, last_key: u64) -> Result<(), SpoolError> {
        let transaction = self.database.begin_write()?;
        let (mut removed, mut removed_bytes) = (0, 0);
        let mut table = transaction.open_table(DELIVERIES)?;
        for record in table.extract_from_if(..=last_key, |_, _| true)? {
            removed += 1;
            removed_bytes += cost(record?.1.value());
        }
        drop(table);
        transaction.commit()?;
        self.records -= removed;
        self.bytes -= removed_bytes;
        if self.records == 0 && fs::metadata(&self.path).is_ok_and(|file| file.len() > KEPT_BYTES) {
            self.database.compact().map_err(|error| SpoolError::Disk(Box::new(error.into())))?;
        }
        Ok(())
    }
}

fn cost(record: &[u8]) -> u64 {
    record.len() as u64 + OVERHEAD_BYTES
}

/// Whether it is the file's content that is wrong, not the disk.
fn is_damage(error: &redb::Error) -> bool {
    match error {
        redb::Error::Corrupted(_) | redb::Error::UpgradeRequired(_) | redb::Error::RepairAborted => true,
        redb::Error::Io(error) => matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof),
        _ => false,
    }
}

fn set_aside(path: &Path) -> Result<PathBuf, SpoolError> {
    let aside = path.with_extension(format!("redb.damaged-{}", clock::now().unix_timestamp()));
    fs::rename(path, &aside).map_err(|error| SpoolError::Directory(path.to_owned(), error))?;
    Ok(aside)
}
