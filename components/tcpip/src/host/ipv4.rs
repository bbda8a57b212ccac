//! The IPv4 address and routes of the host.

use alloc::vec::Vec;

use smoltcp::wire::{Ipv4Address, Ipv4Cidr};

/// The broadcast address of the link.
pub(crate) const BROADCAST: Ipv4Address = Ipv4Address::BROADCAST;
/// The group of all hosts of the link (RFC 1112), the only one that this host is in.
pub(crate) const ALL_HOSTS: Ipv4Address = Ipv4Address::new(224, 0, 0, 1);

/// An address and what belongs to it, from the configuration or a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ipv4Config {
    /// The address and the length of its subnet's prefix.
    pub address: Ipv4Cidr,
    /// Routes beyond the subnet.
    pub routes: Vec<Route>,
    /// The longest packet in bytes, if the link's is not right (RFC 2132, section 5.1).
    pub mtu: Option<u16>,
}

/// A route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    /// Where it leads.
    pub destination: Ipv4Cidr,
    /// The router, which is taken to be on the link even if it is outside the subnet; `None`: the destination itself is
    /// on the link (RFC 3442).
    pub router: Option<Ipv4Address>,
}

impl Ipv4Config {
    /// Returns an address with a default route through `router`.
    pub fn new(address: Ipv4Cidr, router: Option<Ipv4Address>) -> Self {
        let mut config = Self {
            address,
            routes: Vec::new(),
            mtu: None,
        };
        router.into_iter().for_each(|it| config.add_router(it));
        config
    }

    /// Adds another default route, which is used while the routers of those before it are dead.
    pub fn add_router(&mut self, router: Ipv4Address) {
        self.routes.push(Route {
            destination: Ipv4Cidr::new(Ipv4Address::UNSPECIFIED, 0),
            router: Some(router),
        });
    }

    /// Whether the address is a router's.
    pub fn is_router(&self, address: Ipv4Address) -> bool {
        self.routes.iter().any(|it| it.router == Some(address))
    }

    /// Returns the neighbour to which a packet for a unicast address goes (RFC 1122, section 3.3.1.1). Of the routes with the
    /// longest prefix it is the first whose router is not among the dead ones (section 3.3.1.4), else the first.
    pub fn next_hop(&self, destination: Ipv4Address, dead: &[Ipv4Address]) -> Option<Ipv4Address> {
        if self.is_on_link(destination) {
            return Some(destination);
        }
        let leading = |route: &&Route| contains(route.destination, destination);
        let leading = || self.routes.iter().filter(leading);
        let longest = leading().map(|it| it.destination.prefix_len()).max()?;
        // The first of equals: routers are listed in order of preference (RFC 2132, section 3.5).
        let mut best = leading().filter(|it| it.destination.prefix_len() == longest);
        let alive = |route: &&Route| route.router.is_none_or(|router| !dead.contains(&router));
        let route = best.clone().find(alive).or_else(|| best.next())?;
        Some(route.router.unwrap_or(destination))
    }

    /// Whether the address is a broadcast address of the link.
    pub fn is_broadcast(&self, address: Ipv4Address) -> bool {
        // Four zero bytes and a zero host part are old forms of it (RFC 1122, section 3.3.6).
        address == BROADCAST
            || is_host_part_reserved(self.address.prefix_len(), address) && self.contains(address)
    }

    /// Whether a packet may come from this address.
    pub fn may_send(&self, source: Ipv4Address) -> bool {
        is_host_address(source) && !self.is_broadcast(source) && source != self.address.address()
    }

    fn is_on_link(&self, destination: Ipv4Address) -> bool {
        // Link-local addresses are on every link (RFC 3927, section 2.6.2).
        self.contains(destination)
            || destination.is_link_local()
            || self.routes.iter().any(|it| it.router == Some(destination))
    }

    fn contains(&self, address: Ipv4Address) -> bool {
        contains(self.address, address)
    }
}

/// As [`Ipv4Cidr::contains_addr`], which smoltcp 0.14 computes with an overflowing shift for a prefix length of 0.
fn contains(network: Ipv4Cidr, address: Ipv4Address) -> bool {
    let mask = mask(network.prefix_len());
    network.address().to_bits() & mask == address.to_bits() & mask
}

fn mask(prefix_length: u8) -> u32 {
    u32::MAX
        .checked_shl(32 - u32::from(prefix_length.min(32)))
        .unwrap_or(0)
}

/// Whether the part of the address after the prefix is all zeros or all ones and so no host's (RFC
/// 1122, section 3.2.1.3; prefixes of 31 and 32 bits have no such addresses, RFC 3021).
pub(crate) fn is_host_part_reserved(prefix_length: u8, address: Ipv4Address) -> bool {
    let host_part = address.to_bits() & !mask(prefix_length);
    prefix_length < 31 && (host_part == 0 || host_part == !mask(prefix_length))
}

