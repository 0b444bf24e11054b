//! The layers: the defaults, then a TOML file, then environment variables; and `KEY_file` for every secret.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use config::{File, FileFormat, Map, Value, ValueKind};
use secrecy::zeroize::Zeroizing;
use serde::Deserialize;

use super::{
    AdminSettings, BookingsSettings, ConfigError, DatabaseSettings, InboxSettings, LogSettings, PrivacySettings,
    ServerSettings, Settings, SpoolSettings,
    forward::{self, RawForward},
    providers::{self, RawProvider},
    variables::{Variables, is_from_variable},
    wipe::Wiped,
};

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
    bookings: BookingsSettings,
    #[serde(default)]
    privacy: PrivacySettings,
    #[serde(default)]
    log: LogSettings,
    #[serde(default)]
    forward: BTreeMap<String, RawForward>,
    #[serde(default)]
    providers: HashMap<String, RawProvider>,
}

/// Reads and checks the settings from a file (if one is named) and from environment variables.
///
/// # Errors
///
/// The error names the file or the variable, the key, and what was expected.
pub fn load(
    file: Option<&Path>,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Settings, ConfigError> {
    let variables = Variables::new(variables, file)?;
    let mut layers = config::Config::builder();
    if let Some(path) = file {
        let text = fs::read_to_string(path)
            .map(Zeroizing::new)
            .map_err(|error| ConfigError::from_origin(path.display().to_string(), cannot_read(&error)))?;
        layers = layers.add_source(File::from_str(&text, FileFormat::Toml));
    }
    let source = config::Environment::with_prefix("TICKET_WEBHOOKS")
        .prefix_separator("__")
        .separator("__")
        .source(Some(variables.prefixed.clone()));
    let merged = layers.add_source(source).build().map_err(|error| variables.translate(error, None))?;
    let mut root = Wiped(merged.cache);
    read_secret_files(&mut root, &mut Vec::new()).map_err(|error| variables.locate(error, &root))?;
    let raw = RawSettings::deserialize(Value::clone(&root)).map_err(|error| variables.translate(error, Some(&root)))?;
    let RawSettings { mut server, admin, database, inbox, spool, bookings, privacy, log, forward, providers } = raw;
    let settings = providers::check(providers).and_then(|providers| {
        let forward = forward::check(forward)?;
        if let Some(port) = variables.port {
            server.public_address.set_port(port);
        }
        let settings = Settings { server, admin, database, inbox, spool, bookings, privacy, log, forward, providers };
        settings.check().map(|()| settings)
    });
    settings.map_err(|error| variables.locate(error, &root))
}

fn cannot_read(error: &std::io::Error) -> String {
    format!("cannot be read: {error}")
}

/// Replaces every `KEY_file` of a secret `KEY` by the content of the file.
fn read_secret_files(value: &mut Value, path: &mut Vec<String>) -> Result<(), ConfigError> {
    let ValueKind::Table(table) = &mut value.kind else { return Ok(()) };
    let keys: Vec<String> = table.keys().cloned().collect();
    for key in keys {
        path.push(key.clone());
        match key.strip_suffix("_file").filter(|secret| is_secret(path, secret)) {
            Some(secret) => read_secret_file(table, secret, &path.join("."))?,
            None => read_secret_files(table.get_mut(&key).expect("the key is from this table"), path)?,
        }
        path.pop();
    }
    Ok(())
}

fn is_secret(path: &[String], key: &str) -> bool {
    match path.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["database", _] => ["url", "password"].contains(&key),
        ["admin", _] => key == "token",
        ["forward", _, _] => ["url", "secrets"].contains(&key),
        ["providers", _, "accounts", _, _] => true,
        _ => false,
    }
}

fn read_secret_file(table: &mut Map<String, Value>, secret: &str, path: &str) -> Result<(), ConfigError> {
    let file_key = format!("{secret}_file");
    let is_file_from_variable = table.get(&file_key).is_some_and(is_from_variable);
    match table.get(secret).map(is_from_variable) {
        // the layer of the variables overrides the file's, whichever of the two keys each sets
        Some(true) if !is_file_from_variable => {
            table.remove(&file_key);
            return Ok(());
        }
        Some(false) if is_file_from_variable => drop(table.remove(secret)),
        Some(_) => return Err(ConfigError::at(path, format!("expected either {secret} or {file_key}, not both"))),
        None => {}
    }
    // stays in the table until it is read: an error is located by it
    let value = table.get(&file_key).expect("the key is from this table").clone();
    let origin = value.origin().map(str::to_owned);
    let content = match value.kind {
        // of a forward, one in each file
        ValueKind::Array(files) => {
            let contents = files.into_iter().map(|file| read_file(file, path).map(|content| content.as_str().into()));
            ValueKind::Array(contents.collect::<Result<Vec<Value>, ConfigError>>()?)
        }
        _ => read_file(value, path)?.as_str().into(),
    };
    table.remove(&file_key);
    table.insert(secret.to_owned(), Value::new(origin.as_ref(), content));
    Ok(())
}

fn read_file(file: Value, path: &str) -> Result<Zeroizing<String>, ConfigError> {
    let file = PathBuf::from(file.into_string().map_err(|_| ConfigError::at(path, "expected the path of a file"))?);
    let content = fs::read_to_string(&file)
        .map(Zeroizing::new)
        .map_err(|error| ConfigError::at(path, format!("{} {}", file.display(), cannot_read(&error))))?;
    Ok(Zeroizing::new(content.trim_end_matches(['\r', '\n']).to_owned()))
}
