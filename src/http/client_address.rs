//! The address of a client, also behind load balancers.
//!
//! Invariants:
//! - `X-Forwarded-For` and `Forwarded` (RFC 7239) count only when a trusted proxy sent them, and are read from the right,
//!   as each proxy appends its peer: the client is the first address that is no trusted proxy. What the client wrote
//!   itself stands further left and is never parsed.
//! - Only one of the two headers is read: a proxy that writes one of them passes the other on as the client wrote it.
//!   Unless it is configured, that is `X-Forwarded-For` where present, else `Forwarded`. It must be configured for a proxy
//!   that writes `Forwarded` and passes `X-Forwarded-For` on.
//! - Where a proxy does not name its peer (`unknown`, `_hidden`, no address), the last known address counts: the proxy's.

use std::{net::IpAddr, sync::Arc};

use axum::http::{HeaderMap, HeaderName, header::FORWARDED};
use ipnet::IpNet;

use crate::{
    addresses::is_in,
    config::{ForwardedHeader, ServerSettings},
};

const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

#[derive(Clone)]
pub(super) struct TrustedProxies {
    networks: Arc<[IpNet]>,
    header: ForwardedHeader,
}

impl TrustedProxies {
    pub(super) fn new(settings: &ServerSettings) -> Self {
        Self { networks: settings.trusted_proxies.as_slice().into(), header: settings.forwarded_header }
    }

    /// Of a request that came from `peer`. Canonical.
    pub(super) fn client_address(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        if !is_in(&self.networks, client) {
            return client;
        }
        let reads_x_forwarded_for = match self.header {
            ForwardedHeader::Either => headers.contains_key(X_FORWARDED_FOR),
            ForwardedHeader::XForwardedFor => true,
            ForwardedHeader::Forwarded => false,
        };
        let (name, parse) = if reads_x_forwarded_for {
            (X_FORWARDED_FOR, parse_address as ParseElement)
        } else {
            (FORWARDED, parse_forwarded as ParseElement)
        };
        let elements = headers.get_all(name).iter().rev().flat_map(|value| RightToLeft::new(value.as_bytes(), b','));
        for element in elements {
            let Some(address) = parse(element) else { break };
            client = address;
            if !is_in(&self.networks, client) {
                break;
            }
        }
        client
    }
}

/// Whether the client spoke to the load balancer over TLS, as that says. Only of a trusted proxy's request.
pub(super) fn is_https(headers: &HeaderMap) -> bool {
    let last =
        |name: HeaderName| headers.get_all(name).iter().next_back().map(|value| value.as_bytes().to_ascii_lowercase());
    let of_forwarded = last(FORWARDED).is_some_and(|value| {
        let element = RightToLeft::new(&value, b',').next().unwrap_or_default();
        RightToLeft::new(element, b';').any(|pair| matches!(pair.trim_ascii(), b"proto=https" | b"proto=\"https\""))
    });
    of_forwarded || last(X_FORWARDED_PROTO).is_some_and(|value| value.trim_ascii() == b"https")
}

/// Reads the address from an element of the header's list.
type ParseElement = fn(&[u8]) -> Option<IpAddr>;

/// The elements of a list, the last one first. A separator in a quoted string does not count. Quotes are paired from the
/// right, too: one that a client left open must not swallow what a proxy appended.
struct RightToLeft<'a> {
    rest: Option<&'a [u8]>,
    separator: u8,
}

impl<'a> RightToLeft<'a> {
    fn new(list: &'a [u8], separator: u8) -> Self {
        Self { rest: Some(list), separator }
    }
}

impl<'a> Iterator for RightToLeft<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest.take()?;
        let mut is_quoted = false;
        for (index, byte) in rest.iter().enumerate().rev() {
            match byte {
                b'"' if !(is_quoted && is_escaped(&rest[..index])) => is_quoted = !is_quoted,
                byte if *byte == self.separator && !is_quoted => {
                    self.rest = Some(&rest[..index]);
                    return Some(&rest[index + 1..]);
                }
                _ => {}
            }
        }
        Some(rest)
    }
}

/// Whether an odd number of backslashes stands before a byte.
fn is_escaped(before: &[u8]) -> bool {
    before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// The address in an element of `Forwarded`: `for="[2001:db8::7]:4711";proto=https`.
fn parse_forwarded(element: &[u8]) -> Option<IpAddr> {
    let mut values = RightToLeft::new(element, b';').filter_map(|pair| {
        let (name, value) = pair.split_at(pair.iter().position(|byte| *byte == b'=')?);
        name.trim_ascii().eq_ignore_ascii_case(b"for").then(|| value[1..].trim_ascii())
    });
    // a repeated `for` is not valid
    let value = values.next().filter(|_| values.next().is_none())?;
    parse_address(value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value))
}

