//! Kinds of IPv6 addresses (RFC 4291) and what is computed from them.

use smoltcp::wire::{EthernetAddress, Ipv6Address, Ipv6Cidr};

/// All nodes on the link (RFC 4291, section 2.7.1).
pub(crate) const ALL_NODES: Ipv6Address = Ipv6Address::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// All routers on the link (RFC 4291, section 2.7.1).
pub(crate) const ALL_ROUTERS: Ipv6Address = Ipv6Address::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// All MLDv2 routers (RFC 3810, section 5.2.14).
pub(crate) const ALL_MLDV2_ROUTERS: Ipv6Address = Ipv6Address::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);
/// All nodes on the interface itself (RFC 4291, section 2.7.1).
const ALL_NODES_INTERFACE: Ipv6Address = Ipv6Address::new(0xff01, 0, 0, 0, 0, 0, 0, 1);

/// Length in bits of an interface identifier on Ethernet (RFC 2464, section 4).
pub(crate) const INTERFACE_ID_BITS: u8 = 64;
/// The prefix of link-local addresses (RFC 4291, section 2.5.6).
pub(crate) const LINK_LOCAL: Ipv6Cidr = cidr(0xfe80, 0, 64);

const fn cidr(first: u16, second: u16, length: u8) -> Ipv6Cidr {
    Ipv6Cidr::new(Ipv6Address::new(first, second, 0, 0, 0, 0, 0, 0), length)
}

