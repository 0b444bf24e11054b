//! Verifying the credentials of a delivery.
//!
//! Credentials in the body are read from its members. When the body is not a JSON object, they are also searched for in its
//! text, so that a delivery that was cut off or has a syntax error is not lost.

use std::borrow::Cow;

use http::HeaderMap;
use memchr::memmem;

use super::{content::Content, rejected::Rejected};
use crate::{
    credentials::{Accounts, AuthenticationFailure, Presented, Verified},
    json::{Kind, broken_members, layer_texts},
    providers::Provider,
};

/// `None` when the provider's credentials are in the body.
pub(super) fn verify_headers(
    provider: &dyn Provider,
    accounts: &Accounts,
    headers: &HeaderMap,
) -> Result<Option<Verified>, AuthenticationFailure> {
    if !provider.authenticates_by_header() {
        return Ok(None);
    }
    accounts.verify(provider.credentials_in_header(headers)).map(Some)
}

/// An unreadable body without any credentials is rejected for being unreadable, not as unauthenticated.
pub(super) fn verify_body(
    provider: &dyn Provider,
    accounts: &Accounts,
    content: &Content<'_>,
) -> Result<Verified, Rejected> {
    let (text, fault) = match &content.document {
        Ok(document) if document.root().kind() == Kind::Object => {
            return Ok(accounts.verify(provider.credentials_in_body(document.root()))?);
        }
        Ok(document) => match document.root().text() {
            Some(text) => (text.value, None),
            None => (Cow::Borrowed(document.as_str()), None),
        },
        Err(unreadable) => (Cow::Borrowed(&*unreadable.text), Some(&unreadable.fault)),
    };
    let (presented, is_any_found) = credentials_in_text(&text, &provider.credential_members());
    let failure = match accounts.verify(presented) {
        Ok(verified) => return Ok(verified),
        Err(failure) => failure,
    };
    match fault {
        Some(fault) if !is_any_found => Err(Rejected { reply: fault.into(), failure: Some(failure) }),
        _ => Err(failure.into()),
    }
}

/// The scalars of these members in a text that is not a JSON object, of repeated ones the last; and whether any was found.
/// Searches every escape layer: JSON in a string has its quotes escaped.
fn credentials_in_text(text: &str, members: &[&str]) -> (Result<Presented<'static>, AuthenticationFailure>, bool) {
    let mut is_any_found = false;
    // fast path: the layer holds neither a name nor an escape that could be a letter of one
    let may_hold_any = |layer: &str| {
        let holds = |part: &str| memmem::find(layer.as_bytes(), part.as_bytes()).is_some();
        holds("\\u") || members.iter().any(|member| holds(member))
    };
    for layer in layer_texts(text).filter(|layer| may_hold_any(layer)) {
        let mut values = vec![None; members.len()];
        for member in broken_members(&layer, members) {
            if member.is_exact && member.scalar.is_some() {
                values[member.name] = member.scalar.map(|scalar| Cow::Owned(scalar.into_owned()));
            }
        }
        is_any_found |= values.iter().any(Option::is_some);
        if let Some(presented) = values.into_iter().collect() {
            return (Ok(presented), true);
        }
    }
    (Err(AuthenticationFailure::Missing), is_any_found)
}
