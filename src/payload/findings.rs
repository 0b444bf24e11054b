//! What reading a payload brings to light: reasons to refuse it, and things that are only odd.

use std::fmt;

/// More warnings than this on one delivery tell nothing new.
const MAX_WARNINGS: usize = 100;

/// A required field that is missing or cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The field in the provider's spelling, with its path.
    pub field: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What can be wrong with a required field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Not there, null, or empty.
    Missing,
    /// There, but not what it must be: `must be …`.
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

/// What reading a payload brought to light.
#[derive(Default)]
pub struct Findings {
    /// Reasons to refuse the delivery.
    pub errors: Vec<FieldError>,
    warnings: Vec<String>,
    left_out: usize,
}

impl Findings {
    /// Notes something odd.
    pub fn warn(&mut self, text: impl FnOnce() -> String) {
        if self.warnings.len() < MAX_WARNINGS {
            self.warnings.push(text());
        } else {
            self.left_out += 1;
        }
    }

    /// How many odd things there are.
    pub(super) fn warned(&self) -> usize {
        self.warnings.len() + self.left_out
    }

    /// Notes a reason to refuse the delivery.
    pub fn refuse(&mut self, field: String, problem: Problem) {
        self.errors.push(FieldError { field, problem });
    }

    /// The warnings, the number of those beyond the hundredth in the last one.
    pub fn into_warnings(mut self) -> Vec<String> {
        if self.left_out > 0 {
            self.warnings.push(format!("{} more warnings", self.left_out));
        }
        self.warnings
    }
}
