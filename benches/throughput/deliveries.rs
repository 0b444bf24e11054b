//! The requests of one connection: each provider's sample in turn, for a new booking each time.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use ticket_webhooks::providers::{PROVIDERS, Provider};

use crate::requests::{Account, NUMBER, Request};

/// The only account of each provider.
pub const ACCOUNT: Account = Account { name: "bench", environment: "live" };

/// Number of the next booking; 0 belongs to the repeated delivery.
static BOOKINGS: AtomicU64 = AtomicU64::new(1);

/// An endless sequence of requests.
pub struct Deliveries {
    requests: Vec<Request>,
    is_repeated: bool,
}

impl Deliveries {
    /// Samples of all providers in turn, each for a new booking, with bodies of so many bytes or more.
    pub fn new_bookings(body_bytes: usize) -> Self {
        Self { requests: PROVIDERS.iter().map(|provider| request(*provider, body_bytes)).collect(), is_repeated: false }
    }

    /// The same delivery every time.
    pub fn one_and_the_same() -> Self {
        Self { requests: PROVIDERS.iter().take(1).map(|provider| request(*provider, 0)).collect(), is_repeated: true }
    }

    pub fn next(&mut self) -> &[u8] {
        self.requests.rotate_left(1);
        let number = if self.is_repeated { 0 } else { BOOKINGS.fetch_add(1, Relaxed) };
        self.requests[0].numbered(number)
    }
}

fn request(provider: &dyn Provider, body_bytes: usize) -> Request {
    Request::sample(provider, ACCOUNT, &format!("BENCH-{NUMBER}"), body_bytes)
}
