//! The credentials and the admin token of the running service, replaced when the configuration is reloaded.
//!
//! Invariants:
//!
//! - They are those of one configuration and are replaced as a whole. A delivery is authenticated and redacted with those
//!   of the moment in which it began.
//! - A replaced credential authenticates nobody, and is still redacted: its holder may go on sending it.

use arc_swap::ArcSwap;
use secrecy::{ExposeSecret, SecretString};

use crate::{config::ProviderSettings, credentials::Accounts, providers::Provider, redaction::Redactor};

/// How many replaced credentials are still redacted, the latest first: each is searched for in every delivery.
const MAX_REPLACED: usize = 32;

/// Reading it takes no lock.
pub type CurrentSecrets = ArcSwap<Secrets>;

/// The secrets of one configuration.
pub struct Secrets {
    /// By provider; also of those without an account.
    accounts: Vec<(&'static str, Accounts)>,
    /// Redacts the secrets of all providers from every delivery: one may stand in another provider's.
    pub redactor: Redactor,
    pub admin_token: Option<SecretString>,
    /// Secret credentials: the configured ones, then the replaced ones, the latest first.
    redacted: Vec<SecretString>,
}

impl Secrets {
    /// `previous`: those that these replace.
    pub fn new(providers: &[ProviderSettings], admin_token: Option<SecretString>, previous: Option<&Self>) -> Self {
        let mut redacted: Vec<SecretString> = Vec::new();
        for settings in providers {
            for values in &settings.credentials {
                let credentials = settings.provider.credentials().iter().zip(values);
                redacted
                    .extend(credentials.filter(|(credential, _)| credential.is_secret).map(|(_, value)| value.clone()));
            }
        }
        let is_same = |a: &SecretString, b: &SecretString| a.expose_secret() == b.expose_secret();
        let mut replaced: Vec<SecretString> = Vec::new();
        for old in previous.iter().flat_map(|previous| &previous.redacted) {
            if !redacted.iter().chain(&replaced).any(|other| is_same(old, other)) {
                replaced.push(old.clone());
            }
        }
        replaced.truncate(MAX_REPLACED);
        redacted.extend(replaced);
        Self {
            accounts: providers
                .iter()
                .map(|settings| (settings.provider.name(), Accounts::new(settings.accounts.clone())))
                .collect(),
            redactor: Redactor::new(redacted.iter().chain(&admin_token).cloned()),
            admin_token,
            redacted,
        }
    }

    /// The providers that have an account.
    pub fn routed(&self) -> Vec<&'static str> {
        self.accounts.iter().filter(|(_, accounts)| !accounts.is_empty()).map(|(name, _)| *name).collect()
    }

    /// `None` when the provider has no account.
    pub fn accounts(&self, provider: &dyn Provider) -> Option<&Accounts> {
        let of_provider = self.accounts.iter().find(|(name, _)| *name == provider.name());
        of_provider.map(|(_, accounts)| accounts).filter(|accounts| !accounts.is_empty())
    }
}
