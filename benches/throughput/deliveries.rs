//! The requests of one connection: each provider's sample in turn, for a new booking each time.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use ticket_webhooks::providers::{PROVIDERS, Provider};

use crate::requests::{Account, NUMBER, Request};

/// The only account that a provider has here.
pub const ACCOUNT: Account = Account { name: "bench", environment: "live" };

/// Gives every delivery of this process a booking of its own; 0 is that of the repeated delivery.
static BOOKINGS: AtomicU64 = AtomicU64::new(1);

/// Endless requests.
pub struct Deliveries {
    requests: Vec<Request>,
    is_repeated: bool,
}

impl Deliveries {
    /// Those of all providers in turn, each for a new booking.
    pub fn new_bookings() -> Self {
        Self { requests: PROVIDERS.iter().map(|provider| request(*provider)).collect(), is_repeated: false }
    }

    /// One and the same delivery again and again.
    pub fn one_and_the_same() -> Self {
        Self { requests: PROVIDERS.iter().take(1).map(|provider| request(*provider)).collect(), is_repeated: true }
    }

    /// The next request.
    pub fn next(&mut self) -> &[u8] {
        self.requests.rotate_left(1);
        let number = if self.is_repeated { 0 } else { BOOKINGS.fetch_add(1, Relaxed) };
        self.requests[0].numbered(number)
    }
}

fn request(provider: &dyn Provider) -> Request {
    Request::sample(provider, ACCOUNT, &format!("BENCH-{NUMBER}"))
}
