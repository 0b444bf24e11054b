//! `[database]`: how to connect to Postgres.

use std::{fs::File, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sqlx::{ConnectOptions, postgres::PgConnectOptions};

use super::{ConfigError, database_url::parse_url, milliseconds, show, variables::variable_of};

/// `[database]`
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct DatabaseSettings {
    #[serde(serialize_with = "show::database_url", skip_serializing_if = "Option::is_none")]
    pub(super) url: Option<SecretString>,
    /// Overrides the password in the URL.
    #[serde(serialize_with = "show::redacted", skip_serializing_if = "Option::is_none")]
    pub(super) password: Option<SecretString>,
    /// Limit per replica.
    pub max_connections: u32,
    /// Of a batch, and of any query: a write that takes longer counts as failed.
    #[serde(rename = "write_timeout_ms", with = "milliseconds")]
    pub write_timeout: Duration,
    /// A connection pooler in transaction mode, such as PgBouncer, is in front: no prepared statements outside of a
    /// transaction, no migrations.
    pub transaction_pooler: bool,
}

impl Default for DatabaseSettings {
    fn default() -> Self {
        Self {
            url: None,
            password: None,
            max_connections: 14,
            write_timeout: Duration::from_secs(2),
            transaction_pooler: false,
        }
    }
}

impl DatabaseSettings {
    /// Options for connecting as the service.
    pub fn connect_options(&self) -> Result<PgConnectOptions, ConfigError> {
        let url = self.url.as_ref().ok_or_else(|| {
            let variable = variable_of("database.url");
            let problem = format!("missing; set it in the configuration file or as {variable} (or DATABASE_URL)");
            ConfigError::at("database.url", problem)
        })?;
        let options = parse_url(url).ok_or_else(|| {
            let problem = "expected a URL such as postgres://user:password@host:5432/database";
            ConfigError::at("database.url", problem)
        })?;
        check_certificates(&options)?;
        // no float is read here, and poolers refuse a connection with a parameter that they do not know
        let options = options.application_name("ticket-webhooks").extra_float_digits(None);
        Ok(match &self.password {
            Some(password) => options.password(password.expose_secret()),
            None => options,
        })
    }
}

/// The error of a failed connection does not name the file that is missing.
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
