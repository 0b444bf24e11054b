//! A spool for each environment: what a test account sends takes no room from live deliveries, and waits for no one.

use std::path::{Path, PathBuf};

use time::OffsetDateTime;

use super::{Spool, SpoolError, place::Place};
use crate::ticket_event::Environment;

/// The directory of the spool for tests, in that of the live one.
const TEST_DIRECTORY: &str = "test";

/// The part of all bytes that deliveries of test accounts may have.
const TEST_PART: u64 = 8;

/// The spools of a service. Clones are the same.
#[derive(Clone)]
pub struct Spools {
    /// For live deliveries.
    pub live: Spool,
    /// For those of test accounts.
    pub test: Spool,
}

impl Spools {
    /// Opens both in a directory; together they hold so many bytes. May take seconds, for they are checked as a whole.
    ///
    /// # Errors
    ///
    /// The directory cannot be written to, or another process has it.
    pub fn open(directory: &Path, max_bytes: u64) -> Result<Self, SpoolError> {
        let test_bytes = max_bytes / TEST_PART;
        let live = Spool::open(directory, max_bytes - test_bytes)?;
        Ok(Self { live, test: Spool::open(&directory.join(TEST_DIRECTORY), test_bytes)? })
    }

    /// The paths of both files in a directory.
    pub fn paths_in(directory: &Path) -> [PathBuf; 2] {
        [directory.to_owned(), directory.join(TEST_DIRECTORY)].map(|directory| Place::new(&directory).path())
    }

    /// That of an environment.
    pub fn of(&self, environment: Environment) -> &Spool {
        match environment {
            Environment::Live => &self.live,
            Environment::Test => &self.test,
        }
    }

    /// How many deliveries wait in them.
    pub fn records(&self) -> u64 {
        self.live.records() + self.test.records()
    }

    /// When the newest delivery was received that was in them when they were opened; `None` when there was none.
    pub fn newest_at_open(&self) -> Option<OffsetDateTime> {
        self.live.newest_at_open().max(self.test.newest_at_open())
    }
}
