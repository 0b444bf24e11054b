//! What is wrong with the configuration, where, and what was expected.

use std::fmt;

/// The service does not start with this configuration. Holds no value of it: any could be a secret.
#[derive(Debug, thiserror::Error)]
pub struct ConfigError {
    /// The file or the environment variable, where known.
    pub(super) origin: Option<String>,
    /// The full key, such as `server.public_address`; empty for an error about the whole.
    pub(super) key: String,
    /// What is wrong and what was expected.
    pub(super) problem: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.origin {
            write!(formatter, "{origin}: ")?;
        }
        if !self.key.is_empty() {
            write!(formatter, "{}: ", self.key)?;
        }
        formatter.write_str(&self.problem)
    }
}

impl ConfigError {
    /// An error about a key; its origin is added by who knows it.
    pub(crate) fn at(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { origin: None, key: key.into(), problem: problem.into() }
    }

    /// An error about a file or a variable as a whole.
    pub(super) fn from_origin(origin: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { origin: Some(origin.into()), key: String::new(), problem: problem.into() }
    }
}