/// Returns the address in a prefix of 64 bits with the identifier that is made from the hardware address (modified
/// EUI-64: RFC 4291, appendix A; RFC 2464, section 4).
pub(crate) fn with_interface_id(prefix: Ipv6Address, hardware: EthernetAddress) -> Ipv6Address {
    let [a, b, c, d, e, f] = hardware.0;
    let mut octets = prefix.octets();
    octets[8..].copy_from_slice(&[a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
    Ipv6Address::from_octets(octets)
}

/// Returns the solicited-node multicast address (RFC 4291, section 2.7.1).
pub(crate) fn solicited_node(address: Ipv6Address) -> Ipv6Address {
    let octets = address.octets();
    let low = u16::from_be_bytes([octets[14], octets[15]]);
    Ipv6Address::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(octets[13]), low)
}

/// Returns the Ethernet address of a multicast group (RFC 2464, section 7).
pub(crate) fn multicast_hardware(group: Ipv6Address) -> EthernetAddress {
    let octets = group.octets();
    EthernetAddress([0x33, 0x33, octets[12], octets[13], octets[14], octets[15]])
}

/// Whether this is a group of which every node is a member.
pub(crate) fn is_all_nodes(address: Ipv6Address) -> bool {
    address == ALL_NODES || address == ALL_NODES_INTERFACE
}

/// Whether this is a link-local unicast address: any in fe80::/10 (RFC 4291, section 2.4).
pub(crate) fn is_link_local(address: Ipv6Address) -> bool {
    address.octets()[0] == 0xfe && address.octets()[1] & 0xc0 == 0x80
}

/// Whether no packet on a link may have this source (RFC 4291, sections 2.5.3, 2.5.5 and 2.7; RFC 4038, section 4.2).
/// The unspecified address is not among them: some messages have it.
pub(crate) fn is_martian_source(address: Ipv6Address) -> bool {
    address.is_multicast() || is_internal(address)
}

/// Whether no packet on a link may have this destination.
pub(crate) fn is_martian_destination(address: Ipv6Address) -> bool {
    address.is_unspecified()
        || is_internal(address)
        // Scopes 0 and 1 do not leave a node (RFC 4291, section 2.7).
        || (address.is_multicast() && address.octets()[1] & 0xf < 2)
}

/// Whether this is a loopback, IPv4-mapped or IPv4-compatible address: the first 80 bits are 0, and
/// then 16 bits are 0 or 1.
fn is_internal(address: Ipv6Address) -> bool {
    let [zeros @ .., a, b, _, _, _, _] = address.octets();
    zeros == [0; 10] && matches!([a, b], [0, 0] | [0xff, 0xff]) && !address.is_unspecified()
}

/// Whether a host can have this as its address.
pub(crate) fn is_assignable(address: Ipv6Address) -> bool {
    !address.is_unspecified() && !is_martian_source(address)
}

/// Returns the scope of an address as a number; a larger one is wider (RFC 6724, section 3.1).
pub(crate) fn scope(address: Ipv6Address) -> u8 {
    let octets = address.octets();
    match octets {
        [0xff, flags_and_scope, ..] => flags_and_scope & 0xf,
        _ if is_link_local(address) || address.is_loopback() => 2,
        // Site-local addresses are deprecated (RFC 3879), but still have their scope here.
        [0xfe, second, ..] if second & 0xc0 == 0xc0 => 5,
        _ => 14,
    }
}

/// Returns how many leading bits two addresses have in common.
pub(crate) fn common_prefix(first: Ipv6Address, second: Ipv6Address) -> u8 {
    let bits = |address: Ipv6Address| u128::from_be_bytes(address.octets());
    (bits(first) ^ bits(second)).leading_zeros() as u8
}

/// Returns a prefix without the bits that do not belong to it.
pub(crate) fn masked(prefix: Ipv6Cidr) -> Ipv6Cidr {
    let bits = u128::from_be_bytes(prefix.address().octets());
    let length = prefix.prefix_len();
    let mask = match length {
        0 => 0,
        length => u128::MAX << (128 - u32::from(length.min(128))),
    };
    Ipv6Cidr::new(
        Ipv6Address::from_octets((bits & mask).to_be_bytes()),
        length,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Ipv6Address {
        text.parse().unwrap()
    }

    #[test]
    fn forms_addresses_from_the_hardware_address() {
        let hardware = EthernetAddress([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
        let link_local = with_interface_id(LINK_LOCAL.address(), hardware);
        assert_eq!(link_local, address("fe80::5054:ff:fe12:3456"));
        assert_eq!(solicited_node(link_local), address("ff02::1:ff12:3456"));
        assert_eq!(
            multicast_hardware(solicited_node(link_local)),
            EthernetAddress([0x33, 0x33, 0xff, 0x12, 0x34, 0x56])
        );
    }

    #[test]
    fn martians_are_recognised() {
        for text in ["ff02::1", "::1", "::ffff:10.0.0.1", "::10.0.0.1"] {
            assert!(is_martian_source(address(text)), "{text}");
        }
        for text in ["::", "fe80::1", "2001:db8::1", "0:0:0:1::1"] {
            assert!(!is_martian_source(address(text)), "{text}");
        }
        for text in ["::", "::1", "::ffff:10.0.0.1", "ff01::1", "ff00::1"] {
            assert!(is_martian_destination(address(text)), "{text}");
        }
        for text in ["ff02::1", "fe80::1", "2001:db8::1"] {
            assert!(!is_martian_destination(address(text)), "{text}");
        }
    }

    #[test]
    fn scopes_follow_rfc_6724() {
        for (text, expected) in [
            ("ff02::1", 2),
            ("ff05::1", 5),
            ("fe80::1", 2),
            ("febf::1", 2),
            ("fec0::1", 5),
            ("2001:db8::1", 14),
            ("fd00::1", 14),
        ] {
            assert_eq!(scope(address(text)), expected, "{text}");
        }
    }

    #[test]
    fn prefixes_are_compared_by_bits() {
        assert_eq!(
            common_prefix(address("2001:db8::"), address("2001:db8::")),
            128
        );
        assert_eq!(
            common_prefix(address("2001:db8::"), address("2001:db9::")),
            31
        );
        let long = Ipv6Cidr::new(address("2001:db8:1:2:3::"), 60);
        assert_eq!(masked(long).address(), address("2001:db8:1::"));
        assert_eq!(
            masked(Ipv6Cidr::new(address("fd00::1"), 0)).address(),
            address("::")
        );
        assert_eq!(
            masked(Ipv6Cidr::new(address("fd00::1"), 128)).address(),
            address("fd00::1")
        );
    }
}
