//! What was read is wiped from memory after use.
//!
//! Every text is, for any may be a secret: those from files of secrets are never anywhere else. It does not reach the
//! copies that the `config` crate makes of a configuration file and of environment variables, which stay in the memory
//! of a process anyway.

use std::ops::{Deref, DerefMut};

use config::{Value, ValueKind};
use secrecy::zeroize::Zeroize;

/// A value whose texts are overwritten when it goes.
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
