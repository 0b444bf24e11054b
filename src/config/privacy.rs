//! `[privacy]`: what is kept of travellers, and for how long.

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::providers;

/// A century.
pub const MAX_RETENTION_DAYS: u32 = 36_500;

/// `[privacy]`
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct PrivacySettings {
    #[serde(deserialize_with = "identity_documents")]
    pub identity_documents: IdentityDocuments,
    /// Personal data that was received longer ago is erased. Without it none is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_days: Option<u32>,
}

impl PrivacySettings {
    /// The members of deliveries that are written nowhere.
    pub fn dropped_members(&self) -> &'static [&'static str] {
        match self.identity_documents {
            IdentityDocuments::Store => &[],
            IdentityDocuments::Drop => providers::document_members(),
        }
    }
}

/// What becomes of identity documents in deliveries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum IdentityDocuments {
    #[default]
    Store,
    /// They are written nowhere.
    Drop,
}

// not derived: serde's error for an unknown variant contains the value
fn identity_documents<'de, D: Deserializer<'de>>(deserializer: D) -> Result<IdentityDocuments, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "store" => Ok(IdentityDocuments::Store),
        "drop" => Ok(IdentityDocuments::Drop),
        _ => Err(de::Error::custom(r#"expected "store" or "drop""#)),
    }
}
