//! The secrets that the running service goes by.
//!
//! Invariants: they are those of one configuration, replaced as a whole, and a delivery is judged and redacted by
//! those of the moment in which it began. A credential that was replaced opens nothing any more and is still redacted,
//! for who held it may go on sending it.

use arc_swap::ArcSwap;
use secrecy::{ExposeSecret, SecretString};

use crate::{config::ProviderSettings, credentials::Accounts, providers::Provider, redaction::Redactor};

/// How many replaced credentials are still redacted, the latest ones: looking for each costs every delivery a moment.
const MAX_REPLACED: usize = 32;

/// Those that count now. Reading them takes no lock.
pub type CurrentSecrets = ArcSwap<Secrets>;

/// The secrets of one configuration.
pub struct Secrets {
    /// Of every provider.
    accounts: Vec<(&'static str, Accounts)>,
    /// Knows the credentials that must not be kept, those of every account of every provider: one may turn up in
    /// another's delivery.
    pub redactor: Redactor,
    /// Opens the admin listener.
    pub admin_token: Option<SecretString>,
    /// Those of accounts: the configured ones, and behind them those that were replaced, the latest first.
    known: Vec<SecretString>,
}

impl Secrets {
    /// Those of a configuration that takes the place of the one before, if there was one.
    pub fn new(providers: &[ProviderSettings], admin_token: Option<SecretString>, before: Option<&Self>) -> Self {
        let mut known: Vec<SecretString> = Vec::new();
        for settings in providers {
            for values in &settings.credentials {
                let credentials = settings.provider.credentials().iter().zip(values);
                known
                    .extend(credentials.filter(|(credential, _)| credential.is_secret).map(|(_, value)| value.clone()));
            }
        }
        let is_same = |a: &SecretString, b: &SecretString| a.expose_secret() == b.expose_secret();
        let mut replaced: Vec<SecretString> = Vec::new();
        for old in before.iter().flat_map(|before| &before.known) {
            if !known.iter().chain(&replaced).any(|other| is_same(old, other)) {
                replaced.push(old.clone());
            }
        }
        // those that were configured until now stand before those that were not
        replaced.truncate(MAX_REPLACED);
        known.extend(replaced);
        Self {
            accounts: providers
                .iter()
                .map(|settings| (settings.provider.name(), Accounts::new(settings.accounts.clone())))
                .collect(),
            redactor: Redactor::new(known.iter().chain(&admin_token).cloned()),
            admin_token,
            known,
        }
    }

    /// The providers for which somebody may deliver.
    pub fn routed(&self) -> Vec<&'static str> {
        self.accounts.iter().filter(|(_, accounts)| !accounts.is_empty()).map(|(name, _)| *name).collect()
    }

    /// Who may deliver for a provider; `None` when nobody may.
    pub fn accounts(&self, provider: &dyn Provider) -> Option<&Accounts> {
        let of_provider = self.accounts.iter().find(|(name, _)| *name == provider.name());
        of_provider.map(|(_, accounts)| accounts).filter(|accounts| !accounts.is_empty())
    }
}
