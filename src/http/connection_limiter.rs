//! Permits for connections: so many in all, and so many of them for each address.
//!
//! When all are taken, one connection makes room: see [`Rank`] for the order. Strangers who open connections and say
//! nothing, or deliver slowly what they announced, therefore keep nobody out. A trusted proxy's idle connections stay, and
//! it has as many as there are; what it owes is treated like anybody's, for a proxy that does not wait for bodies passes
//! its clients' slowness on. Where nobody can go, the newcomer is refused.
//!
//! A connection whose request is answered and whose body is only discarded has given its permit back. Of these there is a
//! number of their own.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{sync::Notify, time::timeout};

use super::{
    connection_state::{ConnectionState, Rank},
    limits::Limits,
};
use crate::{addresses::ClientPrefix, metrics::ConnectionMetrics, telemetry::RateLimitedWarning};

/// How long a newcomer waits for one that has to make room: it needs a moment to go.
const ROOM_WAIT: Duration = Duration::from_millis(100);

/// All permits of a listener.
pub struct ConnectionLimiter {
    limits: Limits,
    open: Mutex<Open>,
    /// One has gone while they were short.
    gone: Notify,
    metrics: ConnectionMetrics,
    refused: RateLimitedWarning,
    evicted: RateLimitedWarning,
}

#[derive(Default)]
struct Open {
    /// Proxies that are spared have no prefix.
    connections: HashMap<u64, (Option<ClientPrefix>, Arc<ConnectionState>)>,
    /// Those without a permit.
    lingering: HashMap<u64, Option<ClientPrefix>>,
    /// By address, /64 and /48.
    each: HashMap<ClientPrefix, usize>,
    last: u64,
}

/// The permit of a connection, free again when this is dropped.
pub(super) struct ConnectionPermit {
    limiter: Arc<ConnectionLimiter>,
    number: u64,
    state: Arc<ConnectionState>,
}

/// Why there is no permit.
enum Refusal {
    /// There is one as soon as those that make room have gone.
    Leaving,
    /// There is none.
    Final(&'static str),
}

impl ConnectionLimiter {
    pub(super) fn new(limits: Limits, metrics: ConnectionMetrics) -> Self {
        Self {
            limits,
            open: Mutex::default(),
            gone: Notify::new(),
            metrics,
            refused: RateLimitedWarning::default(),
            evicted: RateLimitedWarning::default(),
        }
    }

    /// How many permits are taken, and how many there are.
    pub fn read(&self) -> (usize, usize) {
        (self.open().connections.len(), self.limits.connections)
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A permit for a connection from this address, or why there is none.
    pub(super) async fn acquire(self: &Arc<Self>, peer: IpAddr) -> Result<ConnectionPermit, &'static str> {
        let mut found = self.find(peer);
        if matches!(found, Err(Refusal::Leaving)) {
            let _ = timeout(ROOM_WAIT, async {
                while matches!(found, Err(Refusal::Leaving)) {
                    self.gone.notified().await;
                    found = self.find(peer);
                }
            })
            .await;
        }
        found.map_err(|refusal| self.refuse(peer, &refusal))
    }

    /// Has one connection go where files run short in spite of the limit.
    pub(super) fn make_room(&self) {
        let victim = self.open().next_to_go(&self.limits).cloned();
        if let Some(victim) = victim {
            self.evict(&victim);
        }
    }

    fn find(self: &Arc<Self>, peer: IpAddr) -> Result<ConnectionPermit, Refusal> {
        let is_spared = self.limits.spares_proxies && self.limits.is_proxy(peer);
        let prefix = Some(ClientPrefix::of(peer)).filter(|_| !is_spared);
        let mut open = self.open();
        if prefix.is_some_and(|prefix| open.is_over(prefix, &self.limits)) {
            return Err(Refusal::Final("too many connections from this address"));
        }
        if open.connections.len() >= self.limits.connections {
            let victim = open.next_to_go(&self.limits);
            // those that were asked to go before have not all gone yet
            if open.connections.len() >= self.limits.connections + self.limits.leaving() {
                return Err(Refusal::Leaving);
            }
            let victim = Arc::clone(victim.ok_or(Refusal::Final("too many connections"))?);
            self.evict(&victim);
        }
        open.last += 1;
        let (number, state) = (open.last, Arc::new(ConnectionState::new()));
        open.connections.insert(number, (prefix, Arc::clone(&state)));
        for prefix in prefix.iter().flat_map(ClientPrefix::all) {
            *open.each.entry(prefix).or_default() += 1;
        }
        Ok(ConnectionPermit { limiter: Arc::clone(self), number, state })
    }

    fn evict(&self, victim: &ConnectionState) {
        victim.evict();
        self.metrics.evicted.inc();
        if let Some(times) = self.evicted.due() {
            let listener = self.limits.listener;
            tracing::warn!(listener, times, "too many connections: the slowest ones, or idle ones, were closed");
        }
    }

    fn refuse(&self, peer: IpAddr, refusal: &Refusal) -> &'static str {
        let why = match refusal {
            Refusal::Leaving => "too many connections",
            Refusal::Final(why) => why,
        };
        self.metrics.refused.inc();
        if let Some(times) = self.refused.due() {
            let advice = "an address with many clients behind it belongs into server.trusted_proxies";
            let listener = self.limits.listener;
            tracing::warn!(client.address = %peer, listener, times, why, advice, "connections refused");
        }
        why
    }
}

impl Open {
    /// Whether an address, or its network, has all that it may have.
    fn is_over(&self, prefix: ClientPrefix, limits: &Limits) -> bool {
        let has = |prefix| self.each.get(&prefix).copied().unwrap_or_default();
        has(prefix) >= limits.connections_per_address
            || prefix.site().is_some_and(|site| has(site) >= limits.connections_per_site)
    }

    /// The first one to go.
    fn next_to_go(&self, limits: &Limits) -> Option<&Arc<ConnectionState>> {
        let now = Instant::now();
        let ranked = self.connections.values().filter_map(|(prefix, state)| {
            let rank: Rank = state.rank(now, limits.min_rate, prefix.is_none())?;
            Some((rank, state))
        });
        ranked.min_by_key(|(rank, _)| *rank).map(|(_, state)| state)
    }
}

impl ConnectionPermit {
    pub(super) fn limits(&self) -> &Limits {
        &self.limiter.limits
    }

    pub(super) fn state(&self) -> &Arc<ConnectionState> {
        &self.state
    }

    /// Gives the permit back while the connection goes on for a moment, to discard what was not read. `false` when there
    /// are too many of these already.
    pub(super) fn linger(&self) -> bool {
        let mut open = self.limiter.open();
        if open.lingering.len() >= self.limiter.limits.lingering() {
            return false;
        }
        if let Some((prefix, _)) = open.connections.remove(&self.number) {
            open.lingering.insert(self.number, prefix);
        }
        drop(open);
        self.limiter.gone.notify_one();
        true
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut open = self.limiter.open();
        let was_short = open.connections.len() >= self.limiter.limits.connections;
        let prefix = match open.connections.remove(&self.number) {
            Some((prefix, _)) => prefix,
            None => open.lingering.remove(&self.number).flatten(),
        };
        for prefix in prefix.iter().flat_map(ClientPrefix::all) {
            if let Some(connections) = open.each.get_mut(&prefix) {
                *connections -= 1;
                if *connections == 0 {
                    open.each.remove(&prefix);
                }
            }
        }
        drop(open);
        if was_short {
            self.limiter.gone.notify_one();
        }
    }
}
