//! The accounts of a provider, and the verification of presented credentials.
//!
//! Invariants:
//! - verification takes the same time whichever account or byte is wrong: presented credentials are hashed (which hides
//!   their lengths) and compared with those of every account in constant time;
//! - only successful verification makes a `Verified`, which a `Payload` requires; an unprocessed delivery was verified before
//!   it was stored.

use std::{borrow::Cow, fmt, sync::Arc};

use compact_str::CompactString;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use crate::{delivery::UnprocessedDelivery, ticket_event::Environment};

/// The credentials of a delivery, in the order of [`Provider::credentials`](crate::providers::Provider::credentials).
pub type Presented<'a> = Vec<Cow<'a, str>>;

/// Why a delivery is not authenticated. Logged only: the reply is the same for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthenticationFailure {
    Missing,
    /// A credential is neither a string nor a number, or its header has another scheme or occurs more than once.
    Malformed,
    Wrong,
    AddressNotAllowed,
}

impl AuthenticationFailure {
    /// The log key `reason`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Wrong => "wrong",
            Self::AddressNotAllowed => "address_not_allowed",
        }
    }
}

/// One set of credentials of a provider.
#[derive(Clone)]
pub struct Account {
    /// As in the configuration.
    pub name: CompactString,
    pub environment: Environment,
    digest: Digest,
}

impl Account {
    /// `credentials` are in the order of [`Provider::credentials`](crate::providers::Provider::credentials).
    pub fn new<'a>(
        name: impl Into<CompactString>,
        environment: Environment,
        credentials: impl IntoIterator<Item = &'a SecretString>,
    ) -> Self {
        let digest = Digest::of(credentials.into_iter().map(ExposeSecret::expose_secret));
        Self { name: name.into(), environment, digest }
    }

    pub fn has_credentials_of(&self, other: &Self) -> bool {
        self.digest.is(&other.digest)
    }
}

/// Nobody's: no credentials match it, as it is in no list.
impl Default for Account {
    fn default() -> Self {
        Self::new("", Environment::Test, [])
    }
}

impl fmt::Debug for Accounts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Accounts").field(&self.accounts).finish()
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Account")
            .field("name", &self.name)
            .field("environment", &self.environment)
            .finish_non_exhaustive()
    }
}

/// The accounts of one provider; to rotate a secret, several are valid at once.
#[derive(Clone, Default)]
pub struct Accounts {
    accounts: Vec<Arc<Account>>,
    /// Cloned in place of the account that does not match, so that a match takes no longer.
    nobody: Arc<Account>,
}

/// The proof that a delivery presented the credentials of an account.
#[derive(Clone, Debug)]
pub struct Verified {
    account: Arc<Account>,
}

impl Accounts {
    pub fn new(accounts: Vec<Account>) -> Self {
        Self { accounts: accounts.into_iter().map(Arc::new).collect(), nobody: Arc::default() }
    }

    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    /// As in the configuration, with the environment of each.
    pub fn names(&self) -> impl Iterator<Item = (String, Environment)> {
        self.accounts.iter().map(|account| (account.name.to_string(), account.environment))
    }

    /// Presenting no credentials takes as long as presenting wrong ones.
    ///
    /// # Errors
    ///
    /// `presented` is an error, or no account has these credentials.
    pub fn verify(
        &self,
        presented: Result<Presented<'_>, AuthenticationFailure>,
    ) -> Result<Verified, AuthenticationFailure> {
        let is_presented = Choice::from(u8::from(presented.is_ok()));
        let digest = Digest::of(presented.iter().flatten().map(Cow::as_ref));
        let mut matched = u32::MAX;
        for (index, account) in (0_u32..).zip(&self.accounts) {
            matched.conditional_assign(&index, account.digest.0.ct_eq(&digest.0) & is_presented);
        }
        let account = self.accounts.get(matched as usize);
        let is_match = account.is_some();
        let account = Arc::clone(account.unwrap_or(&self.nobody));
        let failure = presented.err().unwrap_or(AuthenticationFailure::Wrong);
        if is_match { Ok(Verified { account }) } else { Err(failure) }
    }
}

impl Verified {
    /// Of a delivery that was authenticated before it was stored. Its account may be gone from the configuration since.
    pub fn of_unprocessed(delivery: &UnprocessedDelivery) -> Self {
        Self { account: Arc::new(Account::new(delivery.account.clone(), delivery.environment, [])) }
    }

    pub fn account(&self) -> &Account {
        &self.account
    }
}

/// A hash that is compared in place of secrets: its length is fixed, and a matching prefix reveals nothing of a secret.
#[derive(Clone, Copy)]
pub struct Digest([u8; 32]);

impl Digest {
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            // the length prefix distinguishes ("ab", "c") from ("a", "bc")
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Self(hasher.finalize().into())
    }

    /// Compares in constant time.
    pub fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(name: &str, credentials: [&str; 2]) -> Account {
        Account::new(name, Environment::Live, &credentials.map(SecretString::from))
    }

    fn verified(accounts: &Accounts, presented: &[&'static str]) -> Option<String> {
        let presented = presented.iter().map(|part| Cow::Borrowed(*part)).collect();
        accounts.verify(Ok(presented)).ok().map(|verified| verified.account().name.to_string())
    }

    #[test]
    fn each_account_is_found_by_all_its_credentials_and_by_nothing_else() {
        let accounts = Accounts::new(vec![account("old", ["u", "secret"]), account("new", ["u", "Secret"])]);
        assert_eq!(verified(&accounts, &["u", "secret"]).as_deref(), Some("old"));
        assert_eq!(verified(&accounts, &["u", "Secret"]).as_deref(), Some("new"));
        for wrong in [&["u", "SECRET"][..], &["us", "ecret"], &["u"], &["u", "secret", ""], &["u", "secret "], &[]] {
            assert_eq!(verified(&accounts, wrong), None, "{wrong:?}");
        }
        let failure = |accounts: &Accounts, presented| accounts.verify(presented).unwrap_err();
        assert_eq!(failure(&accounts, Err(AuthenticationFailure::Missing)), AuthenticationFailure::Missing);
        assert_eq!(failure(&Accounts::default(), Ok(vec![])), AuthenticationFailure::Wrong);
    }

    #[test]
    fn an_account_shows_no_credential() {
        let shown = format!("{:?}", Accounts::new(vec![account("old", ["u", "hunter2"])]));
        assert_eq!(shown, r#"Accounts([Account { name: "old", environment: Live, .. }])"#);
    }
}
