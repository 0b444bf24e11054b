//! Where a body is read: in its place, or out of the way of the runtime's threads.
//!
//! What is small and not compressed costs less than a millisecond, whatever its bytes are, and is read at once. The rest
//! is read by few at a time, so that the others, health checks among them, go on. What is known already of who sent it
//! decides with whom it waits: nobody stands behind strangers who could prove more than they, and a live delivery never
//! behind one of a test account. Who waits has the memory of the body counted, and stops waiting with the connection.

use std::thread::available_parallelism;

use tokio::{sync::Semaphore, task::spawn_blocking};

use super::is_compressed;
use crate::ticket_event::Environment;

/// A larger body can cost more than a millisecond: the worst take 30 µs for each KiB (`make cost-test`).
const INLINE_BYTES: usize = 16 * 1024;

/// How many large bodies are read at once, by what is known of who sent them.
pub struct ReadLimiter {
    live: Semaphore,
    test: Semaphore,
    /// Whose credentials stand in the body.
    unknown: Semaphore,
}

impl Default for ReadLimiter {
    fn default() -> Self {
        let half = (available_parallelism().map_or(1, usize::from) / 2).max(1);
        Self { live: Semaphore::new(half), test: Semaphore::new(1), unknown: Semaphore::new(half) }
    }
}

impl ReadLimiter {
    /// Whether a body costs so little that it is read in its place.
    pub(super) fn is_cheap(body: &[u8]) -> bool {
        body.len() <= INLINE_BYTES && !is_compressed(body)
    }

    /// Does the work on another one, as soon as it has a permit. `environment` is that of the account that the headers
    /// have named.
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
        let _permit = permits.acquire().await.expect("it is never closed");
        match spawn_blocking(work).await {
            Ok(done) => done,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}
