//! Permits for the connections of a listener: in all, and per client address.
//!
//! hyper has no limit for connections (hyperium/hyper#2640), and one that only counts them (tokio-rs/axum#3489) lets idle
//! or slow strangers keep everybody out: a full listener evicts.
//!
//! Invariants:
//! - When all permits are taken, the connection of the lowest [`Rank`] is evicted. Where none can be, the new one is
//!   refused.
//! - Idle connections of a trusted proxy are not evicted, and it has no limit per address. What it owes counts like
//!   anybody's: a proxy that does not buffer bodies passes its clients' slowness on.
//! - A connection that is answered or refused, and whose body is only discarded, holds no connection permit; their number
//!   has a limit of its own.

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

/// How long a new connection waits for an evicted one to close.
const EVICTION_TIMEOUT: Duration = Duration::from_millis(100);

/// The permits of a listener.
pub struct ConnectionLimiter {
    limits: Limits,
    open: Mutex<Open>,
    /// Notified when a permit is freed while there were none.
    permit_freed: Notify,
    metrics: ConnectionMetrics,
    refused: RateLimitedWarning,
    evicted: RateLimitedWarning,
}

#[derive(Default)]
struct Open {
    /// With a permit, by number. An exempt proxy has no prefix.
    connections: HashMap<u64, (Option<ClientPrefix>, Arc<ConnectionState>)>,
    /// Without a connection permit: see [`ConnectionPermit::release_early`]. A refused one has no prefix.
    discarding: HashMap<u64, Option<ClientPrefix>>,
    /// Connections by address, /64 and /48; with and without a permit.
    per_prefix: HashMap<ClientPrefix, usize>,
    last_number: u64,
}

/// The permit of a connection, freed on drop.
pub(super) struct ConnectionPermit {
    limiter: Arc<ConnectionLimiter>,
    number: u64,
    state: Arc<ConnectionState>,
}

/// Lets a refused connection stay for a moment; freed on drop.
pub(super) struct LingerPermit {
    limiter: Arc<ConnectionLimiter>,
    number: u64,
}

/// Why there is no permit.
enum Refusal {
    /// There is one once an evicted connection has closed.
    AwaitEviction,
    Final(&'static str),
}

impl ConnectionLimiter {
    pub(super) fn new(limits: Limits, metrics: ConnectionMetrics) -> Self {
        Self {
            limits,
            open: Mutex::default(),
            permit_freed: Notify::new(),
            metrics,
            refused: RateLimitedWarning::default(),
            evicted: RateLimitedWarning::default(),
        }
    }

    /// Permits in use, and the limit.
    pub fn usage(&self) -> (usize, usize) {
        (self.open().connections.len(), self.limits.max_connections)
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// # Errors
    ///
    /// The reason for the client.
    pub(super) async fn acquire(self: &Arc<Self>, peer: IpAddr) -> Result<ConnectionPermit, &'static str> {
        let mut permit = self.try_acquire(peer);
        if matches!(permit, Err(Refusal::AwaitEviction)) {
            let _ = timeout(EVICTION_TIMEOUT, async {
                while matches!(permit, Err(Refusal::AwaitEviction)) {
                    self.permit_freed.notified().await;
                    permit = self.try_acquire(peer);
                }
            })
            .await;
        }
        permit.map_err(|refusal| self.refuse(peer, &refusal))
    }

    /// For a connection that is refused. `None` once half of the connections that may discard a body do so: the answers of the
    /// others are worth more.
    pub(super) fn try_linger(self: &Arc<Self>) -> Option<LingerPermit> {
        let mut open = self.open();
        if open.discarding.len() >= self.limits.max_discarding() / 2 {
            return None;
        }
        open.last_number += 1;
        let number = open.last_number;
        open.discarding.insert(number, None);
        Some(LingerPermit { limiter: Arc::clone(self), number })
    }

    /// For when open files run short in spite of the limit.
    pub(super) fn evict_one(&self) {
        let victim = self.open().eviction_candidate(&self.limits).cloned();
        if let Some(victim) = victim {
            self.evict(&victim);
        }
    }

