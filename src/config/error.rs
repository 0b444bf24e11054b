//! What is wrong with the configuration, where, and what was expected.

use std::fmt;

/// A configuration with which the service does not start. Shows no value, for any could be a secret.
#[derive(Debug, thiserror::Error)]
pub struct ConfigError {
    /// The file or the environment variable, where it is known.
    pub(super) place: Option<String>,
    /// The key, from the top: `server.public_address`. Empty when it is about the whole.
    pub(super) key: String,
    /// What is wrong and what was expected.
    pub(super) problem: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(formatter, "{place}: ")?;
        }
        if !self.key.is_empty() {
            write!(formatter, "{}: ", self.key)?;
        }
        formatter.write_str(&self.problem)
    }
}

impl ConfigError {
    /// Something is wrong with the value of a key.
    pub(crate) fn at(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { place: None, key: key.into(), problem: problem.into() }
    }

    /// A key is needed and not there.
    pub(crate) fn missing(key: &str, usual_variable: Option<&str>) -> Self {
        let mut problem = format!("it is missing; set it in the configuration file or as {}", variable_of(key));
        if let Some(usual) = usual_variable {
            problem = format!("{problem} (or {usual})");
        }
        Self::at(key, problem)
    }

    /// Something is wrong with a file or a variable as a whole.
    pub(super) fn in_place(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { place: Some(place.into()), key: String::new(), problem: problem.into() }
    }
}

/// The environment variable of a key.
pub(super) fn variable_of(key: &str) -> String {
    format!("{}{}", super::load::PREFIX, key.replace('.', "__").to_uppercase())
}
