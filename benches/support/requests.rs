//! Requests as bytes, made in advance. Only the digits of a number in them change, so that making requests costs hardly
//! any CPU time of the machine that is measured.

use memchr::memmem;
use ticket_webhooks::providers::{Provider, Sample};

/// Placeholder of the changing number, with the same length.
pub const NUMBER: &str = "000000000000";

/// An account of every provider.
#[derive(Clone, Copy)]
pub struct Account {
    pub name: &'static str,
    pub environment: &'static str,
}

/// A request that may contain [`NUMBER`].
#[derive(Clone)]
pub struct Request {
    bytes: Vec<u8>,
    number_at: Option<usize>,
}

impl Request {
    /// The provider's sample for a booking reference, with a body of so many bytes or more.
    pub fn sample(provider: &dyn Provider, account: Account, booking_ref: &str, body_bytes: usize) -> Self {
        let mut sample = sample(provider, account, booking_ref);
        let missing = body_bytes.saturating_sub(sample.body.len());
        if missing > 0 {
            // a member that no provider's document names: it is kept in the payload
            let words = "Lorem ipsum dolor sit amet, ".repeat(missing / 28 + 1);
            sample.body.insert_str(1, &format!(r#""Note":"{}","#, &words[..missing]));
        }
        let headers: Vec<_> = sample.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Self::post(&provider.default_path(), &headers, sample.body.as_bytes())
    }

    pub fn post(path: &str, headers: &[(&str, &str)], body: &[u8]) -> Self {
        let mut head = format!(
            "POST {path} HTTP/1.1\r\nhost: webhooks.example.com\r\nuser-agent: bench\r\naccept: */*\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n",
            body.len()
        );
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        let bytes = [head.as_bytes(), body].concat();
        Self { number_at: memmem::find(&bytes, NUMBER.as_bytes()), bytes }
    }

    /// The request with [`NUMBER`], if it has one, replaced.
    pub fn numbered(&mut self, number: u64) -> &[u8] {
        if let Some(at) = self.number_at {
            let mut rest = number;
            for digit in self.bytes[at..][..NUMBER.len()].iter_mut().rev() {
                *digit = b"0123456789"[(rest % 10) as usize];
                rest /= 10;
            }
        }
        &self.bytes
    }
}

/// The provider's sample for a booking reference.
pub fn sample(provider: &dyn Provider, account: Account, booking_ref: &str) -> Sample {
    let credentials = credentials(provider, account);
    let credentials: Vec<_> = credentials.iter().map(String::as_str).collect();
    provider.sample(&credentials, booking_ref)
}

/// The secrets of an account, in the order of the provider's credentials.
pub fn credentials(provider: &dyn Provider, account: Account) -> Vec<String> {
    let keys = provider.credentials().iter().map(|credential| credential.key.replace('_', "-"));
    keys.map(|key| format!("{}-{key}", account.name)).collect()
}
