//! The layers: the defaults, then a TOML file, then environment variables; and `KEY_file` for every secret.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use config::{File, FileFormat, Map, Value, ValueKind};
use secrecy::zeroize::Zeroizing;
use serde::Deserialize;

use super::{
    AdminSettings, ConfigError, DatabaseSettings, InboxSettings, LogSettings, ServerSettings, Settings, SpoolSettings,
    error::variable_of,
    providers::{self, RawProvider},
    wipe::Wiped,
};

/// What every environment variable of this service begins with; `__` stands between levels.
pub(super) const PREFIX: &str = "TICKET_WEBHOOKS__";

const PUBLIC_ADDRESS: &str = "server.public_address";
const DATABASE_URL: &str = "database.url";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSettings {
    #[serde(default)]
    server: ServerSettings,
    #[serde(default)]
    admin: AdminSettings,
    #[serde(default)]
    database: DatabaseSettings,
    #[serde(default)]
    inbox: InboxSettings,
    #[serde(default)]
    spool: SpoolSettings,
    #[serde(default)]
    log: LogSettings,
    #[serde(default)]
    providers: HashMap<String, RawProvider>,
}

/// Reads and checks the settings from a file (if one is named) and from these environment variables.
///
/// # Errors
///
/// The error names the file or the variable, the key, and what was expected.
pub fn load(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Settings, ConfigError> {
    let environment = Environment::new(environment, file)?;
    let mut layers = config::Config::builder();
    if let Some(path) = file {
        let text = fs::read_to_string(path)
            .map(Zeroizing::new)
            .map_err(|error| ConfigError::in_place(path.display().to_string(), cannot_read(&error)))?;
        layers = layers.add_source(File::from_str(&text, FileFormat::Toml));
    }
    let source = config::Environment::with_prefix("TICKET_WEBHOOKS")
        .prefix_separator("__")
        .separator("__")
        .source(Some(environment.variables.clone()));
    let merged = layers.add_source(source).build().map_err(|error| environment.explain(error, None))?;
    let mut root = Wiped(merged.cache);
    read_secret_files(&mut root, &mut Vec::new()).map_err(|error| environment.locate(error, &root))?;
    let raw = RawSettings::deserialize(Value::clone(&root)).map_err(|error| environment.explain(error, Some(&root)))?;
    let RawSettings { mut server, admin, database, inbox, spool, log, providers } = raw;
    let settings = providers::check(providers).and_then(|providers| {
        if let Some(port) = environment.port {
            server.public_address.set_port(port);
        }
        let settings = Settings { server, admin, database, inbox, spool, log, providers };
        settings.check().map(|()| settings)
    });
    settings.map_err(|error| environment.locate(error, &root))
}

/// The variables that concern this service.
struct Environment {
    /// From which everything comes that is not of a variable.
    file: Option<String>,
    variables: HashMap<String, String>,
    /// `PORT`, where no address says more.
    port: Option<u16>,
    /// Whether the database's URL is that of `DATABASE_URL`.
    usual_database_url: bool,
}

impl Environment {
    fn new(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        file: Option<&Path>,
    ) -> Result<Self, ConfigError> {
        let file = file.map(|path| path.display().to_string());
        let (mut own, mut port, mut database_url) = (HashMap::new(), None, None);
        for (name, value) in variables {
            let Ok(name) = name.into_string() else { continue };
            if !(name.starts_with(PREFIX) || name == "PORT" || name == "DATABASE_URL") {
                continue;
            }
            let value = value.into_string().map_err(|_| ConfigError::in_place(&name, "expected text in UTF-8"))?;
            match name.as_str() {
                "PORT" if value.trim().is_empty() => {}
                "PORT" => port = Some(value),
                "DATABASE_URL" => database_url = Some(value),
                _ => drop(own.insert(name, value)),
            }
        }
        let port = port.filter(|_| !own.contains_key(&variable_of(PUBLIC_ADDRESS))).map(|port| {
            port.trim().parse().map_err(|_| ConfigError::in_place("PORT", "expected a port number from 0 to 65535"))
        });
        let url_variable = variable_of(DATABASE_URL);
        let is_set = own.contains_key(&url_variable) || own.contains_key(&format!("{url_variable}_FILE"));
        let database_url = database_url.filter(|url| !is_set && !url.is_empty());
        let usual_database_url = database_url.is_some();
        own.extend(database_url.map(|url| (url_variable, url)));
        Ok(Self { file, variables: own, port: port.transpose()?, usual_database_url })
    }

    /// Adds the place to an error about a key.
    fn locate(&self, error: ConfigError, root: &Value) -> ConfigError {
        let place = error.place.clone().or_else(|| self.place_of(&error.key, root));
        ConfigError { place, ..error }
    }

    /// The file or variable from which the value of a key came, or that of the nearest key above it.
    fn place_of(&self, key: &str, root: &Value) -> Option<String> {
        let mut value = root;
        for part in key.split('.') {
            let ValueKind::Table(table) = &value.kind else { break };
            match table.get(part).or_else(|| table.get(&format!("{part}_file"))) {
                Some(inner) => value = inner,
                None => break,
            }
        }
        match origin(value) {
            Some(_) if key == DATABASE_URL && self.usual_database_url => Some("DATABASE_URL".to_owned()),
            Some(_) => Some(variable_of(key)),
            None => self.file.clone(),
        }
    }

    /// Says what the `config` crate found, less any value.
    fn explain(&self, error: config::ConfigError, root: Option<&Value>) -> ConfigError {
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
                    break "it is missing".to_owned();
                }
                E::FileParse { cause, .. } => {
                    // the lines between show the file's text
                    let text = cause.to_string();
                    let (first, last) =
                        (text.lines().next().unwrap_or_default(), text.lines().last().unwrap_or_default());
                    return ConfigError::in_place(self.file.clone().unwrap_or_default(), format!("{first}: {last}"));
                }
                E::Message(text) => match text.strip_prefix("unknown field `").and_then(|rest| rest.split_once('`')) {
                    Some((unknown, expected)) => {
                        key = if key.is_empty() { unknown.to_owned() } else { format!("{key}.{unknown}") };
                        break format!("unknown key{}", expected.replace('`', ""));
                    }
                    None => break without_value(&text),
                },
                _ => break "it cannot be read".to_owned(),
            }
        };
        let error = ConfigError::at(key, problem);
        match root {
            Some(root) => self.locate(error, root),
            None => error,
        }
    }
}

