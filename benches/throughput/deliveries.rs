//! The requests of one connection: each provider's sample in turn, for a new booking each time.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use ticket_webhooks::providers::{PROVIDERS, Provider};

use crate::requests::{Account, NUMBER, Request};

/// The only account of each provider.
pub const ACCOUNT: Account = Account { name: "bench", environment: "live" };

/// How many numbers there are.
pub const NUMBERS: u64 = 10_u64.pow(NUMBER.len() as u32);

/// Number of the next booking; 0 belongs to the repeated delivery.
static BOOKINGS: AtomicU64 = AtomicU64::new(1);

/// An endless sequence of requests.
pub struct Deliveries {
    requests: Vec<Request>,
    next_number: fn() -> u64,
}

impl Deliveries {
    /// Samples of all providers in turn, each for a new booking, with bodies of so many bytes or more.
    pub fn new_bookings(body_bytes: usize) -> Self {
        Self::of(PROVIDERS.iter().map(|provider| request(*provider, body_bytes)).collect(), next_number)
    }

    /// The same with references that do not ascend, as those of a provider that does not count its bookings.
    pub fn scattered_bookings() -> Self {
        let requests = PROVIDERS.iter().map(|provider| request(*provider, 0)).collect();
        Self::of(requests, || scattered(next_number()) % NUMBERS)
    }

    /// The same delivery every time.
    pub fn one_and_the_same() -> Self {
        Self::of(PROVIDERS.iter().take(1).map(|provider| request(*provider, 0)).collect(), || 0)
    }

    /// These in turn, each with the next number.
    pub fn of(requests: Vec<Request>, next_number: fn() -> u64) -> Self {
        Self { requests, next_number }
    }

    pub fn next(&mut self) -> &[u8] {
        self.requests.rotate_left(1);
        let number = (self.next_number)();
        self.requests[0].numbered(number)
    }
}

/// One that was not used before.
pub fn next_number() -> u64 {
    BOOKINGS.fetch_add(1, Relaxed)
}

/// A number that depends on this one as if by chance (`SplitMix64`).
fn scattered(number: u64) -> u64 {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn request(provider: &dyn Provider, body_bytes: usize) -> Request {
    Request::sample(provider, ACCOUNT, &format!("BENCH-{NUMBER}"), body_bytes)
}
