//! Limits how much an account may have stored unprocessed in a minute, so that repeated mistakes do not fill the disk.
//!
//! It is for deliveries that are answered with an error: what is answered with a success must be stored. What exceeds the
//! quota is only counted by a metric.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use compact_str::CompactString;

use crate::delivery::UnprocessedDelivery;

/// Different bodies of an account; in a spool every delivery counts.
pub const MAX_BODIES_PER_MINUTE: usize = 1000;

/// Bytes of these bodies.
pub const MAX_BYTES_PER_MINUTE: usize = 16 * 1024 * 1024;

const MINUTE: Duration = Duration::from_mins(1);

/// Where a delivery is to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A repeated body only raises a count.
    Postgres,
    /// A repeated body takes space again.
    Spool,
}

/// What each account has used. Accounts are those of the configuration, so the map stays small.
#[derive(Default)]
pub struct UnprocessedQuota(Mutex<HashMap<(String, CompactString), Usage>>);

/// What an account has used since the beginning of its minute.
struct Usage {
    since: Instant,
    bytes: usize,
    deliveries: usize,
    body_hashes: HashSet<[u8; 32]>,
}

impl UnprocessedQuota {
    /// Whether the delivery may be stored there; if so, it counts.
    pub fn try_consume(&self, delivery: &UnprocessedDelivery, destination: Destination) -> bool {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let account = (delivery.provider.clone(), delivery.account.clone());
        let usage = accounts.entry(account).or_insert_with(Usage::new);
        if usage.since.elapsed() >= MINUTE {
            *usage = Usage::new();
        }
        let hash = delivery.body_hash();
        if destination == Destination::Postgres && usage.body_hashes.contains(&hash) {
            return true;
        }
        let bytes = usage.bytes + delivery.body.len();
        // the first delivery of a minute may have any size
        if usage.deliveries >= MAX_BODIES_PER_MINUTE || (bytes > MAX_BYTES_PER_MINUTE && usage.deliveries > 0) {
            return false;
        }
        usage.body_hashes.insert(hash);
        (usage.bytes, usage.deliveries) = (bytes, usage.deliveries + 1);
        true
    }
}

impl Usage {
    fn new() -> Self {
        Self { since: Instant::now(), bytes: 0, deliveries: 0, body_hashes: HashSet::new() }
    }
}
