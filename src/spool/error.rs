//! What can be wrong with a spool.

use std::{io, path::PathBuf};

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
    /// What stands in the file is wrong.
    #[error("the spool is damaged: {0}")]
    Damaged(String),
    /// It was given up on the way.
    #[error("the spool was given up: {0}")]
    CutOff(String),
}

impl SpoolError {
    pub(super) fn cut_off(error: &tokio::task::JoinError) -> Self {
        Self::CutOff(error.to_string())
    }

    pub(super) fn io(error: io::Error) -> Self {
        Self::Disk(Box::new(redb::Error::Io(error)))
    }
}

impl<E: Into<redb::Error>> From<E> for SpoolError {
    /// Tells a disk that fails from content that is wrong.
    fn from(error: E) -> Self {
        let error = error.into();
        let is_content = |error: &io::Error| {
            matches!(
                error.kind(),
                io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof
            )
        };
        match &error {
            redb::Error::Io(io) if is_content(io) => Self::Damaged(error.to_string()),
            redb::Error::Io(_)
            | redb::Error::PreviousIo
            | redb::Error::DatabaseAlreadyOpen
            | redb::Error::LockProtocolMismatch
            | redb::Error::ValueTooLarge(_) => Self::Disk(Box::new(error)),
            _ => Self::Damaged(error.to_string()),
        }
    }
}
