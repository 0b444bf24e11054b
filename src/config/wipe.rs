//! Overwrites what was read from memory after use.
//!
//! Invariant: a secret from a `KEY_file` is nowhere else. Every string is overwritten, because any may be a secret.
//!
//! It does not reach the copies that the `config` crate makes of the configuration file; environment variables stay in
//! the memory of a process anyway.

use std::ops::{Deref, DerefMut};

use config::{Value, ValueKind};
use secrecy::zeroize::Zeroize;

/// Overwrites its strings when dropped.
pub(super) struct Wiped(pub(super) Value);

impl Drop for Wiped {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

impl Deref for Wiped {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.0
    }
}

impl DerefMut for Wiped {
    fn deref_mut(&mut self) -> &mut Value {
        &mut self.0
    }
}

fn wipe(value: &mut Value) {
    match &mut value.kind {
        ValueKind::String(text) => text.zeroize(),
        ValueKind::Table(table) => table.values_mut().for_each(wipe),
        ValueKind::Array(values) => values.iter_mut().for_each(wipe),
        _ => {}
    }
}
