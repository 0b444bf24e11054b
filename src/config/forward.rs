//! `[forward.*]`: where events are sent on to.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use http::{Uri, uri::Scheme};
use rustls_pki_types::ServerName;
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, SeqAccess, Visitor},
    ser::SerializeMap,
};

use super::ConfigError;
use crate::{
    forward::{SigningKey, Wanted},
    providers,
    redaction::REDACTED,
    store::MAX_CONSUMERS,
    ticket_event::{Environment, Status},
};

/// With `forward-` before it, it is the name of a consumer.
const MAX_NAME_LENGTH: usize = 55;

/// Each has a named position, and leaves most of them to others.
const MAX_FORWARDS: usize = MAX_CONSUMERS as usize / 5;

/// Requests at once: half of them may be for what failed before.
const MIN_IN_FLIGHT: usize = 2;
const MAX_IN_FLIGHT: usize = 64;

const EXPECTED_URL: &str = "expected a URL such as https://back-office.example/tickets";

/// Two sign while one is replaced by the other.
const MAX_SECRETS: usize = 2;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawForward {
    #[serde(default)]
    url: Option<SecretString>,
    #[serde(default, deserialize_with = "secrets")]
    secrets: Vec<SecretString>,
    #[serde(default, deserialize_with = "texts")]
    environments: Vec<String>,
    #[serde(default, deserialize_with = "texts")]
    providers: Vec<String>,
    #[serde(default, deserialize_with = "texts")]
    statuses: Vec<String>,
    #[serde(default)]
    include_payload: bool,
    #[serde(default)]
    from: Option<String>,
    #[serde(default)]
    max_in_flight: Option<usize>,
}

/// Where a forward begins that is new.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ForwardFrom {
    /// Behind what is recorded already.
    #[default]
    Now,
    /// At the first event.
    Start,
}

/// `[forward.NAME]`
pub struct ForwardSettings {
    pub name: String,
    /// Without user and password; a token may stand in its path and query.
    pub url: ReceiverUrl,
    /// One, or two during a rotation.
    pub secrets: Vec<SecretString>,
    pub keys: Vec<SigningKey>,
    pub wanted: Wanted,
    pub include_payload: bool,
    pub from: ForwardFrom,
    /// Requests at once.
    pub max_in_flight: usize,
}

/// Where a forward may send to: over https, or to this machine.
#[derive(Clone, PartialEq, Eq)]
pub struct ReceiverUrl(Uri);

impl ReceiverUrl {
    /// # Errors
    ///
    /// What was expected.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.contains('#') {
            return Err("expected a URL without #");
        }
        let url: Uri = text.parse().map_err(|_| EXPECTED_URL)?;
        let Some(authority) = url.authority() else {
            return Err(EXPECTED_URL);
        };
        if authority.as_str().contains('@') {
            return Err("expected a URL without user and password: the signature authenticates");
        }
        let host = authority.host();
        let without_brackets = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if ServerName::try_from(without_brackets).is_err() {
            return Err("expected a URL with the name or the address of a host");
        }
        let has_port = authority.as_str().len() > host.len();
        if has_port && matches!(authority.port_u16(), None | Some(0)) {
            return Err("expected a URL with a port from 1 to 65535, or without one");
        }
        let address = without_brackets.parse::<IpAddr>();
        let is_loopback = address
            .map_or_else(|_| host.eq_ignore_ascii_case("localhost"), |address| address.to_canonical().is_loopback());
        match url.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => Ok(Self(url)),
            Some(scheme) if *scheme == Scheme::HTTP && is_loopback => Ok(Self(url)),
            None => Err(EXPECTED_URL),
            _ => Err("expected a URL with https, or with http one of this machine (localhost, 127.0.0.1, [::1])"),
        }
    }

    pub fn uri(&self) -> &Uri {
        &self.0
    }
}

/// Without what may be a token: all but scheme, host and port.
impl fmt::Display for ReceiverUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, authority) = (self.0.scheme_str().unwrap_or_default(), self.0.authority());
        write!(formatter, "{scheme}://{}", authority.map_or("", http::uri::Authority::as_str))?;
        if self.0.path_and_query().is_some_and(|path| path.as_str() != "/") {
            write!(formatter, "/{REDACTED}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for ReceiverUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl fmt::Debug for ForwardSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, url, .. } = self;
        formatter.debug_struct("ForwardSettings").field("name", name).field("url", url).finish_non_exhaustive()
    }
}

impl Serialize for ForwardSettings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Wanted { environments, providers, statuses } = &self.wanted;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("url", &self.url.to_string())?;
        map.serialize_entry("secrets", &vec![REDACTED; self.secrets.len()])?;
        map.serialize_entry("environments", environments)?;
        map.serialize_entry("providers", providers)?;
        map.serialize_entry("statuses", statuses)?;
        map.serialize_entry("include_payload", &self.include_payload)?;
        map.serialize_entry("from", &self.from)?;
        map.serialize_entry("max_in_flight", &self.max_in_flight)?;
        map.end()
    }
}

