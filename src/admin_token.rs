//! The admin token: what authenticates a program at the API, and a person at the console.
//!
//! Invariant: guesses are throttled for each client, wherever they are made. The right token always passes.

use std::{net::IpAddr, num::NonZeroU32, sync::Arc, time::Duration};

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, zeroize::Zeroizing};
use sha2::Sha256;

use crate::{
    addresses::{ClientLimiter, ClientPrefix},
    credentials::Digest,
    metrics::Metrics,
    secrets::CurrentSecrets,
};

/// For each client (see [`ClientLimiter`]). Failures beyond it are answered 429 and not logged.
const MAX_FAILURES_PER_MINUTE: NonZeroU32 = NonZeroU32::new(10).expect("10 is not 0");

/// The token of the configuration, and who failed to give it.
pub struct AdminToken {
    secrets: Arc<CurrentSecrets>,
    metrics: Arc<Metrics>,
    failures: ClientLimiter,
}

impl AdminToken {
    pub fn new(secrets: Arc<CurrentSecrets>, metrics: Arc<Metrics>) -> Self {
        Self { secrets, metrics, failures: ClientLimiter::new(MAX_FAILURES_PER_MINUTE) }
    }

    pub fn is_configured(&self) -> bool {
        self.secrets.load().admin_token.is_some()
    }

    /// Compared in constant time. Without a token in the configuration nothing is right.
    pub fn is(&self, presented: &str) -> bool {
        let secrets = self.secrets.load();
        let token = secrets.admin_token.as_ref().map(|token| Digest::of([token.expose_secret()]));
        token.is_some_and(|token| token.is(&Digest::of([presented])))
    }

    /// Counts and logs a token that was missing or wrong.
    ///
    /// # Errors
    ///
    /// The client has failed too often: the time to wait.
    pub fn count_failure(&self, client: IpAddr) -> Result<(), Duration> {
        self.metrics.admin_authentication_failures.inc();
        self.failures.check(client)?;
        tracing::warn!(client.address = %ClientPrefix::of(client), "the admin token was missing or wrong");
        Ok(())
    }

    /// A key for a purpose, the same in every replica and another one once the token is replaced. `None` without a token.
    pub fn derive_key(&self, purpose: &str) -> Option<Zeroizing<[u8; 32]>> {
        let secrets = self.secrets.load();
        let token = secrets.admin_token.as_ref()?.expose_secret();
        let mut mac = Hmac::<Sha256>::new_from_slice(token.as_bytes()).expect("a key of any length is accepted");
        mac.update(purpose.as_bytes());
        Some(Zeroizing::new(mac.finalize().into_bytes().into()))
    }
}
