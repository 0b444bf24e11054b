//! Who may deliver: the accounts of a provider, and the check of what a delivery presents.
//!
//! A check takes the same time whichever account or byte is wrong: what is presented is hashed (so that lengths do not
//! show), and the hash is compared with that of every account in constant time. Passing it is the only way to a
//! [`Verified`], and without one no payload can be made: see [`crate::payload::Payload`].

use std::{borrow::Cow, fmt};

use compact_str::CompactString;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use crate::ticket_event::Environment;

/// The credentials that a delivery presents, in the order of the provider's credential keys.
pub type Presented<'a> = Vec<Cow<'a, str>>;

/// Why a delivery is not authenticated. It is logged; whoever sent it is told nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthenticationFailure {
    /// A credential is not there.
    Missing,
    /// A credential is neither a string nor a number, or its header is no `Bearer` or there more than once.
    Malformed,
    /// No account has these credentials.
    Wrong,
    /// It comes from a network that is not allowed.
    AddressNotAllowed,
}

impl AuthenticationFailure {
    /// The word in the logs.
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
    /// The name in the configuration.
    pub name: CompactString,
    /// What its deliveries stand for.
    pub environment: Environment,
    digest: Digest,
}

impl Account {
    /// An account with these credentials, in the order of the provider's credential keys.
    pub fn new<'a>(
        name: impl Into<CompactString>,
        environment: Environment,
        credentials: impl IntoIterator<Item = &'a SecretString>,
    ) -> Self {
        let digest = Digest::of(credentials.into_iter().map(ExposeSecret::expose_secret));
        Self { name: name.into(), environment, digest }
    }

    /// Whether another account has the same credentials.
    pub fn has_credentials_of(&self, other: &Self) -> bool {
        self.digest.is(&other.digest)
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

/// The accounts of one provider; several at once is how a secret is rotated.
#[derive(Clone, Debug, Default)]
pub struct Accounts(Vec<Account>);

/// The proof that a delivery carried the credentials of an account.
#[derive(Clone, Copy, Debug)]
pub struct Verified<'a> {
    account: &'a Account,
}

impl Accounts {
    /// All accounts of a provider.
    pub fn new(accounts: Vec<Account>) -> Self {
        Self(accounts)
    }

    /// Whether nobody may deliver.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The account with these credentials. Nothing presented takes as long as anything else that is wrong.
    ///
    /// # Errors
    ///
    /// Nothing was presented, or no account has it.
    pub fn verify(
        &self,
        presented: Result<Presented<'_>, AuthenticationFailure>,
    ) -> Result<Verified<'_>, AuthenticationFailure> {
        let is_presented = Choice::from(u8::from(presented.is_ok()));
        let digest = Digest::of(presented.iter().flatten().map(Cow::as_ref));
        let mut matched = u32::MAX;
        for (index, account) in (0_u32..).zip(&self.0) {
            matched.conditional_assign(&index, account.digest.0.ct_eq(&digest.0) & is_presented);
        }
        let account = self.0.get(matched as usize);
        account.map(|account| Verified { account }).ok_or(presented.err().unwrap_or(AuthenticationFailure::Wrong))
    }
}

impl<'a> Verified<'a> {
    /// Whose credentials they were.
    pub fn account(&self) -> &'a Account {
        self.account
    }
}

/// What is compared in the place of a secret: it has the same length whatever the secret's, and how much of it is right
/// says nothing about the secret.
#[derive(Clone, Copy)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Of these parts in this order.
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            // the length before each part keeps ("ab", "c") and ("a", "bc") apart
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Self(hasher.finalize().into())
    }

    /// Whether they are the same, found in a time that does not depend on it.
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