/// In the order of their names.
pub(super) fn check(raw: BTreeMap<String, RawForward>) -> Result<Vec<ForwardSettings>, ConfigError> {
    if raw.len() > MAX_FORWARDS {
        return Err(ConfigError::at("forward", format!("expected at most {MAX_FORWARDS} forwards")));
    }
    raw.into_iter().map(|(name, raw)| check_forward(name, raw)).collect()
}

fn check_forward(name: String, raw: RawForward) -> Result<ForwardSettings, ConfigError> {
    let is_valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    if name.is_empty() || name.len() > MAX_NAME_LENGTH || !name.bytes().all(is_valid) {
        let problem = format!("expected names of 1 to {MAX_NAME_LENGTH} of: a-z, 0-9, - and _");
        return Err(ConfigError::at("forward", problem));
    }
    let error = |key: &str, problem: &str| ConfigError::at(format!("forward.{name}.{key}"), problem);
    let url = raw.url.ok_or_else(|| error("url", "missing"))?;
    let url = ReceiverUrl::parse(url.expose_secret()).map_err(|problem| error("url", problem))?;
    if raw.secrets.is_empty() || raw.secrets.len() > MAX_SECRETS {
        let problem = "expected one secret, or two while one is replaced; one is made by: echo \"whsec_$(openssl rand -base64 32)\"";
        return Err(error("secrets", problem));
    }
    let keys = raw.secrets.iter().map(|secret| SigningKey::parse(secret.expose_secret())).collect::<Option<Vec<_>>>();
    let keys = keys.ok_or_else(|| error("secrets", "expected whsec_ and 24 to 64 bytes in base64"))?;
    if raw.secrets.iter().skip(1).any(|secret| secret.expose_secret() == raw.secrets[0].expose_secret()) {
        return Err(error("secrets", "expected two different secrets"));
    }
    let environments = raw.environments.iter().map(|environment| match environment.as_str() {
        "live" => Ok(Environment::Live),
        "test" => Ok(Environment::Test),
        _ => Err(error("environments", r#"expected "live" and "test""#)),
    });
    let provider = |name: &String| providers::by_name(name).map(providers::Provider::name);
    let provider = |name: &String| provider(name).ok_or_else(providers::listed_names);
    let providers = raw.providers.iter().map(|name| {
        provider(name).map_err(|known| error("providers", &format!("unknown provider; expected some of {known}")))
    });
    let statuses = raw.statuses.iter().map(|name| {
        let status = Status::ALL.into_iter().find(|status| status.as_str() == name);
        let known = || Status::ALL.map(Status::as_str).join(", ");
        status.ok_or_else(|| error("statuses", &format!("unknown status; expected some of {}", known())))
    });
    let wanted = Wanted {
        environments: environments.collect::<Result<_, _>>()?,
        providers: providers.collect::<Result<_, _>>()?,
        statuses: statuses.collect::<Result<_, _>>()?,
    };
    let from = match raw.from.as_deref() {
        None | Some("now") => ForwardFrom::Now,
        Some("start") => ForwardFrom::Start,
        Some(_) => return Err(error("from", r#"expected "now" or "start""#)),
    };
    let max_in_flight = raw.max_in_flight.unwrap_or(8);
    if !(MIN_IN_FLIGHT..=MAX_IN_FLIGHT).contains(&max_in_flight) {
        return Err(error("max_in_flight", &format!("expected a number from {MIN_IN_FLIGHT} to {MAX_IN_FLIGHT}")));
    }
    let (secrets, include_payload) = (raw.secrets, raw.include_payload);
    Ok(ForwardSettings { url, secrets, keys, wanted, include_payload, from, max_in_flight, name })
}

/// A list, or a string with commas (environment variables).
fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Texts {
        Text(String),
        List(Vec<String>),
    }
    let texts = Texts::deserialize(deserializer).map_err(|_| de::Error::custom("expected a list of texts"))?;
    let texts = match texts {
        Texts::Text(text) => text.split(',').map(str::to_owned).collect(),
        Texts::List(texts) => texts,
    };
    Ok(texts.iter().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect())
}

/// As [`texts`], without a copy that is not overwritten: an untagged enum would leave one.
fn secrets<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<SecretString>, D::Error> {
    struct Secrets;

    impl<'de> Visitor<'de> for Secrets {
        type Value = Vec<SecretString>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a list of secrets")
        }

        fn visit_string<E: de::Error>(self, text: String) -> Result<Self::Value, E> {
            self.visit_str(&Zeroizing::new(text))
        }

        fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
            let secrets = text.split(',').map(str::trim).filter(|secret| !secret.is_empty());
            Ok(secrets.map(SecretString::from).collect())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut secrets = Vec::new();
            while let Some(secret) = list.next_element()? {
                secrets.push(secret);
            }
            Ok(secrets)
        }
    }

    deserializer.deserialize_any(Secrets)
}
