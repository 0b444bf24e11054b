//! What an authenticated delivery says, and what is kept of it.
//!
//! A [`Payload`] can only be made with the proof that its credentials were right, and the members that carried them are
//! no longer in it; the providers normalize nothing else. What is kept is a [`KeptPayload`], in which no known secret
//! stands any more.

mod fields;
mod findings;
mod lists;

use sha2::{Digest, Sha256};

pub use self::{
    fields::{Fields, MAX_REFERENCE_CHARS},
    findings::{FieldError, Findings, Problem},
    lists::MAX_PASSENGERS,
};
use crate::{
    credentials::Verified,
    json::{Document, Index, Kind},
    redaction::{Redactor, without_members},
};

/// The JSON of an authenticated delivery, less the members that carry credentials.
pub struct Payload {
    text: String,
    index: Index,
}

/// A payload as it is stored: less every known secret.
pub struct KeptPayload {
    payload: Payload,
    warnings: Vec<String>,
}

impl Payload {
    /// Takes the members that carry credentials out of a document.
    pub fn new(_proof: Verified<'_>, document: Document<'_>, credential_members: &[&str]) -> Self {
        let (text, index) = without_members(document, credential_members).into_parts();
        Self { text: text.into_owned(), index }
    }

    /// Its members.
    ///
    /// # Errors
    ///
    /// It is no object.
    pub fn fields(&self) -> Result<Fields<'_>, FieldError> {
        let root = self.index.root(&self.text);
        match root.kind() {
            Kind::Object => Ok(Fields::of(root)),
            _ => Err(FieldError { field: "body".to_owned(), problem: Problem::MustBe("an object".to_owned()) }),
        }
    }

    /// What is kept of it.
    pub fn less_secrets(self, redactor: &Redactor, credential_members: &[&str]) -> KeptPayload {
        let Some(redacted) = redactor.json(&self.text, &self.index, credential_members) else {
            return KeptPayload { payload: self, warnings: Vec::new() };
        };
        let index = Index::of(&redacted.text).expect("what is put into strings leaves valid JSON");
        let mut findings = Findings::default();
        for position in redacted.positions {
            // a path through a key that was a secret shows nothing of it either
            findings.warn(|| match index.path(&redacted.text, position) {
                path if path.is_empty() => "the body held a secret, which was replaced".to_owned(),
                path => format!("{path} held a secret, which was replaced"),
            });
        }
        KeptPayload { payload: Self { text: redacted.text, index }, warnings: findings.into_warnings() }
    }
}

impl KeptPayload {
    /// One that was kept before; `None` for what is no JSON.
    pub fn restore(text: &str) -> Option<Self> {
        let (text, index) = Document::parse(text).ok()?.into_parts();
        Some(Self { payload: Payload { text: text.into_owned(), index }, warnings: Vec::new() })
    }

    /// To be normalized again. It says what it said at first, unless secrets were replaced in it.
    pub fn payload(&self) -> &Payload {
        &self.payload
    }

    /// To be taken for one that was sent.
    pub fn into_payload(self) -> Payload {
        self.payload
    }

    /// A warning for each member in which a secret was replaced.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.payload.text
    }

    /// Its text.
    pub fn into_string(self) -> String {
        self.payload.text
    }

    /// SHA-256 over its canonical form without the volatile members at the top: two deliveries of one booking with the
    /// same hash say the same. White space, escapes and the order of members make no difference.
    pub fn content_hash(&self, volatile_members: &[&str]) -> [u8; 32] {
        let Payload { text, index } = &self.payload;
        Sha256::digest(index.root(text).canonical(volatile_members)).into()
    }
}
