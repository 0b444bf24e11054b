//! Limits how much an account may have stored unprocessed in a minute, so that repeated mistakes do not fill the disk.
//!
//! It is for deliveries that are answered with an error: what is answered with a success must be stored. What exceeds the
//! quota is only counted by a metric.
//!
//! Invariant: copies of a body have a quota of their own. In Postgres they only raise a count; in a spool the quota is of the
//! same size as that of distinct bodies.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use compact_str::CompactString;

use crate::delivery::UnprocessedDelivery;

/// Different bodies of an account. A spool takes as many copies of them.
pub const MAX_BODIES_PER_MINUTE: usize = 1000;

/// Bytes of these bodies, and of these copies.
pub const MAX_BYTES_PER_MINUTE: usize = 16 * 1024 * 1024;

/// Deliveries with the same body that a spool takes. Postgres only counts them.
pub const MAX_SAME_BODIES_IN_SPOOL: u32 = 16;

const MINUTE: Duration = Duration::from_mins(1);

/// Where a delivery is to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A repeated body only raises a count.
    Postgres,
    /// A repeated body takes space again: [`MAX_SAME_BODIES_IN_SPOOL`].
    Spool,
}

/// What each account has used. Accounts are those of the configuration, so the map stays small.
#[derive(Default)]
pub struct UnprocessedQuota(Mutex<HashMap<(String, CompactString), Usage>>);

/// What an account has used since the beginning of its minute.
struct Usage {
    since: Instant,
    bodies: Amount,
    copies: Amount,
    /// How often each body was admitted to the spool, or 1 if it was stored in Postgres alone.
    admitted: HashMap<[u8; 32], u32>,
}

#[derive(Default)]
struct Amount {
    deliveries: usize,
    bytes: usize,
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
        let (hash, bytes) = (delivery.body_hash(), delivery.body.len());
        match (usage.admitted.get_mut(&hash), destination) {
            (Some(_), Destination::Postgres) => true,
            (Some(admitted), Destination::Spool) => {
                let is_admitted = *admitted < MAX_SAME_BODIES_IN_SPOOL && usage.copies.try_add(bytes);
                *admitted += u32::from(is_admitted);
                is_admitted
            }
            (None, _) => {
                let is_admitted = usage.bodies.try_add(bytes);
                if is_admitted {
                    usage.admitted.insert(hash, 1);
                }
                is_admitted
            }
        }
    }
}

impl Amount {
    /// Adds a delivery of so many bytes, if it is within the quota. The first of a minute may have any size.
    fn try_add(&mut self, bytes: usize) -> bool {
        let bytes = self.bytes + bytes;
        if self.deliveries >= MAX_BODIES_PER_MINUTE || (bytes > MAX_BYTES_PER_MINUTE && self.deliveries > 0) {
            return false;
        }
        (self.bytes, self.deliveries) = (bytes, self.deliveries + 1);
        true
    }
}

impl Usage {
    fn new() -> Self {
        Self { since: Instant::now(), bodies: Amount::default(), copies: Amount::default(), admitted: HashMap::new() }
    }
}
