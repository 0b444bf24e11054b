//! Any bytes as a configuration file: they become settings or an error, and neither shows a secret.
//!
//! A secret value contains [`MARKER`]; the corpus has it wherever a secret can be.

use std::{env, fs, process};

use config::{Config, File, FileFormat, Map, Value, ValueKind};
use ticket_webhooks::config::load;

/// In lower case: keys are lower-cased when they are shown.
const MARKER: &str = "zq9x7wp3kd";

pub fn configuration(data: &[u8]) {
    let file = env::temp_dir().join(format!("ticket-webhooks-fuzz-{}.toml", process::id()));
    fs::write(&file, data).expect("the directory for temporary files can be written to");
    let loaded = load(Some(&file), []);
    let (shown, is_error) = match &loaded {
        Ok(settings) => (format!("{settings:?}\n{}", settings.to_toml().unwrap_or_default()), false),
        Err(error) => (format!("{error:?}\n{error}"), true),
    };
    if shown.to_lowercase().contains(MARKER) {
        let text = String::from_utf8_lossy(data);
        let root = Config::builder().add_source(File::from_str(&text, FileFormat::Toml)).build();
        // of a file that is not TOML, only a duplicate key may be shown
        let is_allowed =
            root.map_or(shown.contains("duplicate key"), |root| may_be_shown(&root.cache, &mut Vec::new(), is_error));
        assert!(is_allowed, "{shown}");
    }
}

/// Whether the marker is in a key, or in a value that is no secret.
fn may_be_shown(value: &Value, path: &mut Vec<String>, in_an_error: bool) -> bool {
    let is_marked = |text: &str| text.to_lowercase().contains(MARKER);
    match &value.kind {
        ValueKind::Table(table) => in_table(table, path, in_an_error),
        ValueKind::Array(elements) => elements.iter().any(|element| may_be_shown(element, path, in_an_error)),
        ValueKind::String(text) if is_marked(text) => {
            let path: Vec<_> = path.iter().map(String::as_str).collect();
            match path.as_slice() {
                // errors name the path of an unreadable file
                [.., key] if key.ends_with("_file") => true,
                // errors show no other value
                _ if in_an_error => false,
                ["database", "url"] => is_marked(&without_password(text)),
                ["database", "password"] | ["admin", "token"] => false,
                ["providers", _, "accounts", ..] => false,
                _ => true,
            }
        }
        _ => false,
    }
}

fn in_table(table: &Map<String, Value>, path: &mut Vec<String>, in_an_error: bool) -> bool {
    table.iter().any(|(key, value)| {
        path.push(key.clone());
        let is_allowed = key.to_lowercase().contains(MARKER) || may_be_shown(value, path, in_an_error);
        path.pop();
        is_allowed
    })
}

/// Removes the password before the host, and the parameter `password`.
fn without_password(url: &str) -> String {
    let (rest, query) = url.split_once('?').unwrap_or((url, ""));
    let rest = match rest.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@')) {
        Some((user, host)) => format!("{}@{host}", user.split(':').next().unwrap_or_default()),
        None => rest.to_owned(),
    };
    let others = query.split('&').filter(|parameter| !parameter.starts_with("password="));
    others.fold(rest, |url, parameter| url + "&" + parameter)
}
