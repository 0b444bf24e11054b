//! Places for connections: so many in all, and so many of them for each address.
//!
//! When all are taken, the connection that has waited longest for a request makes room, one that never had any before
//! all others: so strangers who open connections and say nothing, or little, keep nobody out. Trusted proxies are subject
//! to neither. What is at work is never ended; where nobody waits, the newcomer is refused.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ipnet::IpNet;

use super::patience::Visit;
use crate::{
    addresses::{Block, is_in},
    config::ServerSettings,
    telemetry::OnceAMinute,
};

/// Connections beyond the limit while those that were asked to go are about to.
const LEAVING: usize = 64;

/// What connections are allowed.
pub struct Limits {
    connections: usize,
    connections_per_address: usize,
    /// Whose connections are many clients'.
    proxies: Vec<IpNet>,
    /// From the first byte of a head to its last.
    pub(super) head_timeout: Duration,
    /// From the end of one request to the end of the head of the next.
    pub(super) idle_timeout: Duration,
    /// How long a client may leave an answer where it is.
    pub(super) answer_timeout: Duration,
}

impl Limits {
    /// The configured ones.
    pub fn new(settings: &ServerSettings) -> Self {
        Self {
            connections: settings.max_connections,
            connections_per_address: settings.max_connections_per_address,
            proxies: settings.trusted_proxies.clone(),
            head_timeout: settings.head_timeout,
            idle_timeout: settings.idle_timeout,
            answer_timeout: settings.request_timeout,
        }
    }

    /// Whether an address is that of a trusted proxy.
    pub(super) fn is_proxy(&self, peer: IpAddr) -> bool {
        is_in(&self.proxies, peer)
    }
}

/// All places of a listener.
pub struct Places {
    limits: Limits,
    taken: Mutex<Taken>,
    refused: OnceAMinute,
    sent_away: OnceAMinute,
}

#[derive(Default)]
struct Taken {
    /// Proxies have no block.
    visits: HashMap<u64, (Option<Block>, Arc<Visit>)>,
    each: HashMap<Block, usize>,
    last: u64,
}

/// The place of a connection, free again when this is dropped.
pub(super) struct Place {
    places: Arc<Places>,
    number: u64,
    visit: Arc<Visit>,
}

impl Places {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, taken: Mutex::default(), refused: OnceAMinute::default(), sent_away: OnceAMinute::default() }
    }

    /// How many are taken, and how many there are.
    pub fn read(&self) -> (usize, usize) {
        (self.taken().visits.len(), self.limits.connections)
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is none left.
    pub(super) fn are_taken(&self) -> bool {
        self.taken().visits.len() >= self.limits.connections
    }

    /// A place for a connection from this address, or why there is none.
    pub(super) fn take(self: &Arc<Self>, peer: IpAddr) -> Result<Place, &'static str> {
        let place = self.find(peer);
        if let Err(why) = place
            && let Some(times) = self.refused.due()
        {
            let advice = "an address with many clients behind it belongs into server.trusted_proxies";
            tracing::warn!(client.address = %peer, times, why, advice, "connections refused");
        }
        place.map(|(number, visit)| Place { places: Arc::clone(self), number, visit })
    }

    fn find(&self, peer: IpAddr) -> Result<(u64, Arc<Visit>), &'static str> {
        let block = Some(Block::of(peer)).filter(|_| !self.limits.is_proxy(peer));
        let mut taken = self.taken();
        let of_block = block.map(|block| taken.each.get(&block).copied().unwrap_or_default());
        if of_block.is_some_and(|connections| connections >= self.limits.connections_per_address) {
            return Err("too many connections from this address");
        }
        if taken.visits.len() >= self.limits.connections {
            let full = taken.visits.len() >= self.limits.connections + LEAVING;
            let waiting = taken.longest_waiting().filter(|_| !full).ok_or("too many connections")?;
            waiting.end();
            if let Some(times) = self.sent_away.due() {
                tracing::warn!(times, "too many connections: those that waited longest for a request were closed");
            }
        }
        taken.last += 1;
        let (number, visit) = (taken.last, Arc::new(Visit::new()));
        taken.visits.insert(number, (block, Arc::clone(&visit)));
        if let Some(block) = block {
            *taken.each.entry(block).or_default() += 1;
        }
        Ok((number, visit))
    }
}

impl Taken {
    /// The first one to go.
    fn longest_waiting(&self) -> Option<&Visit> {
        let strangers = self.visits.values().filter(|(block, _)| block.is_some());
        let waiting = strangers.filter_map(|(_, visit)| Some((visit.waits_since()?, visit)));
        waiting.min_by_key(|(since, _)| *since).map(|(_, visit)| &**visit)
    }
}

impl Place {
    pub(super) fn limits(&self) -> &Limits {
        &self.places.limits
    }

    pub(super) fn visit(&self) -> &Arc<Visit> {
        &self.visit
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        let block = taken.visits.remove(&self.number).and_then(|(block, _)| block);
        let Some(block) = block else { return };
        if let Some(connections) = taken.each.get_mut(&block) {
            *connections -= 1;
            if *connections == 0 {
                taken.each.remove(&block);
            }
        }
    }
}
