//! A configuration file: any bytes are settings or an error, and neither shows the value of a secret.
//!
//! A value is known to be a secret by the [`MARKER`] in it: the corpus has it wherever a secret can stand.

use std::{env, fs, process};

use config::{Config, File, FileFormat, Map, Value, ValueKind};
use ticket_webhooks::config::load;

/// Stands in every value that must not be shown. In lower case, as the keys are that may be.
const MARKER: &str = "zq9x7wp3kd";

/// Takes any bytes as a configuration file.
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
        // of a file that is no TOML only a key may be shown: the one that is there twice
        let may_be =
            root.map_or(shown.contains("duplicate key"), |root| may_be_shown(&root.cache, &mut Vec::new(), is_error));
        assert!(may_be, "{shown}");
    }
}

/// Whether the marker stands in a key, or in a value that is no secret.
fn may_be_shown(value: &Value, path: &mut Vec<String>, in_an_error: bool) -> bool {
    let is_marked = |text: &str| text.to_lowercase().contains(MARKER);
    match &value.kind {
        ValueKind::Table(table) => in_table(table, path, in_an_error),
        ValueKind::Array(elements) => elements.iter().any(|element| may_be_shown(element, path, in_an_error)),
        ValueKind::String(text) if is_marked(text) => {
            let path: Vec<_> = path.iter().map(String::as_str).collect();
            match path.as_slice() {
                // the path of a file is named when the file cannot be read
                [.., key] if key.ends_with("_file") => true,
                // of the other values an error shows none
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
        let may_be = key.to_lowercase().contains(MARKER) || may_be_shown(value, path, in_an_error);
        path.pop();
        may_be
    })
}

/// Less what stands between the user's name and the host, and less a parameter of that name.
fn without_password(url: &str) -> String {
    let (rest, query) = url.split_once('?').unwrap_or((url, ""));
    let rest = match rest.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@')) {
        Some((user, host)) => format!("{}@{host}", user.split(':').next().unwrap_or_default()),
        None => rest.to_owned(),
    };
    let others = query.split('&').filter(|parameter| !parameter.starts_with("password="));
    others.fold(rest, |url, parameter| url + "&" + parameter)
}
