//! `[providers.*]`: the accounts and their checks.
//!
//! The keys of an account come from [`Provider::credentials`]: a new provider needs no change here.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    fmt,
};

use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::{
    credentials::Account,
    providers::{self, Credential, PROVIDERS, Provider},
    ticket_event::Environment,
};

/// What to do with a delivery for a booking that is not in the table `bookings`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum UnknownBooking {
    /// Record it.
    #[default]
    Accept,
    /// Reply that the booking is unknown, and store the delivery unprocessed.
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
    /// By account name: its credentials and its `environment`.
    accounts: BTreeMap<String, BTreeMap<String, SecretString>>,
}

// not derived: serde's error for an unknown variant contains the value
fn unknown_booking<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<UnknownBooking, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "accept" => Ok(UnknownBooking::Accept),
        "reject" => Ok(UnknownBooking::Reject),
        _ => Err(serde::de::Error::custom(r#"expected "accept" or "reject""#)),
    }
}

/// `[providers.NAME]`
pub struct ProviderSettings {
    pub provider: &'static dyn Provider,
    pub path: String,
    /// Client networks; any when empty.
    pub allowed_networks: Vec<IpNet>,
    pub unknown_booking: UnknownBooking,
    /// Without an account the provider's path is answered with 404.
    pub accounts: Vec<Account>,
    /// Of each account, in the order of [`Provider::credentials`].
    pub credentials: Vec<Vec<SecretString>>,
}

impl ProviderSettings {
    /// The secret credentials of every account, by their full keys; user names and the like are not among them.
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

/// The settings of every known provider.
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
            let problem = format!("unknown provider; expected one of {}", providers::listed_names());
            Err(ConfigError::at(format!("providers.{unknown}"), problem))
        }
    }
}

fn check_provider(provider: &'static dyn Provider, raw: RawProvider) -> Result<ProviderSettings, ConfigError> {
    let at = |key: &str| format!("providers.{}.{key}", provider.name());
    let path = raw.path.map_or_else(|| provider.default_path(), |path| plain_path(&path).into_owned());
    let is_path_safe = |path: &str| path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte));
    let is_reserved = ["/livez", "/readyz"].contains(&path.as_str());
    if !path.starts_with('/') || path.len() < 2 || !is_path_safe(&path) || is_reserved {
        let problem =
            "expected a path such as /webhooks/a1b2c3 (letters, digits, / - . _ ~), other than /livez and /readyz";
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

/// Removes trailing and repeated slashes, with which a path is the same.
pub fn plain_path(path: &str) -> Cow<'_, str> {
    if path == "/" || !(path.ends_with('/') || path.contains("//")) {
        return Cow::Borrowed(path);
    }
    let segments: Vec<_> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    Cow::Owned(format!("{}{}", if path.starts_with('/') { "/" } else { "" }, segments.join("/")))
}

/// No delivery can match a credential with a line feed, nor one with white space around it that is sent in a header.
fn can_match(credential: &Credential, value: &str) -> bool {
    !value.chars().any(char::is_control) && (credential.member.is_some() || value.trim() == value)
}

fn check_account(
    provider: &dyn Provider,
    name: &str,
    mut values: BTreeMap<String, SecretString>,
) -> Result<(Account, Vec<SecretString>), ConfigError> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_name) {
        let problem = "expected names of letters, digits, - and _";
        return Err(ConfigError::at(format!("providers.{}.accounts", provider.name()), problem));
    }
    let at = |key: &str| format!("providers.{}.accounts.{name}.{key}", provider.name());
    let environment = match values.remove("environment").as_ref().map(ExposeSecret::expose_secret) {
        Some("test") => Environment::Test,
        Some("live") => Environment::Live,
        Some(_) => return Err(ConfigError::at(at("environment"), r#"expected "test" or "live""#)),
        None => return Err(ConfigError::at(at("environment"), r#"missing; expected "test" or "live""#)),
    };
    let mut credentials = Vec::new();
    for credential in provider.credentials() {
        match values.remove(credential.key) {
            Some(value) if value.expose_secret().trim().is_empty() => {
                return Err(ConfigError::at(at(credential.key), "expected a value that is not empty"));
            }
            Some(value) if !can_match(credential, value.expose_secret()) => {
                return Err(ConfigError::at(at(credential.key), "expected one line without white space around it"));
            }
            Some(value) => credentials.push(value),
            None => {
                let problem = format!("missing; set {0} or {0}_file", credential.key);
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
