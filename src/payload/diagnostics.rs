//! Errors and warnings found while a payload is read.

use std::fmt;

/// Warnings per delivery; the rest is only counted.
const MAX_WARNINGS: usize = 100;

/// A required field that is missing or cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The path of the field, in the provider's spelling.
    pub field: String,
    pub problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Absent, null, or empty.
    Missing,
    /// Completes the sentence "the field must be ...".
    MustBe(String),
}

impl fmt::Display for FieldError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.problem {
            Problem::Missing => write!(formatter, "{} is required", self.field),
            Problem::MustBe(what) => write!(formatter, "{} must be {what}", self.field),
        }
    }
}

#[derive(Default)]
pub struct Diagnostics {
    /// Any error makes the delivery invalid.
    pub errors: Vec<FieldError>,
    warnings: Vec<String>,
    /// Warnings beyond [`MAX_WARNINGS`].
    dropped_warnings: usize,
}

impl Diagnostics {
    /// The text names fields and repeats no values.
    pub fn warn(&mut self, text: impl FnOnce() -> String) {
        if self.warnings.len() < MAX_WARNINGS {
            self.warnings.push(text());
        } else {
            self.dropped_warnings += 1;
        }
    }

    pub(super) fn warning_count(&self) -> usize {
        self.warnings.len() + self.dropped_warnings
    }

    pub fn error(&mut self, field: String, problem: Problem) {
        self.errors.push(FieldError { field, problem });
    }

    /// The last warning gives the number of dropped ones, if any.
    pub fn into_warnings(mut self) -> Vec<String> {
        if self.dropped_warnings > 0 {
            self.warnings.push(format!("{} more warnings", self.dropped_warnings));
        }
        self.warnings
    }
}
