//! Limits how many costly bodies are interpreted at once.
//!
//! A small uncompressed body takes less than a millisecond, whatever it holds, and is interpreted on the async thread. Any
//! other waits for a permit and is interpreted on a blocking thread, so that other requests, among them health checks, are
//! not delayed.
//!
//! Permits are separate for live accounts, test accounts, and callers whose credentials are in the body: a caller that a
//! header has authenticated never queues behind unauthenticated ones, and a live delivery never behind a test account's.
//! With credentials in the body neither is known yet: live, test and strangers share `unknown`. A waiting body still counts in the body memory, and stops waiting when its connection closes.

use std::thread::available_parallelism;

use tokio::{sync::Semaphore, task::spawn_blocking};

use super::body::CollectedBody;
use crate::ticket_event::Environment;

/// The worst bodies take 30 µs per KiB (`make cost-test`), so larger ones can exceed half a millisecond.
const MAX_INLINE_BYTES: usize = 16 * 1024;

pub struct InterpretLimiter {
    live: Semaphore,
    test: Semaphore,
    /// The credentials are in the body.
    unknown: Semaphore,
}

impl Default for InterpretLimiter {
    fn default() -> Self {
        let half = (available_parallelism().map_or(1, usize::from) / 2).max(1);
        Self { live: Semaphore::new(half), test: Semaphore::new(1), unknown: Semaphore::new(half) }
    }
}

impl InterpretLimiter {
    /// Whether a body needs no permit.
    pub(super) fn is_cheap(body: &CollectedBody) -> bool {
        body.as_bytes().len() <= MAX_INLINE_BYTES && !body.coding().is_gzip()
    }

    /// Runs `work` on a blocking thread when there is a permit. `environment` is that of the account, if headers have
    /// authenticated it.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        environment: Option<Environment>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let permits = match environment {
            Some(Environment::Live) => &self.live,
            Some(Environment::Test) => &self.test,
            None => &self.unknown,
        };
        let _permit = permits.acquire().await.expect("the semaphore is never closed");
        match spawn_blocking(work).await {
            Ok(done) => done,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}
