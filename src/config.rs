//! The settings: their types, defaults and checks. Layers, in `load`: the defaults, a TOML file, environment variables.
//!
//! Invariants:
//!
//! - A [`Settings`] was checked as a whole, accounts included (`providers`); only `database.url` may be missing.
//! - No error and no output contains a value that could be a secret.

mod database;
mod database_url;
mod error;
mod forward;
mod load;
mod privacy;
mod providers;
mod server;
mod show;
mod variables;
mod wipe;

use std::{path::PathBuf, time::Duration};

use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::{inbox, redaction::is_redactable};

pub use self::{
    database::DatabaseSettings,
    error::ConfigError,
    forward::{ForwardFrom, ForwardSettings, ReceiverUrl},
    load::load,
    privacy::{IdentityDocuments, MAX_RETENTION_DAYS, PrivacySettings},
    providers::{ProviderSettings, UnknownBooking, plain_path},
    server::{ForwardedHeader, ServerSettings},
};

/// sqlx allocates for each, and Postgres accepts fewer.
const MAX_CONNECTIONS: u32 = 10_000;

/// Those of the inbox, one for readiness and the schema, one that listens for commits of other replicas, and two for the
/// admin API and the tasks in the background.
const MIN_CONNECTIONS: u32 = inbox::CONNECTIONS + 4;

/// The largest private networks: 10.0.0.0/8 and fc00::/7.
const MIN_PROXY_PREFIX_V4: u8 = 8;
const MIN_PROXY_PREFIX_V6: u8 = 7;

/// Far more than any provider sends.
const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;

/// A year.
const MAX_STUCK_AFTER_MINUTES: i32 = 366 * 24 * 60;

/// Larger batches are no faster and delay their callers.
const MAX_BATCH: usize = 4096;

/// Everything that can be set.
#[derive(Debug, Serialize)]
pub struct Settings {
    pub server: ServerSettings,
    pub admin: AdminSettings,
    pub database: DatabaseSettings,
    pub inbox: InboxSettings,
    pub spool: SpoolSettings,
    pub bookings: BookingsSettings,
    pub privacy: PrivacySettings,
    pub log: LogSettings,
    #[serde(serialize_with = "show::forwards", skip_serializing_if = "Vec::is_empty")]
    pub forward: Vec<ForwardSettings>,
    /// All known providers, also those without an account.
    #[serde(serialize_with = "show::providers")]
    pub providers: Vec<ProviderSettings>,
}

/// `[admin]`: the listener for operators.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdminSettings {
    /// The bearer token for everything but health and metrics; without it nothing else is served.
    #[serde(serialize_with = "show::redacted", skip_serializing_if = "Option::is_none")]
    pub token: Option<SecretString>,
}

/// `[inbox]`: group commit.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct InboxSettings {
    /// Deliveries in one batch.
    pub max_batch: usize,
}

/// `[spool]`: the buffer on disk for outages of the database.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct SpoolSettings {
    /// No other process may use it. Without it there is no spool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
    /// Of the deliveries in it; its files are larger.
    pub max_bytes: u64,
}

/// `[bookings]`: those that wait for somebody.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct BookingsSettings {
    /// Without a delivery, before a booking without a final status is stuck.
    pub stuck_after_minutes: i32,
}

/// `[log]`: the log on standard error.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSettings {
    #[serde(deserialize_with = "log_format")]
    pub format: LogFormat,
}

/// The format of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    Json,
    Text,
}

impl Default for InboxSettings {
    fn default() -> Self {
        Self { max_batch: 256 }
    }
}

impl Default for BookingsSettings {
    fn default() -> Self {
        Self { stuck_after_minutes: 120 }
    }
}

impl Default for SpoolSettings {
    fn default() -> Self {
        Self { directory: None, max_bytes: 1024 * 1024 * 1024 }
    }
}

impl Settings {
    /// The keys of the secrets that are too short or too plain to be redacted wherever they occur: see
    /// [`is_redactable`].
    pub fn weak_secrets(&self) -> Vec<String> {
        let admin = self.admin.token.iter().map(|token| ("admin.token".to_owned(), token));
        let of_providers = self.providers.iter().flat_map(ProviderSettings::secrets);
        let secrets = admin.chain(of_providers);
        secrets.filter(|(_, secret)| !is_redactable(secret.expose_secret())).map(|(key, _)| key).collect()
    }

    /// Checks what the types do not enforce.
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
        if self.privacy.retention_days.is_some_and(|days| !(1..=MAX_RETENTION_DAYS).contains(&days)) {
            let problem = format!("expected a number from 1 to {MAX_RETENTION_DAYS}");
            return Err(ConfigError::at("privacy.retention_days", problem));
        }
        if server.body_limit_bytes > MAX_BODY_BYTES {
            return Err(ConfigError::at("server.body_limit_bytes", format!("expected at most {MAX_BODY_BYTES}")));
        }
        if server.body_memory_bytes < 2 * server.body_limit_bytes {
            let problem = "expected at least twice server.body_limit_bytes: a compressed body and its content";
            return Err(ConfigError::at("server.body_memory_bytes", problem));
        }
        if self.inbox.max_batch > MAX_BATCH {
            return Err(ConfigError::at("inbox.max_batch", format!("expected at most {MAX_BATCH}")));
        }
        if !(MIN_CONNECTIONS..=MAX_CONNECTIONS).contains(&self.database.max_connections) {
            let problem = format!("expected a number from {MIN_CONNECTIONS} to {MAX_CONNECTIONS}");
            return Err(ConfigError::at("database.max_connections", problem));
        }
        if !(1..=MAX_STUCK_AFTER_MINUTES).contains(&self.bookings.stuck_after_minutes) {
            let problem = format!("expected a number from 1 to {MAX_STUCK_AFTER_MINUTES}");
            return Err(ConfigError::at("bookings.stuck_after_minutes", problem));
        }
        let is_too_large = |network: &IpNet| match network {
            IpNet::V4(network) => network.prefix_len() < MIN_PROXY_PREFIX_V4,
            IpNet::V6(network) => network.prefix_len() < MIN_PROXY_PREFIX_V6,
        };
        if server.trusted_proxies.iter().any(is_too_large) {
            let problem = "expected the networks of your proxies, at most an IPv4 /8 or an IPv6 /7; with a large part of \
                           all addresses trusted, any client can claim any address";
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

/// Durations in whole milliseconds.
mod milliseconds {
    use super::{Deserialize, Deserializer, Duration};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }

    pub(super) fn serialize<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }
}

// not derived: serde's error for an unknown variant contains the value
fn log_format<'de, D: Deserializer<'de>>(deserializer: D) -> Result<LogFormat, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "auto" => Ok(LogFormat::Auto),
        "json" => Ok(LogFormat::Json),
        "text" => Ok(LogFormat::Text),
        _ => Err(de::Error::custom("expected \"auto\", \"json\" or \"text\"")),
    }
}
