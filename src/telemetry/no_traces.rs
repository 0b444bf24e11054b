//! `traces` without the feature `opentelemetry`: nothing is exported.

use super::Trace;

pub struct Traces;

impl Traces {
    pub fn start() -> Self {
        Self
    }

    pub fn export(&self, _: &Trace<'_>) -> Option<u128> {
        None
    }

    pub fn stop(&self) {}
}
