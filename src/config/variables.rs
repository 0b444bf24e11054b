//! The environment variables of this service: the keys they set, and where a setting came from, for error messages.

use std::{collections::HashMap, ffi::OsString, path::Path};

use config::{Value, ValueKind};

use super::ConfigError;

/// The prefix of a key's variable; `__` separates levels.
const PREFIX: &str = "TICKET_WEBHOOKS__";

const PUBLIC_ADDRESS: &str = "server.public_address";
const DATABASE_URL: &str = "database.url";

/// The environment variable of a key.
pub(super) fn variable_of(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").to_uppercase())
}

/// The variables of this service, `DATABASE_URL` and `PORT` resolved.
pub(super) struct Variables {
    /// The configuration file, which is the origin of every value that no variable set.
    file: Option<String>,
    /// By name, with the prefix.
    pub(super) prefixed: HashMap<String, String>,
    /// `PORT`, unless a variable sets the whole address.
    pub(super) port: Option<u16>,
    /// The database's URL comes from `DATABASE_URL`.
    is_database_url_short: bool,
}

impl Variables {
    pub(super) fn new(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        file: Option<&Path>,
    ) -> Result<Self, ConfigError> {
        let file = file.map(|path| path.display().to_string());
        let (mut prefixed, mut port, mut database_url) = (HashMap::new(), None, None);
        for (name, value) in variables {
            let Ok(name) = name.into_string() else { continue };
            if !(name.starts_with(PREFIX) || name == "PORT" || name == "DATABASE_URL") {
                continue;
            }
            let value = value.into_string().map_err(|_| ConfigError::from_origin(&name, "expected text in UTF-8"))?;
            match name.as_str() {
                "PORT" if value.trim().is_empty() => {}
                "PORT" => port = Some(value),
                "DATABASE_URL" => database_url = Some(value),
                _ => drop(prefixed.insert(name, value)),
            }
        }
        let port = port.filter(|_| !prefixed.contains_key(&variable_of(PUBLIC_ADDRESS))).map(|port| {
            port.trim().parse().map_err(|_| ConfigError::from_origin("PORT", "expected a port number from 0 to 65535"))
        });
        let url_variable = variable_of(DATABASE_URL);
        let is_set = prefixed.contains_key(&url_variable) || prefixed.contains_key(&format!("{url_variable}_FILE"));
        let database_url = database_url.filter(|url| !is_set && !url.is_empty());
        let is_database_url_short = database_url.is_some();
        prefixed.extend(database_url.map(|url| (url_variable, url)));
        Ok(Self { file, prefixed, port: port.transpose()?, is_database_url_short })
    }

    /// Adds the origin to an error about a key.
    pub(super) fn locate(&self, error: ConfigError, root: &Value) -> ConfigError {
        let origin = error.origin.clone().or_else(|| self.origin_of(&error.key, root));
        ConfigError { origin, ..error }
    }

    /// The file or variable that set a key, or the nearest key above it.
    fn origin_of(&self, key: &str, root: &Value) -> Option<String> {
        let mut value = root;
        for part in key.split('.') {
            let ValueKind::Table(table) = &value.kind else { break };
            match table.get(part).or_else(|| table.get(&format!("{part}_file"))) {
                Some(inner) => value = inner,
                None => break,
            }
        }
        if !is_from_variable(value) {
            return self.file.clone();
        }
        let is_short = key == DATABASE_URL && self.is_database_url_short;
        Some(if is_short { "DATABASE_URL".to_owned() } else { variable_of(key) })
    }

    /// Translates an error of the `config` crate; no value of the configuration remains in it.
    pub(super) fn translate(&self, error: config::ConfigError, root: Option<&Value>) -> ConfigError {
        use config::ConfigError as E;
        let mut key = String::new();
        let mut error = error;
        let problem = loop {
            match error {
                E::At { error: inner, key: at, .. } => {
                    key = at.unwrap_or_default();
                    error = *inner;
                }
                E::Type { expected, key: at, .. } => {
                    key = at.unwrap_or(key);
                    break format!("expected {expected}");
                }
                E::NotFound(missing) => {
                    key = missing;
                    break "missing".to_owned();
                }
                E::FileParse { cause, .. } => {
                    // the lines between quote the file, which may hold secrets
                    let text = cause.to_string();
                    let (first, last) =
                        (text.lines().next().unwrap_or_default(), text.lines().last().unwrap_or_default());
                    return ConfigError::from_origin(self.file.clone().unwrap_or_default(), format!("{first}: {last}"));
                }
                E::Message(text) => match text.strip_prefix("unknown field `").and_then(|rest| rest.split_once('`')) {
                    Some((unknown, expected)) => {
                        key = if key.is_empty() { unknown.to_owned() } else { format!("{key}.{unknown}") };
                        break format!("unknown key{}", expected.replace('`', ""));
                    }
                    None => break without_value(&text),
                },
                _ => break "cannot be read".to_owned(),
            }
        };
        let error = ConfigError::at(key, problem);
        match root {
            Some(root) => self.locate(error, root),
            None => error,
        }
    }
}

/// Whether an environment variable set a value, or everything in a table.
pub(super) fn is_from_variable(value: &Value) -> bool {
    match &value.kind {
        ValueKind::Table(table) => !table.is_empty() && table.values().all(is_from_variable),
        _ => value.origin().is_some(),
    }
}

/// `invalid type: string "…", expected …` without the value.
fn without_value(text: &str) -> String {
    match text.rsplit_once(", expected ") {
        Some((found, expected)) if found.starts_with("invalid ") => format!("expected {expected}"),
        _ => text.to_owned(),
    }
}