/// Where a value came from: `None` is the file. A table is of the file when something in it is.
fn origin(value: &Value) -> Option<&str> {
    match &value.kind {
        ValueKind::Table(table) => table.values().map(origin).min().flatten(),
        _ => value.origin(),
    }
}

/// `invalid type: string "…", expected …` less the string.
fn without_value(text: &str) -> String {
    match text.rsplit_once(", expected ") {
        Some((found, expected)) if found.starts_with("invalid ") => format!("expected {expected}"),
        _ => text.to_owned(),
    }
}

fn cannot_read(error: &std::io::Error) -> String {
    format!("cannot be read: {error}")
}

/// Puts the content of a file into the place of every `KEY_file` beside which a secret `KEY` could stand.
fn read_secret_files(value: &mut Value, path: &mut Vec<String>) -> Result<(), ConfigError> {
    let ValueKind::Table(table) = &mut value.kind else { return Ok(()) };
    let keys: Vec<String> = table.keys().cloned().collect();
    for key in keys {
        path.push(key.clone());
        match key.strip_suffix("_file").filter(|secret| is_secret(path, secret)) {
            Some(secret) => read_secret_file(table, secret, &path.join("."))?,
            None => read_secret_files(table.get_mut(&key).expect("it is one of its keys"), path)?,
        }
        path.pop();
    }
    Ok(())
}

fn is_secret(path: &[String], key: &str) -> bool {
    match path.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["database", _] => ["url", "password"].contains(&key),
        ["admin", _] => key == "token",
        ["providers", _, "accounts", _, _] => true,
        _ => false,
    }
}

fn read_secret_file(table: &mut Map<String, Value>, secret: &str, path: &str) -> Result<(), ConfigError> {
    let other = table.get(secret).map(|other| other.origin().is_some());
    let is_variable = table.get(&format!("{secret}_file")).is_some_and(|file| file.origin().is_some());
    if other.is_some_and(|other| other != is_variable) {
        // the environment stands over the file, whichever of the two it sets
        let overruled = if is_variable { secret.to_owned() } else { format!("{secret}_file") };
        table.remove(&overruled);
        if !is_variable {
            return Ok(());
        }
    } else if other.is_some() {
        return Err(ConfigError::at(path, format!("expected either {secret} or {secret}_file, not both")));
    }
    let value = table.get(&format!("{secret}_file")).expect("it is one of its keys").clone();
    let origin = value.origin().map(str::to_owned);
    let file = PathBuf::from(value.into_string().map_err(|_| ConfigError::at(path, "expected the path of a file"))?);
    let content = fs::read_to_string(&file)
        .map(Zeroizing::new)
        .map_err(|error| ConfigError::at(path, format!("{} {}", file.display(), cannot_read(&error))))?;
    let content = content.trim_end_matches(['\r', '\n']);
    table.remove(&format!("{secret}_file"));
    table.insert(secret.to_owned(), Value::new(origin.as_ref(), content));
    Ok(())
}
