//! `[server]`: the listeners, their limits, and whom they believe.

use std::{
    net::{IpAddr, SocketAddr},
    num::{NonZeroU32, NonZeroU64},
    time::Duration,
};

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de};

use super::milliseconds;
use crate::addresses::canonical;

/// `[server]`: the listeners and their limits.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerSettings {
    /// Where the providers come in.
    #[serde(deserialize_with = "address")]
    pub public_address: SocketAddr,
    /// Where the operators come in.
    #[serde(deserialize_with = "address")]
    pub admin_address: SocketAddr,
    /// The largest body, decompressed, in bytes.
    pub body_limit_bytes: usize,
    /// What all bodies that are being taken in may have of the memory, in bytes. Beyond it deliveries are refused.
    pub body_memory_bytes: usize,
    /// The most connections to the public listener at once. Beyond it the slowest or an idle one makes room, or the new
    /// one is refused.
    pub max_connections: usize,
    /// The most of them from one address, or from one /64 of IPv6, and four times as many from a /48; trusted proxies
    /// have as many as there are.
    pub max_connections_per_address: usize,
    /// The time that the head of a request may take to arrive, from its first byte.
    #[serde(rename = "header_read_timeout_ms", deserialize_with = "milliseconds")]
    pub header_read_timeout: Duration,
    /// The time that a connection may be idle.
    #[serde(rename = "idle_timeout_ms", deserialize_with = "milliseconds")]
    pub idle_timeout: Duration,
    /// The time that a body may take to arrive.
    #[serde(rename = "body_read_timeout_ms", deserialize_with = "milliseconds")]
    pub body_read_timeout: Duration,
    /// The time that a client may leave an answer where it is.
    #[serde(rename = "response_write_timeout_ms", deserialize_with = "milliseconds")]
    pub response_write_timeout: Duration,
    /// The time in which a body may be as slow as it is.
    #[serde(rename = "body_grace_ms", deserialize_with = "milliseconds")]
    pub body_grace: Duration,
    /// The bytes a second that a body must bring on average beyond that.
    #[serde(rename = "body_min_bytes_per_second")]
    pub body_min_rate: NonZeroU64,
    /// How long the service goes on accepting after it was asked to stop, so that the load balancer notices.
    #[serde(rename = "drain_delay_ms", deserialize_with = "milliseconds")]
    pub drain_delay: Duration,
    /// When to give up what is still in flight, counted from the end of the drain delay.
    #[serde(rename = "shutdown_timeout_ms", deserialize_with = "milliseconds")]
    pub shutdown_timeout: Duration,
    /// Networks whose `X-Forwarded-For` or `Forwarded` is believed.
    #[serde(deserialize_with = "networks")]
    pub trusted_proxies: Vec<IpNet>,
    /// Which of the two.
    #[serde(deserialize_with = "forwarded_header")]
    pub forwarded_header: ForwardedHeader,
    /// How often authentication may fail from one address, or from one /64 of IPv6 (a /48 has 16 times that), before a
    /// failure is answered with 429. What authenticates is never refused.
    pub authentication_failures_per_minute: NonZeroU32,
}

/// Where the trusted proxies say who called them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For` where there is one, and `Forwarded` else.
    #[default]
    Either,
    /// `X-Forwarded-For`
    XForwardedFor,
    /// `Forwarded`, of RFC 7239
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
            // longer than most load balancers keep idle connections: one that is closed under a request is a delivery lost
            idle_timeout: Duration::from_secs(75),
            body_read_timeout: Duration::from_secs(10),
            response_write_timeout: Duration::from_secs(10),
            body_grace: Duration::from_secs(3),
            body_min_rate: NonZeroU64::new(1024).expect("it is not 0"),
            drain_delay: Duration::from_secs(5),
            shutdown_timeout: Duration::from_secs(25),
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::default(),
            authentication_failures_per_minute: NonZeroU32::new(100).expect("it is not 0"),
        }
    }
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.trim()
        .parse()
        .map_err(|_| de::Error::custom("expected an IP address and a port, such as 0.0.0.0:8080 or [::1]:8080"))
}

/// A list, or one string with commas, as environment variables have it. A bare address is a network of one.
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

fn forwarded_header<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ForwardedHeader, D::Error> {
    match String::deserialize(deserializer)?.to_ascii_lowercase().as_str() {
        "either" => Ok(ForwardedHeader::Either),
        "x-forwarded-for" => Ok(ForwardedHeader::XForwardedFor),
        "forwarded" => Ok(ForwardedHeader::Forwarded),
        _ => Err(de::Error::custom(r#"expected "either", "x-forwarded-for" or "forwarded""#)),
    }
}