    fn try_acquire(self: &Arc<Self>, peer: IpAddr) -> Result<ConnectionPermit, Refusal> {
        let is_exempt = self.limits.exempts_trusted_proxies && self.limits.is_trusted_proxy(peer);
        let prefix = Some(ClientPrefix::of(peer)).filter(|_| !is_exempt);
        let mut open = self.open();
        if prefix.is_some_and(|prefix| open.is_over_limit(prefix, &self.limits)) {
            return Err(Refusal::Final("too many connections from this address"));
        }
        if open.connections.len() >= self.limits.max_connections {
            let victim = open.eviction_candidate(&self.limits);
            // enough evicted connections are still closing
            if open.connections.len() >= self.limits.max_connections + self.limits.eviction_overshoot() {
                return Err(Refusal::AwaitEviction);
            }
            let victim = Arc::clone(victim.ok_or(Refusal::Final("too many connections"))?);
            self.evict(&victim);
        }
        open.last_number += 1;
        let (number, state) = (open.last_number, Arc::new(ConnectionState::new()));
        open.connections.insert(number, (prefix, Arc::clone(&state)));
        for prefix in prefix.iter().flat_map(ClientPrefix::with_site) {
            *open.per_prefix.entry(prefix).or_default() += 1;
        }
        Ok(ConnectionPermit { limiter: Arc::clone(self), number, state })
    }

    fn evict(&self, victim: &ConnectionState) {
        victim.evict();
        self.metrics.evicted.inc();
        if let Some(count) = self.evicted.due() {
            let listener = self.limits.listener;
            tracing::warn!(listener, count, "too many connections: slow or idle ones were closed");
        }
    }

    fn refuse(&self, peer: IpAddr, refusal: &Refusal) -> &'static str {
        let reason = match refusal {
            Refusal::AwaitEviction => "too many connections",
            Refusal::Final(reason) => reason,
        };
        self.metrics.refused.inc();
        if let Some(count) = self.refused.due() {
            let advice = "add an address with many clients behind it to server.trusted_proxies";
            let listener = self.limits.listener;
            tracing::warn!(client.address = %peer, listener, count, reason, advice, "connections refused");
        }
        reason
    }
}

impl Open {
    fn is_over_limit(&self, prefix: ClientPrefix, limits: &Limits) -> bool {
        let open = |prefix| self.per_prefix.get(&prefix).copied().unwrap_or_default();
        open(prefix) >= limits.max_per_address || prefix.site().is_some_and(|site| open(site) >= limits.max_per_site)
    }

    fn eviction_candidate(&self, limits: &Limits) -> Option<&Arc<ConnectionState>> {
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

    /// Gives the permit back while the connection goes on for a moment to discard an unread body. `false` when too many
    /// connections do so already.
    pub(super) fn release_early(&self) -> bool {
        let mut open = self.limiter.open();
        if open.discarding.len() >= self.limiter.limits.max_discarding() {
            return false;
        }
        if let Some((prefix, _)) = open.connections.remove(&self.number) {
            open.discarding.insert(self.number, prefix);
        }
        drop(open);
        self.limiter.permit_freed.notify_one();
        true
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut open = self.limiter.open();
        let was_short = open.connections.len() >= self.limiter.limits.max_connections;
        let prefix = match open.connections.remove(&self.number) {
            Some((prefix, _)) => prefix,
            None => open.discarding.remove(&self.number).flatten(),
        };
        for prefix in prefix.iter().flat_map(ClientPrefix::with_site) {
            if let Some(connections) = open.per_prefix.get_mut(&prefix) {
                *connections -= 1;
                if *connections == 0 {
                    open.per_prefix.remove(&prefix);
                }
            }
        }
        drop(open);
        if was_short {
            self.limiter.permit_freed.notify_one();
        }
    }
}

impl Drop for LingerPermit {
    fn drop(&mut self) {
        self.limiter.open().discarding.remove(&self.number);
    }
}