/// An address, with or without a port.
fn parse_address(element: &[u8]) -> Option<IpAddr> {
    let element = std::str::from_utf8(element).ok()?.trim();
    let address: IpAddr = match element.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(bracketed) => {
            let (address, port) = bracketed?;
            IpAddr::V6(address.parse().ok().filter(|_| port.is_empty() || port.starts_with(':'))?)
        }
        None => match element.split_once(':') {
            Some((address, port)) if !port.contains(':') => IpAddr::V4(address.parse().ok()?),
            _ => element.parse().ok()?,
        },
    };
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn client(header: ForwardedHeader, peer: &str, lines: &[(&'static str, &[u8])]) -> String {
        let networks = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap());
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        let proxies = TrustedProxies { networks: Arc::new(networks), header };
        proxies.client_address(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        for (peer, forwarded, expected) in [
            ("203.0.113.9", &["198.51.100.1"][..], "203.0.113.9"),
            ("10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["10.9.9.9, 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["6.6.6.6, 198.51.100.1, 10.0.0.2"], "198.51.100.1"),
            ("10.0.0.1", &["6.6.6.6", "198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["6.6.6.6, nonsense"], "10.0.0.1"),
            ("10.0.0.1", &["6.6.6.6, 198.51.100.1:"], "198.51.100.1"),
            ("10.0.0.1", &["6.6.6.6, [198.51.100.1]"], "10.0.0.1"),
            ("10.0.0.1", &["6.6.6.6\", 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["\"6.6.6.6, 198.51.100.1, 10.0.0.2"], "198.51.100.1"),
            ("10.0.0.1", &["6.6.6.6\u{e9}, 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("::ffff:10.0.0.1", &["::ffff:198.51.100.1"], "198.51.100.1"),
            ("fd00::1", &["[2001:db8::7]:4711"], "2001:db8::7"),
            ("fd00::1", &["[::ffff:198.51.100.1]:4711"], "198.51.100.1"),
            ("fd00::1", &["2001:db8::7"], "2001:db8::7"),
            ("fd00::1", &["198.51.100.1:80"], "198.51.100.1"),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ] {
            let lines: Vec<_> = forwarded.iter().map(|value| ("x-forwarded-for", value.as_bytes())).collect();
            assert_eq!(client(ForwardedHeader::Either, peer, &lines), expected, "{peer} {forwarded:?}");
        }
    }

    #[test]
    fn the_standard_header_is_read_in_all_its_forms() {
        for (forwarded, expected) in [
            (&["for=198.51.100.1"][..], "198.51.100.1"),
            (&["FOR = 198.51.100.1 ; Proto=https;by=203.0.113.43"], "198.51.100.1"),
            (&["by=203.0.113.43;for=\"198.51.100.1:4711\""], "198.51.100.1"),
            (&["for=198.51.100.1:_port"], "198.51.100.1"),
            (&["for=\"[2001:db8:cafe::17]:4711\""], "2001:db8:cafe::17"),
            (&["for=\"[::ffff:198.51.100.1]\""], "198.51.100.1"),
            (
                &["for=6.6.6.6, for=198.51.100.1;host=\"a,b;for=7.7.7.7\\\", for=8.8.8.8\", for=10.0.0.2"],
                "198.51.100.1",
            ),
            (&["for=6.6.6.6", "for=198.51.100.1"], "198.51.100.1"),
            // what a client wrote cannot swallow what the proxy appended
            (&["for=\"6.6.6.6, for=198.51.100.1"], "198.51.100.1"),
            (&["for=\"6.6.6.6, for=\"198.51.100.1\""], "198.51.100.1"),
            (&["for=6.6.6.6;x=\"\\, for=\"[2001:db8::7]:80\""], "2001:db8::7"),
            // no address
            (&["for=6.6.6.6, for=unknown"], "10.0.0.1"),
            (&["for=6.6.6.6, for=_hidden, for=\"10.0.0.2\""], "10.0.0.2"),
            (&["for=6.6.6.6, for=\"_SEVKISEK:80\""], "10.0.0.1"),
            (&["for=6.6.6.6, proto=https"], "10.0.0.1"),
            (&["for=6.6.6.6, for=198.51.100.1;for=198.51.100.2"], "10.0.0.1"),
            (&["for=6.6.6.6, 198.51.100.1"], "10.0.0.1"),
            (&["for=6.6.6.6, for="], "10.0.0.1"),
            (&["for=6.6.6.6,"], "10.0.0.1"),
            (&["\""], "10.0.0.1"),
            (&["="], "10.0.0.1"),
            (&[""], "10.0.0.1"),
        ] {
            let lines: Vec<_> = forwarded.iter().map(|value| ("forwarded", value.as_bytes())).collect();
            assert_eq!(client(ForwardedHeader::Either, "10.0.0.1", &lines), expected, "{forwarded:?}");
            assert_eq!(client(ForwardedHeader::Either, "203.0.113.9", &lines), "203.0.113.9", "{forwarded:?}");
        }
    }

    #[test]
    fn only_the_header_that_the_proxies_write_is_read() {
        let both: [(_, &[u8]); 2] = [("forwarded", b"for=198.51.100.1"), ("x-forwarded-for", b"198.51.100.2")];
        for (header, expected) in [
            (ForwardedHeader::Either, "198.51.100.2"),
            (ForwardedHeader::XForwardedFor, "198.51.100.2"),
            (ForwardedHeader::Forwarded, "198.51.100.1"),
        ] {
            assert_eq!(client(header, "10.0.0.1", &both), expected);
        }
        assert_eq!(client(ForwardedHeader::XForwardedFor, "10.0.0.1", &both[..1]), "10.0.0.1");
        assert_eq!(client(ForwardedHeader::Forwarded, "10.0.0.1", &both[1..]), "10.0.0.1");
    }
}
