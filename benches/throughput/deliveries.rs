//! The requests of one connection: each provider's sample in turn, for a new booking each time.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use ticket_webhooks::providers::{PROVIDERS, Provider, Sample};

use crate::requests::{Account, NUMBER, Request, credentials};

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
    let mut sample = sample(provider);
    let missing = body_bytes.saturating_sub(sample.body.len());
    if missing == 0 {
        return Request::sample(provider, ACCOUNT, &format!("BENCH-{NUMBER}"));
    }
    // a member that no provider's document names: it is kept in the payload
    let words = "Lorem ipsum dolor sit amet, ".repeat(missing / 28 + 1);
    sample.body.insert_str(1, &format!(r#""Note":"{}","#, &words[..missing]));
    Request::of_sample(provider, &sample)
}

fn sample(provider: &dyn Provider) -> Sample {
    let credentials = credentials(provider, ACCOUNT);
    let credentials: Vec<_> = credentials.iter().map(String::as_str).collect();
    provider.sample(&credentials, &format!("BENCH-{NUMBER}"))
}
