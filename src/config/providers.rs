//! `[providers.*]`: the accounts, checked against what each provider asks of one.
//!
//! Which keys an account has is said by the provider's own module, so that a new provider needs nothing here.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    fmt,
};

use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::ConfigError;
use crate::{
    credentials::Account,
    providers::{Credential, PROVIDERS, Provider},
    ticket_event::Environment,
};

/// What to do with a delivery for a booking that is not in the table `bookings`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownBooking {
    /// Record it like any other.
    #[default]
    Accept,
    /// Answer that the booking is not known, and keep the delivery unprocessed.
    Reject,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawProvider {
    path: Option<String>,
    #[serde(deserialize_with = "super::server::networks")]
    allowed_networks: Vec<IpNet>,
    #[serde(deserialize_with = "unknown_booking")]
    unknown_booking: UnknownBooking,
    /// Account names to their keys and values; `environment` is one of them.
    accounts: BTreeMap<String, BTreeMap<String, SecretString>>,
}

fn unknown_booking<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<UnknownBooking, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "accept" => Ok(UnknownBooking::Accept),
        "reject" => Ok(UnknownBooking::Reject),
        _ => Err(serde::de::Error::custom(r#"expected "accept" or "reject""#)),
    }
}

/// `[providers.NAME]`
pub struct ProviderSettings {
    /// Which provider.
    pub provider: &'static dyn Provider,
    /// The path of its webhook.
    pub path: String,
    /// Where its deliveries may come from; anywhere when empty.
    pub allowed_networks: Vec<IpNet>,
    /// What to do with a delivery for a booking that is not in the table `bookings`.
    pub unknown_booking: UnknownBooking,
    /// Who may deliver; without an account the provider is not routed.
    pub accounts: Vec<Account>,
    /// The configured values of each account, in the order of the provider's credentials.
    pub credentials: Vec<Vec<SecretString>>,
}

impl ProviderSettings {
    /// The secrets of every account with their keys, names that go with them left out.
    pub(super) fn secrets(&self) -> impl Iterator<Item = (String, &SecretString)> {
        let name = self.provider.name();
        self.accounts.iter().zip(&self.credentials).flat_map(move |(account, values)| {
            let credentials = self.provider.credentials().iter().zip(values);
            let secrets = credentials.filter(|(credential, _)| credential.is_secret);
            secrets.map(move |(credential, value)| {
                (format!("providers.{name}.accounts.{}.{}", account.name, credential.key), value)
            })
        })
    }
}

impl fmt::Debug for ProviderSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ProviderSettings")
            .field("provider", &self.provider.name())
            .field("path", &self.path)
            .field("allowed_networks", &self.allowed_networks)
            .field("unknown_booking", &self.unknown_booking)
            .field("accounts", &self.accounts)
            .finish_non_exhaustive()
    }
}

/// Every provider with its settings.
pub(super) fn check(mut raw: HashMap<String, RawProvider>) -> Result<Vec<ProviderSettings>, ConfigError> {
    let mut settings: Vec<ProviderSettings> = Vec::new();
    for provider in PROVIDERS {
        let checked = check_provider(*provider, raw.remove(provider.name()).unwrap_or_default())?;
        if let Some(other) = settings.iter().find(|other| other.path == checked.path) {
            let problem = format!("expected another path than that of {}", other.provider.name());
            return Err(ConfigError::at(format!("providers.{}.path", provider.name()), problem));
        }
        settings.push(checked);
    }
    match raw.keys().min() {
        None => Ok(settings),
        Some(unknown) => {
            let names: Vec<_> = PROVIDERS.iter().map(|provider| provider.name()).collect();
            let problem = format!("there is no such provider; expected one of {}", names.join(", "));
            Err(ConfigError::at(format!("providers.{unknown}"), problem))
        }
    }
}

fn check_provider(provider: &'static dyn Provider, raw: RawProvider) -> Result<ProviderSettings, ConfigError> {
    let at = |key: &str| format!("providers.{}.{key}", provider.name());
    let path = raw.path.map_or_else(|| provider.default_path(), |path| plain_path(&path).into_owned());
    let is_plain = |path: &str| path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte));
    if !path.starts_with('/') || path.len() < 2 || !is_plain(&path) || ["/livez", "/readyz"].contains(&path.as_str()) {
        let problem = "expected a path of its own such as /webhooks/a1b2c3, of letters, digits and / - . _ ~";
        return Err(ConfigError::at(at("path"), problem));
    }
    let mut accounts: Vec<Account> = Vec::new();
    let mut credentials = Vec::new();
    for (name, values) in raw.accounts {
        let (account, values) = check_account(provider, &name, values)?;
        if let Some(other) = accounts.iter().find(|other| other.has_credentials_of(&account)) {
            let problem = format!("expected other credentials than those of the account {}", other.name);
            return Err(ConfigError::at(at(&format!("accounts.{name}")), problem));
        }
        accounts.push(account);
        credentials.push(values);
    }
    Ok(ProviderSettings {
        provider,
        path,
        allowed_networks: raw.allowed_networks,
        unknown_booking: raw.unknown_booking,
        accounts,
        credentials,
    })
}

/// A path without a slash at its end and without doubled ones: they make no difference.
pub fn plain_path(path: &str) -> Cow<'_, str> {
    if path == "/" || !(path.ends_with('/') || path.contains("//")) {
        return Cow::Borrowed(path);
    }
    let segments: Vec<_> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    Cow::Owned(format!("{}{}", if path.starts_with('/') { "/" } else { "" }, segments.join("/")))
}

/// A line feed left at the end of a secret would have every delivery refused, and so would white space around one that
/// stands in a header.
fn can_be_presented(credential: &Credential, value: &str) -> bool {
    !value.chars().any(char::is_control) && (credential.member.is_some() || value.trim() == value)
}

fn check_account(
    provider: &dyn Provider,
    name: &str,
    mut values: BTreeMap<String, SecretString>,
) -> Result<(Account, Vec<SecretString>), ConfigError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_plain) {
        let problem = "expected names of letters, digits, - and _";
        return Err(ConfigError::at(format!("providers.{}.accounts", provider.name()), problem));
    }
    let at = |key: &str| format!("providers.{}.accounts.{name}.{key}", provider.name());
    let environment = match values.remove("environment").as_ref().map(ExposeSecret::expose_secret) {
        Some("test") => Environment::Test,
        Some("live") => Environment::Live,
        Some(_) => return Err(ConfigError::at(at("environment"), r#"expected "test" or "live""#)),
        None => return Err(ConfigError::at(at("environment"), r#"it is missing; expected "test" or "live""#)),
    };
    let mut credentials = Vec::new();
    for credential in provider.credentials() {
        match values.remove(credential.key) {
            Some(value) if value.expose_secret().is_empty() => {
                return Err(ConfigError::at(at(credential.key), "expected a value that is not empty"));
            }
            Some(value) if !can_be_presented(credential, value.expose_secret()) => {
                return Err(ConfigError::at(at(credential.key), "expected one line without white space around it"));
            }
            Some(value) => credentials.push(value),
            None => {
                let problem = format!("it is missing; set {0} or {0}_file", credential.key);
                return Err(ConfigError::at(at(credential.key), problem));
            }
        }
    }
    if let Some(unknown) = values.keys().next() {
        let keys: Vec<_> = provider.credentials().iter().map(|credential| credential.key).collect();
        let problem = format!("unknown key; expected environment, {}", keys.join(", "));
        return Err(ConfigError::at(at(unknown), problem));
    }
    Ok((Account::new(name, environment, &credentials), credentials))
}
