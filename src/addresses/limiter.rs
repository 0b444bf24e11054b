//! A rate limit for each client.
//!
//! Invariants:
//! - A /48 of IPv6 holds 65,536 clients (/64), so it has a limit of its own, `SITE_FACTOR` times as large.
//! - Memory is bounded: the clients share a table of fixed size, and two clients in one slot count as one. The hash is
//!   seeded for each process, so nobody can choose whose slot to share.

use std::{
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    num::NonZeroU32,
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    nanos::Nanos,
    state::{InMemoryState, NotKeyed, StateStore},
};

use super::ClientPrefix;

/// Slots of a table, 8 bytes each.
pub const SLOTS: usize = 8192;

/// The limit of a /48 of IPv6 in limits of a client.
const SITE_FACTOR: NonZeroU32 = NonZeroU32::new(16).expect("16 is not 0");

pub struct ClientLimiter {
    hasher: RandomState,
    clients: RateLimiter<usize, Table, DefaultClock>,
    sites: RateLimiter<usize, Table, DefaultClock>,
}

/// The state of each slot.
struct Table(Box<[InMemoryState]>);

impl ClientLimiter {
    pub fn new(per_minute: NonZeroU32) -> Self {
        let limiter = |per_minute| {
            let table = Table((0..SLOTS).map(|_| InMemoryState::default()).collect());
            RateLimiter::new(Quota::per_minute(per_minute), table, DefaultClock::default())
        };
        let sites = limiter(per_minute.saturating_mul(SITE_FACTOR));
        Self { hasher: RandomState::new(), clients: limiter(per_minute), sites }
    }

    /// Below [`SLOTS`].
    pub fn slot(&self, client: IpAddr) -> usize {
        self.slot_of(ClientPrefix::of(client))
    }

    fn slot_of(&self, prefix: ClientPrefix) -> usize {
        usize::try_from(self.hasher.hash_one(prefix) % SLOTS as u64).expect("a slot is below SLOTS")
    }

    /// Counts one event of a client.
    ///
    /// # Errors
    ///
    /// The client or its /48 is over its limit; the time until the next event is allowed.
    pub fn check(&self, client: IpAddr) -> Result<(), Duration> {
        let prefix = ClientPrefix::of(client);
        // the site first: a /48 over its limit must not fill the slots of other clients
        if let Some(site) = prefix.site() {
            self.check_prefix(&self.sites, site)?;
        }
        self.check_prefix(&self.clients, prefix)
    }

    fn check_prefix(
        &self,
        limiter: &RateLimiter<usize, Table, DefaultClock>,
        prefix: ClientPrefix,
    ) -> Result<(), Duration> {
        let checked = limiter.check_key(&self.slot_of(prefix));
        checked.map_err(|not_until| not_until.wait_time_from(limiter.clock().now()))
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
