//! The settings: what they are, and that they make sense.
//!
//! They come in layers (`load`): the defaults, a TOML file, environment variables. What is read is checked as a whole
//! (`providers` for the accounts) before anything starts: a [`Settings`] that exists can be served. No error and no
//! output repeats a value that could be a secret.

mod database;
mod error;
mod load;
mod providers;
mod server;
mod show;
mod wipe;

use std::{path::PathBuf, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, de};

use crate::redaction::is_redactable;

pub use self::{
    database::DatabaseSettings,
    error::ConfigError,
    load::load,
    providers::{ProviderSettings, UnknownBooking, plain_path},
    server::{ForwardedHeader, ServerSettings},
};

/// Memory is set aside for each, and no Postgres takes more.
const MAX_CONNECTIONS: u32 = 10_000;

/// Two that write live deliveries, one that writes those of test accounts, one that empties the spools, one for everything
/// else.
pub const MIN_CONNECTIONS: u32 = 5;

/// No notification comes near it.
const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;

/// More deliveries in a commit gain nothing and hold the others up.
const MAX_BATCH: usize = 4096;

/// Everything that can be set.
#[derive(Debug)]
pub struct Settings {
    /// `[server]`
    pub server: ServerSettings,
    /// `[admin]`
    pub admin: AdminSettings,
    /// `[database]`
    pub database: DatabaseSettings,
    /// `[inbox]`
    pub inbox: InboxSettings,
    /// `[spool]`; without a directory there is none.
    pub spool: SpoolSettings,
    /// `[log]`
    pub log: LogSettings,
    /// `[providers.*]`: every provider there is, also those without an account.
    pub providers: Vec<ProviderSettings>,
}

/// `[admin]`: the operators' listener.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdminSettings {
    /// Opens everything but health and metrics; without it only those are served.
    pub token: Option<SecretString>,
}

/// `[inbox]`: how deliveries are written together.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InboxSettings {
    /// The most deliveries in one commit.
    pub max_batch: usize,
}

/// `[spool]`: the buffer on disk for the time in which the database does not take writes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SpoolSettings {
    /// Where it is; no other process may use the same.
    pub directory: Option<PathBuf>,
    /// The most bytes of deliveries in it.
    pub max_bytes: u64,
}

/// `[log]`: what is said on standard error.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSettings {
    /// What a line looks like.
    #[serde(deserialize_with = "log_format")]
    pub format: LogFormat,
}

/// What a line of the log looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, else JSON.
    #[default]
    Auto,
    /// An object of JSON.
    Json,
    /// To be read by people.
    Text,
}

impl Default for InboxSettings {
    fn default() -> Self {
        Self { max_batch: 256 }
    }
}

impl Default for SpoolSettings {
    fn default() -> Self {
        Self { directory: None, max_bytes: 1024 * 1024 * 1024 }
    }
}

impl Settings {
    /// The keys of the secrets that could as well be data, so that they are not looked for in what is kept: see
    /// [`is_redactable`].
    pub fn secrets_like_data(&self) -> Vec<String> {
        let admin = self.admin.token.iter().map(|token| ("admin.token".to_owned(), token));
        let of_providers = self.providers.iter().flat_map(ProviderSettings::secrets);
        let all = admin.chain(of_providers);
        all.filter(|(_, secret)| !is_redactable(secret.expose_secret())).map(|(key, _)| key).collect()
    }

    /// What the types cannot say.
    fn check(&self) -> Result<(), ConfigError> {
        let server = &self.server;
        let positive = [
            ("server.body_limit_bytes", server.body_limit_bytes == 0),
            ("server.max_connections", server.max_connections == 0),
            ("server.max_connections_per_address", server.max_connections_per_address == 0),
            ("server.header_read_timeout_ms", server.header_read_timeout.is_zero()),
            ("server.idle_timeout_ms", server.idle_timeout.is_zero()),
            ("server.body_read_timeout_ms", server.body_read_timeout.is_zero()),
            ("server.response_write_timeout_ms", server.response_write_timeout.is_zero()),
            ("server.shutdown_timeout_ms", server.shutdown_timeout.is_zero()),
            ("database.write_timeout_ms", self.database.write_timeout.is_zero()),
            ("inbox.max_batch", self.inbox.max_batch == 0),
            ("spool.max_bytes", self.spool.max_bytes == 0),
        ];
        if let Some((key, _)) = positive.into_iter().find(|(_, is_zero)| *is_zero) {
            return Err(ConfigError::at(key, "expected a number above 0"));
        }
        if server.body_limit_bytes > MAX_BODY_BYTES {
            return Err(ConfigError::at("server.body_limit_bytes", format!("expected at most {MAX_BODY_BYTES}")));
        }
        if server.body_memory_bytes < 2 * server.body_limit_bytes {
            let problem = "expected at least twice server.body_limit_bytes: a compressed body and what is in it";
            return Err(ConfigError::at("server.body_memory_bytes", problem));
        }
        if self.inbox.max_batch > MAX_BATCH {
            return Err(ConfigError::at("inbox.max_batch", format!("expected at most {MAX_BATCH}")));
        }
        if !(MIN_CONNECTIONS..=MAX_CONNECTIONS).contains(&self.database.max_connections) {
            let problem = format!("expected a number from {MIN_CONNECTIONS} to {MAX_CONNECTIONS}");
            return Err(ConfigError::at("database.max_connections", problem));
        }
        if server.trusted_proxies.iter().any(|network| network.prefix_len() == 0) {
            let problem =
                "expected the networks of your proxies; one of all addresses believes whatever anybody claims";
            return Err(ConfigError::at("server.trusted_proxies", problem));
        }
        if server.public_address == server.admin_address && server.public_address.port() != 0 {
            return Err(ConfigError::at("server.admin_address", "expected another address than server.public_address"));
        }
        for (key, secret) in [("admin.token", &self.admin.token), ("database.password", &self.database.password)] {
            if secret.as_ref().is_some_and(|secret| secret.expose_secret().is_empty()) {
                return Err(ConfigError::at(key, "expected a secret that is not empty"));
            }
        }
        if self.database.url.is_some() {
            self.database.connect_options()?;
        }
        Ok(())
    }
}

fn milliseconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_millis)
}

fn log_format<'de, D: Deserializer<'de>>(deserializer: D) -> Result<LogFormat, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "auto" => Ok(LogFormat::Auto),
        "json" => Ok(LogFormat::Json),
        "text" => Ok(LogFormat::Text),
        _ => Err(de::Error::custom("expected \"auto\", \"json\" or \"text\"")),
    }
}
