//! Opens the `redb` database of a file, and detects a damaged last commit: `redb` silently falls back to the one before; here
//! that is an error.
//!
//! `redb` alternates between two commit slots in the header; a bit names the one that was written last. Opening a file
//! writes a commit of its own to the slot that was not opened, so the bit must change.
//!
//! Invariants:
//!
//! - A file whose last commit is lost is not written to: what is left of the commit stays, and so does the evidence.
//! - A process that is killed in a commit leaves no lost one: the header is written last.
//!
//! After a power cut in a commit, `redb` may have a header without its pages. That is not told from damage, and is treated
//! as damage.

use std::{
    fs, io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use redb::{Database, DatabaseError, StorageBackend, StorageError};

use super::{SpoolError, backend::Backend, directory::SpoolDirectory};

/// For pages of the file.
const CACHE_BYTES: usize = 8 * 1024 * 1024;

const HEADER_BYTES: usize = 320;

const FLAGS_OFFSET: usize = 9;

/// Of the flags: the slot that was written last.
const LAST_SLOT_MASK: u8 = 1;

const SLOTS_OFFSET: usize = 64;

const SLOT_BYTES: usize = 128;

/// In a slot.
const TRANSACTION_ID_OFFSET: usize = 104;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writes {
    ToDisk,
    InMemory,
}

/// `must_have_last`: a lost commit is an error.
pub(super) fn open_database(
    directory: &SpoolDirectory,
    raw: &fs::File,
    must_have_last: bool,
    writes: Writes,
) -> Result<(Database, Backend), SpoolError> {
    let backend = Backend::new(raw.try_clone().map_err(SpoolError::io)?)?;
    let found = CommitSlots::read(&backend).map_err(SpoolError::io)?;
    // `redb` calls back for every file that has a commit
    let has_commit = Arc::new(AtomicBool::new(false));
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true).set_repair_callback({
        let has_commit = Arc::clone(&has_commit);
        move |_| has_commit.store(true, Ordering::Relaxed)
    });
    let database = match builder.create_with_backend(backend.clone()) {
        Ok(database) => database,
        Err(DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch) => {
            return Err(SpoolError::InUse(directory.file_path()));
        }
        Err(DatabaseError::Storage(StorageError::Io(error))) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Err(SpoolError::Directory(directory.file_path(), error));
        }
        Err(error) => return Err(error.into()),
    };
    if let Some(found) = found.filter(|_| must_have_last && has_commit.load(Ordering::Relaxed)) {
        let opened = CommitSlots::read(&backend).map_err(SpoolError::io)?;
        if opened.is_some_and(|opened| found.is_commit_lost(&opened)) {
            return Err(SpoolError::Damaged("the last commit is not as it was written".to_owned()));
        }
    }
    if writes == Writes::ToDisk {
        backend.write_through().map_err(SpoolError::io)?;
    }
    Ok((database, backend))
}

/// The two commit slots in the header.
struct CommitSlots {
    last: usize,
    transaction_ids: [u64; 2],
}

impl CommitSlots {
    /// `None`: the file has no header yet.
    fn read(backend: &impl StorageBackend) -> io::Result<Option<Self>> {
        if backend.len()? < HEADER_BYTES as u64 {
            return Ok(None);
        }
        let mut header = [0; HEADER_BYTES];
        backend.read(0, &mut header)?;
        let transaction_id = |slot: usize| {
            let at = SLOTS_OFFSET + slot * SLOT_BYTES + TRANSACTION_ID_OFFSET;
            let bytes = header.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
            u64::from_le_bytes(bytes.unwrap_or_default())
        };
        let last = usize::from(header[FLAGS_OFFSET] & LAST_SLOT_MASK);
        Ok(Some(Self { last, transaction_ids: [0, 1].map(transaction_id) }))
    }

    /// Whether a commit was lost. `self`: before `redb` opened the file; `opened`: after that.
    fn is_commit_lost(&self, opened: &Self) -> bool {
        let [last, other] = [self.last, 1 - self.last].map(|slot| self.transaction_ids[slot]);
        // a commit in two phases was interrupted between them: the other slot has the next commit, which is complete
        let is_next = other == last.wrapping_add(1);
        opened.last == self.last && !is_next
    }
}
