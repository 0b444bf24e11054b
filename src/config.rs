//! The settings: what they are, and that they make sense.
//!
//! They come in layers (`load`): the defaults, a TOML file, environment variables. What is read is checked as a whole
//! (`providers` for the accounts) before anything starts: a [`Settings`] that exists can be served. No error and no
//! output repeats a value that could be a secret.

mod error;
mod load;
mod providers;
mod show;
mod wipe;

use std::{
    fs::File,
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    path::PathBuf,
    time::Duration,
};

use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, de};
use sqlx::{ConnectOptions, postgres::PgConnectOptions};
use tracing::subscriber::NoSubscriber;

use crate::addresses::canonical;

pub use self::{
    error::ConfigError,
    load::load,
    providers::{ProviderSettings, UnknownBooking},
};

/// Memory is set aside for each, and no Postgres takes more.
const MAX_CONNECTIONS: u32 = 10_000;

/// Two that write deliveries, one that empties the spool, one for everything else.
pub const MIN_CONNECTIONS: u32 = 4;

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

/// `[server]`: the listeners and their limits.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerSettings {
    /// Where the providers come in.
    #[serde(deserialize_with = "address")]
    pub public_address: SocketAddr,
    /// Where the operators come in.
    #[serde(deserialize_with = "address")]
    pub admin_address: SocketAddr,
    /// The largest body, decompressed, in bytes.
    pub body_limit_bytes: usize,
    /// What all bodies that are being taken in may have of the memory, in bytes. Beyond it deliveries are refused.
    pub body_memory_bytes: usize,
    /// The most connections to either listener at once. Beyond it an idle one makes room, or the new one is refused.
    pub max_connections: usize,
    /// The most of them from one address, or from one /64 of IPv6; trusted proxies have as many as there are.
    pub max_connections_per_address: usize,
    /// The time that the head of a request may take to arrive, from its first byte.
    #[serde(rename = "head_timeout_ms", deserialize_with = "milliseconds")]
    pub head_timeout: Duration,
    /// The time that a connection may be idle.
    #[serde(rename = "idle_timeout_ms", deserialize_with = "milliseconds")]
    pub idle_timeout: Duration,
    /// The time that a body may take to arrive, and an answer to be taken.
    #[serde(rename = "request_timeout_ms", deserialize_with = "milliseconds")]
    pub request_timeout: Duration,
    /// How long the service goes on accepting after it was asked to stop, so that the load balancer notices.
    #[serde(rename = "drain_delay_ms", deserialize_with = "milliseconds")]
    pub drain_delay: Duration,
    /// When to give up what is still in flight, counted from the end of the drain delay.
    #[serde(rename = "shutdown_timeout_ms", deserialize_with = "milliseconds")]
    pub shutdown_timeout: Duration,
    /// Networks whose `X-Forwarded-For` or `Forwarded` is believed.
    #[serde(deserialize_with = "networks")]
    pub trusted_proxies: Vec<IpNet>,
    /// Which of the two.
    #[serde(deserialize_with = "forwarded_header")]
    pub forwarded_header: ForwardedHeader,
    /// How often authentication may fail from one address, or from one /64 of IPv6, before a failure is answered with
    /// 429. What authenticates is never refused.
    pub authentication_failures_per_minute: NonZeroU32,
}

/// Where the trusted proxies say who called them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For` where there is one, and `Forwarded` else.
    #[default]
    Either,
    /// `X-Forwarded-For`
    XForwardedFor,
    /// `Forwarded`, of RFC 7239
    Forwarded,
}

/// `[admin]`: the operators' listener.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdminSettings {
    /// Opens everything but health and metrics; without it only those are served.
    pub token: Option<SecretString>,
}

/// `[database]`: the way to Postgres.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DatabaseSettings {
    url: Option<SecretString>,
    /// In the place of the one in the URL.
    password: Option<SecretString>,
    /// Connections that one replica holds at most.
    pub max_connections: u32,
    /// Past this a write counts as failed.
    #[serde(rename = "write_timeout_ms", deserialize_with = "milliseconds")]
    pub write_timeout: Duration,
    /// Whether a connection pooler in transaction mode, such as PgBouncer, stands in front.
    pub transaction_pooler: bool,
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

