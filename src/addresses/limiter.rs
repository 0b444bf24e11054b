//! A rate limit for each client.
//!
//! Of IPv6, a /64 is a client. Whoever has a /48 has 65,536 of these, so each /48 has a limit too, [`SITE`] times as large.
//!
//! The memory is bounded whatever the number of clients: they share a table of fixed size. Two that happen to share a slot
//! are counted as one. Which ones do is different in every process, so nobody can choose a neighbour.

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

/// Slots in the table of a limiter; each takes 8 bytes.
pub const SLOTS: usize = 8192;

/// So many times the limit of a client is that of a /48 of IPv6.
pub const SITE: NonZeroU32 = NonZeroU32::new(16).expect("it is not 0");

/// A limit that every client has for itself.
pub struct ClientLimiter {
    hasher: RandomState,
    clients: RateLimiter<usize, Table, DefaultClock>,
    sites: RateLimiter<usize, Table, DefaultClock>,
}

/// The state of every slot.
struct Table(Box<[InMemoryState]>);

impl ClientLimiter {
    /// So many a minute for each client.
    pub fn new(per_minute: NonZeroU32) -> Self {
        let limiter = |per_minute| {
            let table = Table((0..SLOTS).map(|_| InMemoryState::default()).collect());
            RateLimiter::new(Quota::per_minute(per_minute), table, DefaultClock::default())
        };
        let sites = limiter(per_minute.saturating_mul(SITE));
        Self { hasher: RandomState::new(), clients: limiter(per_minute), sites }
    }

    /// The slot of a client, below [`SLOTS`].
    pub fn slot(&self, client: IpAddr) -> usize {
        self.slot_of(ClientPrefix::of(client))
    }

    fn slot_of(&self, prefix: ClientPrefix) -> usize {
        usize::try_from(self.hasher.hash_one(prefix) % SLOTS as u64).expect("it is a small number")
    }

    /// Counts one more of a client.
    ///
    /// # Errors
    ///
    /// It is one too many, of the client or of its /48; the time until there may be another.
    pub fn check(&self, client: IpAddr) -> Result<(), Duration> {
        let prefix = ClientPrefix::of(client);
        // first, so that no /48 fills the slots of all clients
        if let Some(site) = prefix.site() {
            self.check_one(&self.sites, site)?;
        }
        self.check_one(&self.clients, prefix)
    }

    fn check_one(
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
