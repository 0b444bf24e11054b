//! A rate limit for each client.
//!
//! The memory is bounded whatever the number of clients: they share a table of fixed size. Two that happen to share a slot
//! are counted as one. Which ones do is different in every process, so nobody can choose a neighbour.

use std::{
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    nanos::Nanos,
    state::{InMemoryState, NotKeyed, StateStore},
};

use super::Block;

/// Slots in the table of a limiter; each takes 8 bytes.
pub const SLOTS: usize = 8192;

/// A limit that every client has for itself.
pub struct ClientLimiter {
    hasher: RandomState,
    limiter: RateLimiter<usize, Table, DefaultClock>,
}

/// The state of every slot.
struct Table(Box<[InMemoryState]>);

impl ClientLimiter {
    /// A limiter with this quota for each client.
    pub fn new(quota: Quota) -> Self {
        let table = Table((0..SLOTS).map(|_| InMemoryState::default()).collect());
        Self { hasher: RandomState::new(), limiter: RateLimiter::new(quota, table, DefaultClock::default()) }
    }

    /// The slot of a client, below [`SLOTS`].
    pub fn slot(&self, client: IpAddr) -> usize {
        let hash = self.hasher.hash_one(Block::of(client));
        usize::try_from(hash % SLOTS as u64).expect("it is a small number")
    }

    /// Counts one more of a client.
    ///
    /// # Errors
    ///
    /// It is one too many; the time until there may be another.
    pub fn check(&self, client: IpAddr) -> Result<(), Duration> {
        let checked = self.limiter.check_key(&self.slot(client));
        checked.map_err(|not_until| not_until.wait_time_from(self.limiter.clock().now()))
    }
}

impl StateStore for Table {
    type Key = usize;

    fn measure_and_replace<T, F, E>(&self, slot: &usize, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        self.0[*slot].measure_and_replace(&NotKeyed::NonKey, measure)
    }
}
