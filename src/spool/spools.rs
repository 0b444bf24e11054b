//! A spool for each environment, so that deliveries of test accounts take no space from live ones.

use std::path::{Path, PathBuf};

use time::OffsetDateTime;

use super::{Spool, SpoolError, directory::SpoolDirectory};
use crate::ticket_event::Environment;

/// The test spool is in this directory inside that of the live one.
const TEST_DIRECTORY: &str = "test";

/// The test spool may have `spool.max_bytes` divided by this.
const TEST_DIVISOR: u64 = 8;

/// Clones are the same spools.
#[derive(Clone)]
pub struct Spools {
    pub live: Spool,
    pub test: Spool,
}

impl Spools {
    /// Opens both; together they hold `max_bytes`. See [`Spool::open`].
    ///
    /// # Errors
    ///
    /// The directory is not writable, or another process has it.
    pub fn open(directory: &Path, max_bytes: u64) -> Result<Self, SpoolError> {
        let test_bytes = max_bytes / TEST_DIVISOR;
        let live = Spool::open(directory, max_bytes - test_bytes)?;
        Ok(Self { live, test: Spool::open(&directory.join(TEST_DIRECTORY), test_bytes)? })
    }

    /// The paths of the live and the test file.
    pub fn paths_in(directory: &Path) -> [PathBuf; 2] {
        [directory.to_owned(), directory.join(TEST_DIRECTORY)]
            .map(|directory| SpoolDirectory::new(&directory).file_path())
    }

    pub fn of(&self, environment: Environment) -> &Spool {
        match environment {
            Environment::Live => &self.live,
            Environment::Test => &self.test,
        }
    }

    /// Of both.
    pub fn records(&self) -> u64 {
        self.live.records() + self.test.records()
    }

    /// When the newest of the deliveries that were in them at their opening was received.
    pub fn newest_at_open(&self) -> Option<OffsetDateTime> {
        self.live.newest_at_open().max(self.test.newest_at_open())
    }
}
