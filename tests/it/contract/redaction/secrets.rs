//! The secrets, the ways to write them, and the search for them.

use crate::support::{PROVIDERS, credentials};

/// Every configured secret; the names that go with them are none.
pub fn secrets() -> Vec<&'static str> {
    let accounts = PROVIDERS.iter().flat_map(|provider| ["main", "other"].map(|account| (provider.name, account)));
    let all = accounts.flat_map(|(provider, account)| credentials(provider, account));
    let secrets = all.filter(|(key, _)| !["client_id", "user_name"].contains(key)).map(|(_, value)| value);
    let secrets: Vec<_> = secrets.chain([ADMIN_TOKEN]).collect();
    assert_eq!(secrets.len(), 7);
    secrets
}

/// What opens the admin listener is looked for, too.
pub const ADMIN_TOKEN: &str = "admin-Token-88c1f0";

/// A text as JSON has it, without the quotes.
pub fn escaped(text: &str) -> String {
    let quoted = serde_json::to_string(text).unwrap();
    quoted[1..quoted.len() - 1].to_owned()
}

/// Every character as `\uXXXX`.
pub fn in_code_units(text: &str) -> String {
    text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect()
}

/// The same with capital digits, and of every second character only.
pub fn in_some_code_units(text: &str) -> String {
    let unit = |character: char| format!("\\u{:04X}", u32::from(character));
    let characters = text.chars().enumerate();
    characters.map(|(n, c)| if n % 2 == 0 { unit(c) } else { escaped(&c.to_string()) }).collect()
}

/// Looks for every secret as it is, as JSON has it, and as JSON in JSON has it.
pub fn assert_no_secret(place: &str, text: &str) {
    for secret in secrets() {
        let once = escaped(secret);
        let forms = [
            secret.to_owned(),
            escaped(&once),
            escaped(&escaped(&once)),
            secret.replace('é', "\\u00e9").replace('ö', "\\u00f6"),
            once.replace('é', "\\u00e9").replace('ö', "\\u00f6"),
            escaped(&once.replace('é', "\\u00e9").replace('ö', "\\u00f6")),
            escaped(&escaped(&once.replace('é', "\\u00e9").replace('ö', "\\u00f6"))),
            in_code_units(secret),
            in_some_code_units(secret),
            once,
            // as Postgres writes bytes
            secret.replace('\\', "\\\\").replace('é', "\\303\\251").replace('ö', "\\303\\266"),
            secret.bytes().map(|byte| format!("{byte:02x}")).collect(),
        ];
        for form in forms {
            if let Some(found) = text.find(&form) {
                let around: String =
                    text[..found].chars().rev().take(60).collect::<Vec<_>>().into_iter().rev().collect();
                panic!("{place} shows {form:?} of {secret:?} after {around:?}");
            }
        }
    }
}
