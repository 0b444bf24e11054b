//! The settings as a serialized tree: `check-config` prints it as TOML, a reload compares it with the one before.
//!
//! Invariants:
//!
//! - It holds no secret: each is `[redacted]`, and of the database's URL only the parts that are none are shown.
//! - Printed, it is a valid configuration again once the redacted values are replaced.

use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::SecretString;
use serde::{
    Serialize, Serializer,
    ser::{Error, SerializeMap},
};
use serde_json::Value;

use super::{ForwardSettings, ProviderSettings, Settings, database_url::parse_url};
use crate::{credentials::Account, redaction::REDACTED};

/// A reload takes these over, the accounts, and the secrets of forwards; every other key needs a restart.
const RELOADED: [&str; 3] = ["admin.token", "database.url", "database.password"];

/// Of the secrets of forwards.
const FORWARD: &str = "forward.";
const SECRETS: &str = ".secrets";

/// Only the keys of accounts contain this.
const ACCOUNTS: &str = ".accounts.";

/// The characters that RFC 3986 reserves.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// In a query a slash needs no encoding.
const RESERVED_BUT_SLASH: &AsciiSet = &RESERVED.remove(b'/');

/// The accounts of a provider, by name, with their keys.
struct Accounts<'a>(&'a ProviderSettings);

/// The keys of an account.
struct Keys<'a>(&'a ProviderSettings, &'a Account);

impl Settings {
    /// As TOML, without secrets.
    ///
    /// # Errors
    ///
    /// A number is larger than TOML can hold, which an environment variable can set.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }

    /// The values, by their full keys, that only a restart changes: all but the accounts and the secrets.
    pub fn restart_only(&self) -> BTreeMap<String, Value> {
        let tree = serde_json::to_value(self).expect("settings have string keys and serialize without an error");
        let mut values = BTreeMap::new();
        flatten(String::new(), tree, &mut values);
        let is_of_forward = |key: &str| key.starts_with(FORWARD) && key.ends_with(SECRETS);
        values.retain(|key, _| !key.contains(ACCOUNTS) && !RELOADED.contains(&key.as_str()) && !is_of_forward(key));
        values
    }
}

fn flatten(key: String, value: Value, values: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                flatten(if key.is_empty() { name } else { format!("{key}.{name}") }, value, values);
            }
        }
        value => drop(values.insert(key, value)),
    }
}

/// The list as a table, by the providers' names.
pub(super) fn providers<S: Serializer>(providers: &[ProviderSettings], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(providers.iter().map(|settings| (settings.provider.name(), settings)))
}

/// The list as a table, by their names.
pub(super) fn forwards<S: Serializer>(forwards: &[ForwardSettings], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(forwards.iter().map(|settings| (&settings.name, settings)))
}

impl Serialize for ProviderSettings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("path", &self.path)?;
        map.serialize_entry("allowed_networks", &self.allowed_networks)?;
        map.serialize_entry("unknown_booking", &self.unknown_booking)?;
        if !self.accounts.is_empty() {
            map.serialize_entry("accounts", &Accounts(self))?;
        }
        map.end()
    }
}

impl Serialize for Accounts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.accounts.iter().map(|account| (&account.name, Keys(self.0, account))))
    }
}

impl Serialize for Keys<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(settings, account) = self;
        let credentials = settings.provider.credentials().iter().map(|credential| (credential.key, REDACTED));
        serializer.collect_map([("environment", account.environment.as_str())].into_iter().chain(credentials))
    }
}

pub(super) fn redacted<S: Serializer>(_: &Option<SecretString>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(REDACTED)
}

/// User, host, port and database, which are no secrets.
pub(super) fn database_url<S: Serializer>(url: &Option<SecretString>, serializer: S) -> Result<S::Ok, S::Error> {
    let options = url.as_ref().and_then(parse_url).ok_or_else(|| S::Error::custom("the URL was not checked"))?;
    let (user, name) = (options.get_username(), options.get_database().unwrap_or(options.get_username()));
    let [user, name] = [user, name].map(|text| utf8_percent_encode(text, RESERVED));
    serializer.collect_str(&match options.get_socket() {
        Some(socket) => {
            let socket = socket.to_string_lossy();
            format!("postgres:///{name}?host={}&user={user}", utf8_percent_encode(&socket, RESERVED_BUT_SLASH))
        }
        None => format!("postgres://{user}:{REDACTED}@{}:{}/{name}", options.get_host(), options.get_port()),
    })
}
