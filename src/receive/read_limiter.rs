//! Where a body is read: in its place, or out of the way of the runtime's threads.
//!
//! What is small and not compressed costs less than a millisecond, whatever its bytes are, and is read at once. The rest
//! is read by few at a time, so that the others, health checks among them, go on. What is known already of who sent it
//! decides with whom it waits: nobody stands behind strangers who could prove more than they, and a live delivery never
//! behind one of a test account. Who waits has the memory of the body counted, and stops waiting with the connection.

use std::thread::available_parallelism;

use tokio::{sync::Semaphore, task::block_in_place};

use super::is_compressed;
use crate::{credentials::Verified, ticket_event::Environment};

/// A larger body can cost more than a millisecond: the worst take 20 to 40 µs for each KiB (`make cost-test`).
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
    /// Does the work on a body, as soon as it has a permit. `proof` is what the headers have said.
    pub(super) async fn run<T>(&self, body: &[u8], proof: Option<Verified<'_>>, work: impl FnOnce() -> T) -> T {
        if body.len() <= INLINE_BYTES && !is_compressed(body) {
            return work();
        }
        let permits = match proof.map(|proof| proof.account().environment) {
            Some(Environment::Live) => &self.live,
            Some(Environment::Test) => &self.test,
            None => &self.unknown,
        };
        let _permit = permits.acquire().await.expect("it is never closed");
        block_in_place(work)
    }
}
