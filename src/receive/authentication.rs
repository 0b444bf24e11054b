//! Who sent a delivery.
//!
//! Credentials in the body are looked for in what it says; in one that is no object, also in its text: what was cut off
//! or has a comma too many must not be lost for that.

use std::borrow::Cow;

use http::HeaderMap;
use memchr::memmem;

use super::{content::Content, interpret::Rejected};
use crate::{
    credentials::{Accounts, AuthenticationFailure, Presented, Verified},
    json::{Kind, broken_members, layer_texts},
    providers::Provider,
};

/// `None` where the credentials stand in the body.
pub(super) fn verify_headers<'a>(
    provider: &dyn Provider,
    accounts: &'a Accounts,
    headers: &HeaderMap,
) -> Result<Option<Verified<'a>>, AuthenticationFailure> {
    if !provider.authenticates_by_header() {
        return Ok(None);
    }
    accounts.verify(provider.presented(headers, None)).map(Some)
}

/// By the credentials in the body. A body that is no JSON, and in which there is none to be found, is answered as such.
pub(super) fn verify_body<'a>(
    provider: &dyn Provider,
    accounts: &'a Accounts,
    content: &Content<'_>,
) -> Result<Verified<'a>, Rejected> {
    let (text, malformed) = match &content.document {
        Ok(document) if document.root().kind() == Kind::Object => {
            return Ok(accounts.verify(provider.presented(&HeaderMap::new(), Some(document.root())))?);
        }
        Ok(document) => match document.root().text() {
            Some(text) => (text.value, None),
            None => (Cow::Borrowed(document.as_str()), None),
        },
        Err(unreadable) => (Cow::Borrowed(&*unreadable.text), Some(&unreadable.malformed)),
    };
    let (presented, is_any_found) = presented_in_text(&text, &provider.credential_members());
    let failure = match accounts.verify(presented) {
        Ok(verified) => return Ok(verified),
        Err(failure) => failure,
    };
    match malformed {
        Some(malformed) if !is_any_found => Err(Rejected { reply: malformed.into(), failure: Some(failure) }),
        _ => Err(failure.into()),
    }
}

/// The scalars behind the quoted names of the credentials, the last of each, and whether any was found. JSON in a string
/// has its quotes escaped.
fn presented_in_text(text: &str, members: &[&str]) -> (Result<Presented<'static>, AuthenticationFailure>, bool) {
    let mut is_any_found = false;
    // where no name stands and nothing that could be a letter of one, none has to be looked for
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
