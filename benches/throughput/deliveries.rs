//! The requests of one connection: each provider's sample in turn, for a new booking each time.
//!
//! A request is made once and from then on only the digits of its booking reference change, so that making requests
//! costs the two cores which everything shares next to nothing.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use memchr::memmem;
use ticket_webhooks::providers::{PROVIDERS, Provider};

/// Stands in the samples for the number of a booking: as long as every number that takes its place.
const NUMBER: &str = "000000000000";

/// Gives every delivery of this process a booking of its own; 0 is that of the repeated delivery.
static BOOKINGS: AtomicU64 = AtomicU64::new(1);

/// Endless requests.
pub struct Deliveries {
    requests: Vec<Request>,
    is_repeated: bool,
}

struct Request {
    bytes: Vec<u8>,
    number_at: usize,
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
        let request = &mut self.requests[0];
        if !self.is_repeated {
            let mut rest = BOOKINGS.fetch_add(1, Relaxed);
            for digit in request.bytes[request.number_at..][..NUMBER.len()].iter_mut().rev() {
                *digit = b"0123456789"[(rest % 10) as usize];
                rest /= 10;
            }
        }
        &request.bytes
    }
}

/// The credentials of the only account that a provider has here.
pub fn credentials(provider: &dyn Provider) -> Vec<String> {
    provider.credentials().iter().map(|credential| format!("bench-{}", credential.key.replace('_', "-"))).collect()
}

fn request(provider: &dyn Provider) -> Request {
    let credentials = credentials(provider);
    let credentials: Vec<_> = credentials.iter().map(String::as_str).collect();
    let sample = provider.sample(&credentials, &format!("BENCH-{NUMBER}"));
    let mut head = format!(
        "POST {} HTTP/1.1\r\nhost: webhooks.example.com\r\nuser-agent: bench\r\naccept: */*\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n",
        provider.default_path(),
        sample.body.len()
    );
    for (name, value) in sample.headers {
        head += &format!("{name}: {value}\r\n");
    }
    let bytes = format!("{head}\r\n{}", sample.body).into_bytes();
    let number_at = memmem::find(&bytes, NUMBER.as_bytes()).expect("a sample holds the booking reference it was given");
    Request { bytes, number_at }
}
