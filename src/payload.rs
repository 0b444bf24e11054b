//! The payload of an authenticated delivery: reading its fields, and the form in which it is stored.
//!
//! Invariants:
//! - a new `Payload` requires the proof that its credentials are valid, and holds no member that carries credentials; one
//!   that is restored was such a payload when it was stored;
//! - providers normalize payloads only, so nothing unauthenticated is ever normalized;
//! - a `RedactedPayload`, the form that is stored, contains no redactable secret as a word.

mod diagnostics;
mod fields;
mod lists;

use sha2::{Digest, Sha256};

pub use self::{
    diagnostics::{Diagnostics, FieldError, Problem},
    fields::{Fields, MAX_REFERENCE_CHARS},
    lists::MAX_PASSENGERS,
};
use crate::{
    credentials::Verified,
    json::{Document, Index, Kind},
    redaction::{Redactor, without_members},
};

/// The JSON of an authenticated delivery, without the members that carry credentials.
pub struct Payload {
    text: String,
    index: Index,
}

/// A payload in which every known secret is replaced: the form that is stored.
pub struct RedactedPayload {
    payload: Payload,
    warnings: Vec<String>,
}

impl Payload {
    /// Removes the members that carry credentials from the document.
    pub fn new(_proof: &Verified, document: Document<'_>, credential_members: &[&str]) -> Self {
        let (text, index) = without_members(document, credential_members).into_parts();
        Self { text: text.into_owned(), index }
    }

    /// Without these members at any depth; and whether there were any.
    pub fn without(self, members: &[&str]) -> (Self, bool) {
        let length = self.text.len();
        let (text, index) = without_members(Document::from_parts(self.text, self.index), members).into_parts();
        let is_shorter = text.len() < length;
        (Self { text: text.into_owned(), index }, is_shorter)
    }

    /// # Errors
    ///
    /// The payload is not an object.
    pub fn fields(&self) -> Result<Fields<'_>, FieldError> {
        let root = self.index.root(&self.text);
        match root.kind() {
            Kind::Object => Ok(Fields::of(root)),
            _ => Err(FieldError { field: "body".to_owned(), problem: Problem::MustBe("an object".to_owned()) }),
        }
    }

    /// Replaces every known secret.
    pub fn redact(self, redactor: &Redactor, credential_members: &[&str]) -> RedactedPayload {
        let Some(redacted) = redactor.redact_json(&self.text, &self.index, credential_members) else {
            return RedactedPayload { payload: self, warnings: Vec::new() };
        };
        let index = Index::of(&redacted.text).expect("replacing text inside strings leaves valid JSON");
        let mut diagnostics = Diagnostics::default();
        for position in redacted.positions {
            // the redacted text: the path itself may lead through a key that held a secret
            diagnostics.warn(|| match index.path(&redacted.text, position) {
                path if path.is_empty() => "the body held a secret, which was replaced".to_owned(),
                path => format!("{path} held a secret, which was replaced"),
            });
        }
        RedactedPayload { payload: Self { text: redacted.text, index }, warnings: diagnostics.into_warnings() }
    }
}

impl RedactedPayload {
    /// Of a stored text, which was redacted before it was stored; `None` when it is not valid JSON.
    pub fn restore(text: &str) -> Option<Self> {
        let (text, index) = Document::parse(text).ok()?.into_parts();
        Some(Self { payload: Payload { text: text.into_owned(), index }, warnings: Vec::new() })
    }

    /// For normalizing again. Gives the same booking unless a secret was replaced.
    pub fn payload(&self) -> &Payload {
        &self.payload
    }

    /// For redacting again.
    pub fn into_payload(self) -> Payload {
        self.payload
    }

    /// One for each value or key in which a secret was replaced.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    pub fn as_str(&self) -> &str {
        &self.payload.text
    }

    pub fn into_string(self) -> String {
        self.payload.text
    }

    /// SHA-256 of the canonical form without the volatile members at the top level: equal for duplicates of one booking.
    pub fn content_hash(&self, volatile_members: &[&str]) -> [u8; 32] {
        let Payload { text, index } = &self.payload;
        Sha256::digest(index.root(text).canonical(volatile_members)).into()
    }
}
