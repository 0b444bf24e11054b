//! `[server]`: the listeners, their limits, and the trusted proxies.

use std::{
    net::{IpAddr, SocketAddr},
    num::{NonZeroU32, NonZeroU64},
    time::Duration,
};

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, de};

use super::milliseconds;
use crate::addresses::canonical;

/// `[server]`: `config/default.toml` explains every key.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerSettings {
    /// The listener for providers.
    #[serde(deserialize_with = "address")]
    pub public_address: SocketAddr,
    /// The listener for operators.
    #[serde(deserialize_with = "address")]
    pub admin_address: SocketAddr,
    /// Of one body, decompressed.
    pub body_limit_bytes: usize,
    /// Of all bodies that are being received or decompressed.
    pub body_memory_bytes: usize,
    /// To the public listener.
    pub max_connections: usize,
    /// Of a client prefix, IPv4 address or IPv6 /64, to the public listener; a /48 has four times as many. Trusted
    /// proxies are exempt.
    pub max_connections_per_address: usize,
    /// From the first byte of a request's head to its last.
    #[serde(rename = "header_read_timeout_ms", with = "milliseconds")]
    pub header_read_timeout: Duration,
    /// Between requests.
    #[serde(rename = "idle_timeout_ms", with = "milliseconds")]
    pub idle_timeout: Duration,
    /// For a whole body.
    #[serde(rename = "body_read_timeout_ms", with = "milliseconds")]
    pub body_read_timeout: Duration,
    /// From the moment a write blocks until all is written.
    #[serde(rename = "response_write_timeout_ms", with = "milliseconds")]
    pub response_write_timeout: Duration,
    /// Grace period without a minimum rate: a body must be complete by
    /// `min(body_read_timeout, body_grace + received bytes / body_min_rate)`.
    #[serde(rename = "body_grace_ms", with = "milliseconds")]
    pub body_grace: Duration,
    /// In bytes per second.
    #[serde(rename = "body_min_bytes_per_second")]
    pub body_min_rate: NonZeroU64,
    /// From SIGTERM, not ready, until the listeners stop accepting: the load balancer's time to notice.
    #[serde(rename = "drain_delay_ms", with = "milliseconds")]
    pub drain_delay: Duration,
    /// From the end of the drain delay until what is in flight is aborted.
    #[serde(rename = "shutdown_timeout_ms", with = "milliseconds")]
    pub shutdown_timeout: Duration,
    /// Their `X-Forwarded-For` or `Forwarded` names the client.
    #[serde(deserialize_with = "networks")]
    pub trusted_proxies: Vec<IpNet>,
    #[serde(deserialize_with = "forwarded_header")]
    pub forwarded_header: ForwardedHeader,
    /// Per client prefix, IPv4 address or IPv6 /64 (a /48 has 16 times as many); then a failure is answered with 429.
    pub authentication_failures_per_minute: NonZeroU32,
}

/// The header in which trusted proxies name the client; the other one is ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`, or `Forwarded` when that is absent.
    #[default]
    Either,
    XForwardedFor,
    /// RFC 7239
    Forwarded,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            public_address: SocketAddr::from(([0, 0, 0, 0], 8080)),
            admin_address: SocketAddr::from(([127, 0, 0, 1], 9090)),
            body_limit_bytes: 256 * 1024,
            body_memory_bytes: 64 * 1024 * 1024,
            max_connections: 2048,
            max_connections_per_address: 256,
            header_read_timeout: Duration::from_secs(10),
            // longer than load balancers keep idle connections: a close that crosses a request loses the delivery
            idle_timeout: Duration::from_secs(75),
            body_read_timeout: Duration::from_secs(10),
            response_write_timeout: Duration::from_secs(10),
            body_grace: Duration::from_secs(3),
            body_min_rate: NonZeroU64::new(1024).expect("not 0"),
            drain_delay: Duration::from_secs(5),
            shutdown_timeout: Duration::from_secs(25),
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::default(),
            authentication_failures_per_minute: NonZeroU32::new(100).expect("not 0"),
        }
    }
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.trim()
        .parse()
        .map_err(|_| de::Error::custom("expected an IP address and a port, such as 0.0.0.0:8080 or [::1]:8080"))
}

/// A list, or a string with commas (environment variables). A bare address is a network with one address.
pub(super) fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Networks {
        Text(String),
        List(Vec<String>),
    }
    let expected = || de::Error::custom("expected networks such as 10.0.0.0/8 or 2001:db8::/32");
    let texts = match Networks::deserialize(deserializer).map_err(|_| expected())? {
        Networks::Text(text) => text.split(',').map(str::to_owned).collect(),
        Networks::List(texts) => texts,
    };
    let texts = texts.iter().map(|text| text.trim()).filter(|text| !text.is_empty());
    texts
        .map(|text| text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).map_err(|_| expected()))
        .map(|network| network.map(canonical))
        .collect()
}

// not derived: serde's error for an unknown variant contains the value
fn forwarded_header<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ForwardedHeader, D::Error> {
    match String::deserialize(deserializer)?.to_ascii_lowercase().as_str() {
        "either" => Ok(ForwardedHeader::Either),
        "x-forwarded-for" => Ok(ForwardedHeader::XForwardedFor),
        "forwarded" => Ok(ForwardedHeader::Forwarded),
        _ => Err(de::Error::custom(r#"expected "either", "x-forwarded-for" or "forwarded""#)),
    }
}
