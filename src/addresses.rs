//! Client addresses and networks: comparison, grouping by prefix, rate limits.
//!
//! Invariants:
//! - An IPv4-mapped IPv6 address (`::ffff:192.0.2.1`) counts as the IPv4 address, in networks too.

mod limiter;

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

use ipnet::{IpNet, Ipv4Net};

pub use self::limiter::{ClientLimiter, SLOTS};

/// Prefix length of the IPv4-mapped addresses, `::ffff:0:0/96`.
const MAPPED_PREFIX_LENGTH: u8 = 96;

/// The addresses that count as one client: an IPv4 address, or a /64 of IPv6, the least that an Internet customer gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientPrefix {
    address: IpAddr,
    length: u8,
}

impl ClientPrefix {
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => Self::of_bits(address, 64),
            address @ IpAddr::V4(_) => Self { address, length: 32 },
        }
    }

    /// The /48 around a /64: what a customer gets on request. `None` for an IPv4 address.
    pub fn site(&self) -> Option<Self> {
        match self.address {
            IpAddr::V6(address) => Some(Self::of_bits(address, 48)),
            IpAddr::V4(_) => None,
        }
    }

    /// The prefix itself and its site, if any.
    pub fn with_site(&self) -> impl Iterator<Item = Self> + use<> {
        std::iter::once(*self).chain(self.site())
    }

    fn of_bits(address: Ipv6Addr, length: u8) -> Self {
        let address = Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << (128 - length))).into();
        Self { address, length }
    }
}

impl fmt::Display for ClientPrefix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            IpAddr::V4(address) => write!(formatter, "{address}"),
            IpAddr::V6(address) => write!(formatter, "{address}/{}", self.length),
        }
    }
}

/// The networks must be canonical: see [`canonical`].
pub fn is_in(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

/// Turns a network of IPv4-mapped addresses into one of IPv4.
pub fn canonical(network: IpNet) -> IpNet {
    let mapped = match network {
        IpNet::V6(network) => {
            network.addr().to_ipv4_mapped().zip(network.prefix_len().checked_sub(MAPPED_PREFIX_LENGTH))
        }
        IpNet::V4(_) => None,
    };
    mapped.and_then(|(address, length)| Ipv4Net::new(address, length).ok()).map_or(network, IpNet::V4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_of_ipv6_is_a_64_bit_prefix() {
        let prefix = |address: &str| ClientPrefix::of(address.parse().unwrap());
        assert_eq!(prefix("2001:db8:1:2::1"), prefix("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(prefix("2001:db8:1:2::1"), prefix("2001:db8:1:3::1"));
        assert_ne!(prefix("192.0.2.1"), prefix("192.0.2.2"));
        assert_eq!(prefix("192.0.2.1"), prefix("::ffff:192.0.2.1"));
        assert_eq!(prefix("2001:db8:1:2::1").to_string(), "2001:db8:1:2::/64");
        assert_eq!(prefix("2001:db8:1:2::1").site(), prefix("2001:db8:1:3::1").site());
        assert_eq!(prefix("2001:db8:1:2::1").site().unwrap().to_string(), "2001:db8:1::/48");
        assert_eq!(prefix("192.0.2.1").site(), None);
        assert_eq!(prefix("::ffff:192.0.2.1").to_string(), "192.0.2.1");
    }

    #[test]
    fn a_network_of_mapped_addresses_is_one_of_ipv4() {
        for (network, expected) in [
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:192.0.2.7/128", "192.0.2.7/32"),
            ("::ffff:0.0.0.0/96", "0.0.0.0/0"),
            ("::/0", "::/0"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("10.0.0.0/8", "10.0.0.0/8"),
        ] {
            assert_eq!(canonical(network.parse().unwrap()).to_string(), expected);
        }
    }
}
