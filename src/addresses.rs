//! Addresses and networks as they are compared and counted.
//!
//! An IPv4 address that is mapped into IPv6 (`::ffff:192.0.2.1`) is that IPv4 address, in networks too.

mod limiter;

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

use ipnet::{IpNet, Ipv4Net};

pub use self::limiter::{ClientLimiter, SLOTS};

/// The bits of `::ffff:0:0/96`, before which an IPv4 address is mapped.
const MAPPED: u8 = 96;

/// The addresses that belong to one client as a rule, and are counted as one: an IPv4 address, or the 64 bits of IPv6
/// that every customer of a provider has for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Block(IpAddr);

impl Block {
    /// The block that an address is in.
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (!0 << 64)).into(),
            address @ IpAddr::V4(_) => address,
        })
    }
}

impl fmt::Display for Block {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => write!(formatter, "{address}"),
            IpAddr::V6(address) => write!(formatter, "{address}/64"),
        }
    }
}

/// Whether an address is in one of these networks.
pub fn is_in(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

/// The network as [`is_in`] needs it.
pub fn canonical(network: IpNet) -> IpNet {
    let mapped = match network {
        IpNet::V6(network) => network.addr().to_ipv4_mapped().zip(network.prefix_len().checked_sub(MAPPED)),
        IpNet::V4(_) => None,
    };
    mapped.and_then(|(address, length)| Ipv4Net::new(address, length).ok()).map_or(network, IpNet::V4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_of_ipv6_has_64_bits_of_its_own() {
        let block = |address: &str| Block::of(address.parse().unwrap());
        assert_eq!(block("2001:db8:1:2::1"), block("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(block("2001:db8:1:2::1"), block("2001:db8:1:3::1"));
        assert_ne!(block("192.0.2.1"), block("192.0.2.2"));
        assert_eq!(block("192.0.2.1"), block("::ffff:192.0.2.1"));
        assert_eq!(block("2001:db8:1:2::1").to_string(), "2001:db8:1:2::/64");
        assert_eq!(block("::ffff:192.0.2.1").to_string(), "192.0.2.1");
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