impl DatabaseSettings {
    /// How to connect.
    pub fn connect_options(&self) -> Result<PgConnectOptions, ConfigError> {
        let url = self.url.as_ref().ok_or_else(|| ConfigError::missing("database.url", Some("DATABASE_URL")))?;
        let url = url.expose_secret().trim();
        let has_scheme = ["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme));
        // sqlx logs a parameter that it does not know with its value, which may be a misspelled password
        let parsed = tracing::subscriber::with_default(NoSubscriber::new(), || url.parse::<PgConnectOptions>());
        match parsed {
            Ok(options) if has_scheme => {
                // no float is read here, and poolers refuse a connection over a parameter that they do not know
                let options = options.application_name("ticket-webhooks").extra_float_digits(None);
                check_certificates(&options)?;
                Ok(match &self.password {
                    Some(password) => options.password(password.expose_secret()),
                    None => options,
                })
            }
            _ => {
                let problem = "expected a URL such as postgres://user:password@host:5432/database";
                Err(ConfigError::at("database.url", problem))
            }
        }
    }
}

/// Without the name of the file nobody would know which one is not there.
fn check_certificates(options: &PgConnectOptions) -> Result<(), ConfigError> {
    for (parameter, value) in options.to_url_lossy().query_pairs() {
        if ["sslrootcert", "sslcert", "sslkey"].contains(&parameter.as_ref())
            && let Some(file) = value.strip_prefix("file: ")
            && let Err(error) = File::open(file)
        {
            return Err(ConfigError::at("database.url", format!("{parameter}: {file} cannot be read: {error}")));
        }
    }
    Ok(())
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            public_address: SocketAddr::from(([0, 0, 0, 0], 8080)),
            admin_address: SocketAddr::from(([127, 0, 0, 1], 9090)),
            body_limit_bytes: 256 * 1024,
            body_memory_bytes: 64 * 1024 * 1024,
            max_connections: 2048,
            max_connections_per_address: 256,
            head_timeout: Duration::from_secs(10),
            // longer than most load balancers keep idle connections: one that is closed under a request is a delivery lost
            idle_timeout: Duration::from_secs(75),
            request_timeout: Duration::from_secs(10),
            drain_delay: Duration::from_secs(5),
            shutdown_timeout: Duration::from_secs(25),
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::default(),
            authentication_failures_per_minute: NonZeroU32::new(100).expect("it is not 0"),
        }
    }
}

impl Default for DatabaseSettings {
    fn default() -> Self {
        Self {
            url: None,
            password: None,
            max_connections: 8,
            write_timeout: Duration::from_secs(2),
            transaction_pooler: false,
        }
    }
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
    /// What the types cannot say.
    fn check(&self) -> Result<(), ConfigError> {
        let server = &self.server;
        let positive = [
            ("server.body_limit_bytes", server.body_limit_bytes == 0),
            ("server.max_connections", server.max_connections == 0),
            ("server.max_connections_per_address", server.max_connections_per_address == 0),
            ("server.head_timeout_ms", server.head_timeout.is_zero()),
            ("server.idle_timeout_ms", server.idle_timeout.is_zero()),
            ("server.request_timeout_ms", server.request_timeout.is_zero()),
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

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.trim()
        .parse()
        .map_err(|_| de::Error::custom("expected an IP address and a port, such as 0.0.0.0:8080 or [::1]:8080"))
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

/// A list, or one string with commas, as environment variables have it. A bare address is a network of one.
fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Networks {
        Text(String),
        List(Vec<String>),
    }
    let expected = || de::Error::custom("expected networks such as 10.0.0.0/8 or 2001:db8::/32");
    let texts = match Networks::deserialize(deserializer).map_err(|_| expected())? {
        Networks::Text(text) => text.split(',').map(str::to_owned).collect(),
        Networks::List(texts) => texts,
    };
    let texts = texts.iter().map(|text| text.trim()).filter(|text| !text.is_empty());
    texts
        .map(|text| text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).map_err(|_| expected()))
        .map(|network| network.map(canonical))
        .collect()
}

fn forwarded_header<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ForwardedHeader, D::Error> {
    match String::deserialize(deserializer)?.to_ascii_lowercase().as_str() {
        "either" => Ok(ForwardedHeader::Either),
        "x-forwarded-for" => Ok(ForwardedHeader::XForwardedFor),
        "forwarded" => Ok(ForwardedHeader::Forwarded),
        _ => Err(de::Error::custom(r#"expected "either", "x-forwarded-for" or "forwarded""#)),
    }
}
