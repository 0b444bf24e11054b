//! The settings as `check-config` prints them: as TOML, every secret replaced.

use std::{collections::BTreeMap, fmt};

use ipnet::IpNet;

use super::{DatabaseSettings, ForwardedHeader, LogFormat, Settings, UnknownBooking};
use crate::redaction::REDACTED;

impl fmt::Display for Settings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let server = &self.server;
        writeln!(out, "[server]")?;
        writeln!(out, "public_address = \"{}\"", server.public_address)?;
        writeln!(out, "admin_address = \"{}\"", server.admin_address)?;
        writeln!(out, "body_limit_bytes = {}", server.body_limit_bytes)?;
        writeln!(out, "body_memory_bytes = {}", server.body_memory_bytes)?;
        writeln!(out, "max_connections = {}", server.max_connections)?;
        writeln!(out, "max_connections_per_address = {}", server.max_connections_per_address)?;
        writeln!(out, "header_read_timeout_ms = {}", server.header_read_timeout.as_millis())?;
        writeln!(out, "idle_timeout_ms = {}", server.idle_timeout.as_millis())?;
        writeln!(out, "body_read_timeout_ms = {}", server.body_read_timeout.as_millis())?;
        writeln!(out, "response_write_timeout_ms = {}", server.response_write_timeout.as_millis())?;
        writeln!(out, "body_grace_ms = {}", server.body_grace.as_millis())?;
        writeln!(out, "body_min_bytes_per_second = {}", server.body_min_rate)?;
        writeln!(out, "drain_delay_ms = {}", server.drain_delay.as_millis())?;
        writeln!(out, "shutdown_timeout_ms = {}", server.shutdown_timeout.as_millis())?;
        writeln!(out, "trusted_proxies = {}", list(&server.trusted_proxies))?;
        let forwarded_header = match server.forwarded_header {
            ForwardedHeader::Either => "either",
            ForwardedHeader::XForwardedFor => "x-forwarded-for",
            ForwardedHeader::Forwarded => "forwarded",
        };
        writeln!(out, "forwarded_header = \"{forwarded_header}\"")?;
        writeln!(out, "authentication_failures_per_minute = {}", server.authentication_failures_per_minute)?;
        if self.admin.token.is_some() {
            writeln!(out, "\n[admin]\ntoken = \"{REDACTED}\"")?;
        }
        writeln!(out, "\n[database]")?;
        writeln!(out, "url = \"{}\"", shown_url(&self.database))?;
        if self.database.password.is_some() {
            writeln!(out, "password = \"{REDACTED}\"")?;
        }
        writeln!(out, "max_connections = {}", self.database.max_connections)?;
        writeln!(out, "write_timeout_ms = {}", self.database.write_timeout.as_millis())?;
        writeln!(out, "transaction_pooler = {}", self.database.transaction_pooler)?;
        writeln!(out, "\n[inbox]\nmax_batch = {}", self.inbox.max_batch)?;
        writeln!(out, "\n[spool]")?;
        match &self.spool.directory {
            Some(directory) => writeln!(out, "directory = \"{}\"", directory.display())?,
            None => writeln!(out, "# no directory: no spool")?,
        }
        writeln!(out, "max_bytes = {}", self.spool.max_bytes)?;
        let format = match self.log.format {
            LogFormat::Auto => "auto",
            LogFormat::Json => "json",
            LogFormat::Text => "text",
        };
        writeln!(out, "\n[log]\nformat = \"{format}\"")?;
        for settings in &self.providers {
            let name = settings.provider.name();
            writeln!(out, "\n[providers.{name}]")?;
            if settings.accounts.is_empty() {
                writeln!(out, "# no account: not routed")?;
            }
            writeln!(out, "path = \"{}\"", settings.path)?;
            writeln!(out, "allowed_networks = {}", list(&settings.allowed_networks))?;
            let unknown_booking = match settings.unknown_booking {
                UnknownBooking::Accept => "accept",
                UnknownBooking::Reject => "reject",
            };
            writeln!(out, "unknown_booking = \"{unknown_booking}\"")?;
            for account in &settings.accounts {
                writeln!(out, "\n[providers.{name}.accounts.{}]", account.name)?;
                writeln!(out, "environment = \"{}\"", account.environment.as_str())?;
                for credential in settings.provider.credentials() {
                    writeln!(out, "{} = \"{REDACTED}\"", credential.key)?;
                }
            }
        }
        Ok(())
    }
}

impl Settings {
    /// What is set and needs a restart to change, by its key: all but the accounts and the secrets.
    pub fn fixed_keys(&self) -> BTreeMap<String, String> {
        let (mut keys, mut section) = (BTreeMap::new(), String::new());
        for line in self.to_string().lines() {
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = name.to_owned();
            } else if let Some((key, value)) = line.split_once(" = ") {
                keys.insert(format!("{section}.{key}"), value.to_owned());
            }
        }
        let is_fixed = |key: &str| {
            !key.contains(".accounts.") && !["admin.token", "database.url", "database.password"].contains(&key)
        };
        keys.retain(|key, _| is_fixed(key));
        keys
    }
}

fn list(networks: &[IpNet]) -> String {
    let networks: Vec<_> = networks.iter().map(|network| format!("\"{network}\"")).collect();
    format!("[{}]", networks.join(", "))
}

/// The parts of the URL that are no secret.
fn shown_url(database: &DatabaseSettings) -> String {
    let Ok(options) = database.connect_options() else { return String::new() };
    let (user, name) = (options.get_username(), options.get_database().unwrap_or(options.get_username()));
    match options.get_socket() {
        Some(socket) => format!("postgres:///{name}?host={}&user={user}", socket.display()),
        None => format!("postgres://{user}:{REDACTED}@{}:{}/{name}", options.get_host(), options.get_port()),
    }
}
