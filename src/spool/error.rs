//! Errors of a spool.

use std::{io, path::PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    #[error("the spool is full: {bytes} of {max_bytes} bytes (spool.max_bytes)")]
    Full { bytes: u64, max_bytes: u64 },
    #[error("{0} is in use by another process: every replica needs a spool.directory of its own")]
    InUse(PathBuf),
    #[error("spool.directory: {0} cannot be used: {1}")]
    Directory(PathBuf, io::Error),
    /// Full, read-only, failing.
    #[error("the spool cannot be written or read: {0}")]
    Disk(Box<redb::Error>),
    /// The content of the file is wrong.
    #[error("the spool is damaged: {0}")]
    Damaged(String),
    /// The task panicked, or the file was closed after an error.
    #[error("the spool's operation was aborted: {0}")]
    Aborted(String),
}

impl SpoolError {
    pub(super) fn io(error: io::Error) -> Self {
        Self::Disk(Box::new(redb::Error::Io(error)))
    }

    pub(super) fn no_space() -> Self {
        Self::io(io::ErrorKind::StorageFull.into())
    }

    pub(super) fn is_no_space(&self) -> bool {
        let error = match self {
            Self::Directory(_, error) => error,
            Self::Disk(error) => match &**error {
                redb::Error::Io(error) => error,
                _ => return false,
            },
            _ => return false,
        };
        // full, over a quota, over `ulimit -f`
        matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
    }
}

impl<E: Into<redb::Error>> From<E> for SpoolError {
    /// Tells a failing disk from wrong content.
    fn from(error: E) -> Self {
        let error = error.into();
        let is_due_to_content = |error: &io::Error| {
            matches!(
                error.kind(),
                io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof
            )
        };
        match &error {
            redb::Error::Io(io) if is_due_to_content(io) => Self::Damaged(error.to_string()),
            redb::Error::Io(_)
            | redb::Error::PreviousIo
            | redb::Error::DatabaseAlreadyOpen
            | redb::Error::LockProtocolMismatch
            | redb::Error::ValueTooLarge(_) => Self::Disk(Box::new(error)),
            _ => Self::Damaged(error.to_string()),
        }
    }
}