/// Whether a host on a network can have the address: it is neither in 0.0.0.0/8 ("this network"), 127.0.0.0/8 (loopback),
/// 224.0.0.0/4 (multicast) nor 240.0.0.0/4 (reserved, with the broadcast address). RFC 1122, section 3.2.1.3; RFC 6890.
pub(crate) fn is_host_address(address: Ipv4Address) -> bool {
    !matches!(address.octets()[0], 0 | 127 | 224..)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Ipv4Address {
        text.parse().unwrap()
    }

    fn config(own: &str, router: Option<&str>) -> Ipv4Config {
        Ipv4Config::new(own.parse().unwrap(), router.map(address))
    }

    #[test]
    fn the_subnet_is_on_the_link_and_the_rest_behind_the_router() {
        let config = config("10.0.2.15/24", Some("10.0.2.2"));
        let hop = |to| config.next_hop(address(to), &[]);
        assert_eq!(hop("10.0.2.99"), Some(address("10.0.2.99")));
        assert_eq!(hop("169.254.3.4"), Some(address("169.254.3.4")));
        assert_eq!(hop("198.51.100.1"), Some(address("10.0.2.2")));
    }

    #[test]
    fn without_a_router_other_networks_are_unreachable() {
        let config = config("10.0.2.15/24", None);
        assert_eq!(config.next_hop(address("10.0.3.1"), &[]), None);
    }

    #[test]
    fn a_router_outside_the_subnet_is_on_the_link() {
        let config = config("203.0.113.7/32", Some("172.31.1.1"));
        let hop = |to| config.next_hop(address(to), &[]);
        assert_eq!(hop("172.31.1.1"), Some(address("172.31.1.1")));
        assert_eq!(hop("203.0.113.8"), Some(address("172.31.1.1")));
    }

    #[test]
    fn the_longest_prefix_wins_and_the_first_of_equals() {
        let mut config = config("10.0.2.15/24", Some("10.0.2.2"));
        for (destination, router) in [
            ("192.168.0.0/16", Some("10.0.2.3")),
            ("192.168.7.0/24", Some("10.0.2.4")),
            ("192.168.7.0/24", Some("10.0.2.5")),
            ("192.168.8.0/24", None),
        ] {
            config.routes.push(Route {
                destination: destination.parse().unwrap(),
                router: router.map(address),
            });
        }
        let hop = |to| config.next_hop(address(to), &[]);
        assert_eq!(hop("192.168.1.1"), Some(address("10.0.2.3")));
        assert_eq!(hop("192.168.7.1"), Some(address("10.0.2.4")));
        assert_eq!(hop("192.168.8.1"), Some(address("192.168.8.1")));
        assert_eq!(hop("8.8.8.8"), Some(address("10.0.2.2")));
    }

    #[test]
    fn dead_routers_are_passed_over_unless_all_are() {
        let mut config = config("10.0.2.15/24", Some("10.0.2.2"));
        config.add_router(address("10.0.2.3"));
        let hop = |dead: &[&str]| {
            let dead: Vec<_> = dead.iter().map(|it| address(it)).collect();
            config.next_hop(address("8.8.8.8"), &dead)
        };
        assert_eq!(hop(&[]), Some(address("10.0.2.2")));
        assert_eq!(hop(&["10.0.2.2"]), Some(address("10.0.2.3")));
        assert_eq!(hop(&["10.0.2.2", "10.0.2.3"]), Some(address("10.0.2.2")));
    }

    #[test]
    fn broadcasts_are_known_with_and_without_the_subnet() {
        let wide = config("10.0.2.15/24", None);
        for broadcast in ["255.255.255.255", "10.0.2.255", "10.0.2.0"] {
            assert!(wide.is_broadcast(address(broadcast)), "{broadcast}");
        }
        assert!(!wide.is_broadcast(address("10.0.3.255")));
        let point_to_point = config("10.0.2.0/31", None);
        assert!(!point_to_point.is_broadcast(address("10.0.2.1")));
        assert!(!config("10.0.2.255/32", None).is_broadcast(address("10.0.2.255")));
    }

    #[test]
    fn martians_may_not_send() {
        let config = config("10.0.2.15/24", None);
        for source in [
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "10.0.2.255",
            "10.0.2.0",
            "10.0.2.15",
        ] {
            assert!(!config.may_send(address(source)), "{source}");
        }
        for source in ["10.0.2.2", "198.51.100.255", "1.0.0.0"] {
            assert!(config.may_send(address(source)), "{source}");
        }
    }
}
