//! `[database]`: the way to Postgres.

use std::{fs::File, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use sqlx::{ConnectOptions, postgres::PgConnectOptions};
use tracing::subscriber::NoSubscriber;

use super::ConfigError;

/// `[database]`: the way to Postgres.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DatabaseSettings {
    pub(super) url: Option<SecretString>,
    /// In the place of the one in the URL.
    pub(super) password: Option<SecretString>,
    /// Connections that one replica holds at most.
    pub max_connections: u32,
    /// Past this a write counts as failed.
    #[serde(rename = "write_timeout_ms", deserialize_with = "super::milliseconds")]
    pub write_timeout: Duration,
    /// Whether a connection pooler in transaction mode, such as PgBouncer, stands in front.
    pub transaction_pooler: bool,
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

impl DatabaseSettings {
    /// How to connect.
    pub fn connect_options(&self) -> Result<PgConnectOptions, ConfigError> {
        let url = self.url.as_ref().ok_or_else(|| ConfigError::missing("database.url", Some("DATABASE_URL")))?;
        let url = url.expose_secret().trim();
        let has_scheme = ["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme));
        // sqlx logs a parameter that it does not know with its value, which may be a misspelled password
        let parsed = tracing::subscriber::with_default(NoSubscriber::new(), || url.parse::<PgConnectOptions>());
        match parsed {
            Ok(options) if has_scheme && !is_cut_short(url) => {
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

/// Whether a `/` that is not percent-encoded ends the user or the password early: the rest of it would be taken for the
/// name of the database, which is no secret.
fn is_cut_short(url: &str) -> bool {
    let before_query = url.split(['?', '#']).next().unwrap_or_default();
    let path = before_query.split_once("://").and_then(|(_, location)| location.split_once('/'));
    path.is_some_and(|(_, path)| path.contains('@'))
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
