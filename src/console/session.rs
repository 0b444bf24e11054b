//! Who is signed in: a signed cookie that expires.
//!
//! Its key is derived from the admin token. So every replica knows it, nothing is stored, and a new token signs everybody
//! out. The cookie holds the name that the person gave: it is what the log names when somebody looks at personal data.

use axum::http::{HeaderMap, HeaderValue, header::COOKIE};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use time::{Duration, OffsetDateTime};

use crate::{admin_token::AdminToken, clock};

const COOKIE_NAME: &str = "ticket-webhooks-session";

/// A working day, with some overtime.
pub(super) const LIFETIME: Duration = Duration::hours(12);

const PURPOSE: &str = "session of the console";

/// In characters.
pub(super) const MAX_NAME_LENGTH: usize = 60;

/// Somebody who is signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Session {
    /// As they gave it.
    pub(super) name: String,
    expires: OffsetDateTime,
}

impl Session {
    pub(super) fn begin(name: String) -> Self {
        Self { name, expires: clock::now() + LIFETIME }
    }

    /// That of a request, if it is valid and has not expired.
    pub(super) fn of(headers: &HeaderMap, token: &AdminToken) -> Option<Self> {
        let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let cookies = cookies.flat_map(|value| value.split(';')).filter_map(|cookie| cookie.trim().split_once('='));
        let mut ours = cookies.filter(|(name, _)| *name == COOKIE_NAME);
        ours.find_map(|(_, value)| Self::parse(value, token))
    }

    /// `Set-Cookie`. `None` without a token in the configuration.
    pub(super) fn cookie(&self, token: &AdminToken, is_https: bool) -> Option<HeaderValue> {
        let content = format!("{}.{}", self.expires.unix_timestamp(), URL_SAFE_NO_PAD.encode(&self.name));
        let signature = URL_SAFE_NO_PAD.encode(signature(&content, token)?.finalize().into_bytes());
        Some(set_cookie(&format!("{content}.{signature}"), LIFETIME, is_https))
    }

    fn parse(value: &str, token: &AdminToken) -> Option<Self> {
        let (content, signed) = value.rsplit_once('.')?;
        signature(content, token)?.verify_slice(&URL_SAFE_NO_PAD.decode(signed).ok()?).ok()?;
        let (expires, name) = content.split_once('.')?;
        let expires = OffsetDateTime::from_unix_timestamp(expires.parse().ok()?).ok()?;
        let name = String::from_utf8(URL_SAFE_NO_PAD.decode(name).ok()?).ok()?;
        (expires > clock::now()).then_some(Self { name, expires })
    }
}

/// `Set-Cookie` that ends a session.
pub(super) fn ended(is_https: bool) -> HeaderValue {
    set_cookie("", Duration::ZERO, is_https)
}

fn set_cookie(value: &str, lifetime: Duration, is_https: bool) -> HeaderValue {
    let secure = if is_https { "; Secure" } else { "" };
    let max_age = lifetime.whole_seconds();
    let cookie = format!("{COOKIE_NAME}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Strict{secure}");
    HeaderValue::try_from(cookie).expect("all of it is visible ASCII")
}

fn signature(content: &str, token: &AdminToken) -> Option<Hmac<Sha256>> {
    let key = token.derive_key(PURPOSE)?;
    let mut mac = Hmac::new_from_slice(&*key).expect("a key of any length is accepted");
    mac.update(content.as_bytes());
    Some(mac)
}
