//! The URL of the database, checked without a part of it in a log or an error.

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgConnectOptions;
use tracing::subscriber::NoSubscriber;

/// The parts of a valid URL.
pub(super) fn parse_url(url: &SecretString) -> Option<PgConnectOptions> {
    let url = url.expose_secret().trim();
    let has_scheme = ["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme));
    // sqlx logs an unknown parameter with its value, which may be a misspelled password
    let parsed = tracing::subscriber::with_default(NoSubscriber::new(), || url.parse::<PgConnectOptions>());
    parsed.ok().filter(|_| has_scheme && !has_unencoded_slash(url))
}

/// Whether the user or the password has a `/` that is not percent-encoded: the rest of the secret would be parsed as
/// the name of the database, which is logged.
fn has_unencoded_slash(url: &str) -> bool {
    let before_query = url.split(['?', '#']).next().unwrap_or_default();
    let path = before_query.split_once("://").and_then(|(_, location)| location.split_once('/'));
    path.is_some_and(|(_, path)| path.contains('@'))
}
