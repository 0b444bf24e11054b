//! How much of what is answered with an error is kept for each account: nobody who repeats a mistake fills the disk.
//!
//! The same body again costs nothing where only its count rises. Beyond the allowance of a minute, what is new is counted
//! by a metric and not kept.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use compact_str::CompactString;

use crate::delivery::UnprocessedDelivery;

/// Different bodies of an account, a minute.
pub const DELIVERIES_A_MINUTE: usize = 1000;

/// Their bytes.
pub const BYTES_A_MINUTE: usize = 16 * 1024 * 1024;

const MINUTE: Duration = Duration::from_mins(1);

/// Where a delivery is going to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeper {
    /// In Postgres, where the same body raises a count.
    Postgres,
    /// In the spool, where each takes room.
    Spool,
}

/// What all accounts have kept. They are few: each is one of the configuration.
#[derive(Default)]
pub struct Allowance(Mutex<HashMap<(String, CompactString), Kept>>);

/// What an account has kept since this moment.
struct Kept {
    since: Instant,
    bytes: usize,
    deliveries: usize,
    bodies: HashSet<[u8; 32]>,
}

impl Allowance {
    /// Whether a delivery that is answered with an error is kept there.
    pub fn admits(&self, delivery: &UnprocessedDelivery, keeper: Keeper) -> bool {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let account = (delivery.provider.clone(), delivery.account.clone());
        let kept = accounts.entry(account).or_insert_with(Kept::nothing);
        if kept.since.elapsed() >= MINUTE {
            *kept = Kept::nothing();
        }
        let hash = delivery.body_hash();
        if keeper == Keeper::Postgres && kept.bodies.contains(&hash) {
            return true;
        }
        let bytes = kept.bytes + delivery.body.len();
        // a single one may be as large as it likes
        if kept.deliveries >= DELIVERIES_A_MINUTE || (bytes > BYTES_A_MINUTE && kept.deliveries > 0) {
            return false;
        }
        kept.bodies.insert(hash);
        (kept.bytes, kept.deliveries) = (bytes, kept.deliveries + 1);
        true
    }
}

impl Kept {
    fn nothing() -> Self {
        Self { since: Instant::now(), bytes: 0, deliveries: 0, bodies: HashSet::new() }
    }
}
