//! ICMPv6 messages (RFC 4443) and those of Neighbor Discovery (RFC 4861): types, validity, formats.
//!
//! smoltcp's form of a Router Advertisement holds one prefix, and it forgives options that the RFC does not. These are
//! read and written here.

use alloc::vec::Vec;

use smoltcp::time::Duration;
use smoltcp::wire::{EthernetAddress, Ipv6Address, Ipv6Cidr};

use super::address::{is_link_local, masked};
use super::headers::address_at;

/// Types of messages (RFC 4443, section 2.1; RFC 4861, section 4; RFC 3810, section 5).
pub(crate) const DESTINATION_UNREACHABLE: u8 = 1;
pub(crate) const PACKET_TOO_BIG: u8 = 2;
pub(crate) const TIME_EXCEEDED: u8 = 3;
pub(crate) const PARAMETER_PROBLEM: u8 = 4;
pub(crate) const ECHO_REQUEST: u8 = 128;
pub(crate) const ECHO_REPLY: u8 = 129;
pub(crate) const LISTENER_QUERY: u8 = 130;
pub(crate) const LISTENER_REPORT_V1: u8 = 131;
pub(crate) const LISTENER_DONE_V1: u8 = 132;
pub(crate) const ROUTER_SOLICITATION: u8 = 133;
pub(crate) const ROUTER_ADVERTISEMENT: u8 = 134;
pub(crate) const NEIGHBOR_SOLICITATION: u8 = 135;
pub(crate) const NEIGHBOR_ADVERTISEMENT: u8 = 136;
pub(crate) const REDIRECT: u8 = 137;
pub(crate) const LISTENER_REPORT_V2: u8 = 143;

/// The hop limit of a message that no router has forwarded (RFC 4861, section 3.1).
pub(crate) const NOT_FORWARDED: u8 = 255;

/// Options (RFC 4861, section 4.6; RFC 3971, section 5.3.2).
mod option {
    pub(super) const SOURCE_LINK_LAYER: u8 = 1;
    pub(super) const TARGET_LINK_LAYER: u8 = 2;
    pub(super) const PREFIX_INFORMATION: u8 = 3;
    pub(super) const MTU: u8 = 5;
    pub(super) const NONCE: u8 = 14;
}

/// A random number that distinguishes a host's own solicitation from that of another host (RFC
/// 7527, section 4).
pub(crate) type Nonce = [u8; 6];

/// The addresses of the packet that a message came in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Envelope {
    /// Where it comes from.
    pub source: Ipv6Address,
    /// Where it goes.
    pub destination: Ipv6Address,
    /// The hop limit as it arrived.
    pub hop_limit: u8,
}

/// A Neighbor Solicitation that is valid (RFC 4861, section 7.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Solicitation {
    /// The address whose link-layer address is wanted.
    pub target: Ipv6Address,
    /// The sender's link-layer address.
    pub hardware: Option<EthernetAddress>,
    /// RFC 7527.
    pub nonce: Option<Nonce>,
}

/// A Neighbor Advertisement that is valid (RFC 4861, section 7.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Advertisement {
    /// The address whose link-layer address this is.
    pub target: Ipv6Address,
    /// The target's link-layer address.
    pub hardware: Option<EthernetAddress>,
    /// The target is a router.
    pub router: bool,
    /// It answers a solicitation.
    pub solicited: bool,
    /// It replaces another known address.
    pub overrides: bool,
}

/// A Router Advertisement that is valid (RFC 4861, section 6.1.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RouterAdvertisement {
    /// The hop limit that hosts should use, if it says one.
    pub hop_limit: Option<u8>,
    /// How long the sender is a default router; zero: it is none.
    pub lifetime: Duration,
    /// How much the sender is preferred over others (RFC 4191, section 2.1): 1, 0 or -1.
    pub preference: i8,
    /// How long a confirmed neighbour counts as reachable, if it says so.
    pub reachable: Option<Duration>,
    /// Between two solicitations, if it says so.
    pub retransmission: Option<Duration>,
    /// The sender's link-layer address.
    pub hardware: Option<EthernetAddress>,
    /// The MTU of the link in bytes.
    pub mtu: Option<u32>,
    /// The prefixes, as many as the message holds: a frame of 1,500 bytes has room for 45.
    pub prefixes: Vec<PrefixInformation>,
}

/// A Prefix Information option (RFC 4861, section 4.6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PrefixInformation {
    /// The prefix; bits beyond its length are 0.
    pub prefix: Ipv6Cidr,
    /// L: addresses with the prefix are on the link.
    pub on_link: bool,
    /// A: hosts may form addresses with the prefix.
    pub autonomous: bool,
    /// How long it is valid.
    pub valid: Lifetime,
    /// How long addresses formed from it are preferred.
    pub preferred: Lifetime,
}

/// A lifetime in seconds; `u32::MAX` has no end (RFC 4861, section 4.6.2).
pub(crate) type Lifetime = u32;

/// Reads a Neighbor Solicitation.
pub(crate) fn solicitation(envelope: &Envelope, message: &[u8]) -> Option<Solicitation> {
    let (target, options) = targeted(envelope, message)?;
    let mut solicitation = Solicitation {
        target,
        hardware: None,
        nonce: None,
    };
    for (kind, data) in options_of(options)? {
        match kind {
            option::SOURCE_LINK_LAYER => solicitation.hardware = hardware(data),
            option::NONCE => solicitation.nonce = data.try_into().ok(),
            _ => {}
        }
    }
    let from_nobody = envelope.source.is_unspecified();
    let to_group = envelope.destination == super::address::solicited_node(target);
    let valid = !from_nobody || (to_group && solicitation.hardware.is_none());
    valid.then_some(solicitation)
}

/// Reads a Neighbor Advertisement.
pub(crate) fn advertisement(envelope: &Envelope, message: &[u8]) -> Option<Advertisement> {
    let (target, options) = targeted(envelope, message)?;
    let flags = *message.get(4)?;
    let mut advertisement = Advertisement {
        target,
        hardware: None,
        router: flags & 0x80 != 0,
        solicited: flags & 0x40 != 0,
        overrides: flags & 0x20 != 0,
    };
    for (kind, data) in options_of(options)? {
        if kind == option::TARGET_LINK_LAYER {
            advertisement.hardware = hardware(data);
        }
    }
    let valid = !(envelope.destination.is_multicast() && advertisement.solicited);
    (valid && !envelope.source.is_unspecified()).then_some(advertisement)
}

/// Reads a Router Advertisement.
pub(crate) fn router_advertisement(
    envelope: &Envelope,
    message: &[u8],
) -> Option<RouterAdvertisement> {
    let header = never_forwarded(envelope, message, 16)?;
    if !is_link_local(envelope.source) {
        return None;
    }
    let milliseconds = |at: usize| match u32_at(header, at)? {
        0 => None,
        time => Some(Duration::from_millis(u64::from(time))),
    };
    let lifetime = u16::from_be_bytes([header[6], header[7]]);
    let mut advertisement = RouterAdvertisement {
        hop_limit: Some(header[4]).filter(|limit| *limit != 0),
        lifetime: Duration::from_secs(u64::from(lifetime)),
        preference: match header[5] >> 3 & 0b11 {
            0b01 => 1,
            0b11 => -1,
            // 10 is reserved and means the same as 00 (RFC 4191, section 2.2).
            _ => 0,
        },
        reachable: milliseconds(8),
        retransmission: milliseconds(12),
        hardware: None,
        mtu: None,
        prefixes: Vec::new(),
    };
    for (kind, data) in options_of(&message[16..])? {
        match kind {
            option::SOURCE_LINK_LAYER => advertisement.hardware = hardware(data),
            option::MTU if data.len() == 6 => advertisement.mtu = u32_at(data, 2),
            option::PREFIX_INFORMATION => advertisement.prefixes.extend(prefix(data)),
            _ => {}
        }
    }
    Some(advertisement)
}

/// Writes a Router Solicitation.
pub(crate) fn write_router_solicitation(hardware: Option<EthernetAddress>) -> Vec<u8> {
    let mut message = alloc::vec![ROUTER_SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    write_link_layer(&mut message, option::SOURCE_LINK_LAYER, hardware);
    message
}

/// Writes a Neighbor Solicitation.
pub(crate) fn write_solicitation(solicitation: &Solicitation) -> Vec<u8> {
    let mut message = alloc::vec![NEIGHBOR_SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(&solicitation.target.octets());
    write_link_layer(
        &mut message,
        option::SOURCE_LINK_LAYER,
        solicitation.hardware,
    );
    if let Some(nonce) = solicitation.nonce {
        message.extend_from_slice(&[option::NONCE, 1]);
        message.extend_from_slice(&nonce);
    }
    message
}

/// Writes a Neighbor Advertisement.
pub(crate) fn write_advertisement(advertisement: &Advertisement) -> Vec<u8> {
    let flag = |set, bit| if set { bit } else { 0 };
    let flags = flag(advertisement.router, 0x80)
        | flag(advertisement.solicited, 0x40)
        | flag(advertisement.overrides, 0x20);
    let mut message = alloc::vec![NEIGHBOR_ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0];
    message.extend_from_slice(&advertisement.target.octets());
    write_link_layer(
        &mut message,
        option::TARGET_LINK_LAYER,
        advertisement.hardware,
    );
    message
}

/// Checks what all messages of Neighbor Discovery have in common; returns the first `length` bytes.
fn never_forwarded<'a>(envelope: &Envelope, message: &'a [u8], length: usize) -> Option<&'a [u8]> {
    let header = message.get(..length)?;
    let valid = envelope.hop_limit == NOT_FORWARDED && header[1] == 0;
    valid.then_some(header)
}

/// Reads what solicitation and advertisement of neighbours have in common: the target, and the options' bytes.
fn targeted<'a>(envelope: &Envelope, message: &'a [u8]) -> Option<(Ipv6Address, &'a [u8])> {
    let header = never_forwarded(envelope, message, 24)?;
    let target = address_at(header, 8)?;
    let valid = !target.is_multicast() && !target.is_unspecified();
    valid.then_some((target, &message[24..]))
}

/// Splits options into types and data; `None` if one has the length 0 or ends after the message
/// (RFC 4861, section 4.6).
fn options_of(bytes: &[u8]) -> Option<impl Iterator<Item = (u8, &[u8])>> {
    let split = |rest: &mut &'_ [u8]| -> Option<()> {
        let length = usize::from(*rest.get(1)?) * 8;
        *rest = rest.get(length..)?;
        (length > 0).then_some(())
    };
    let mut rest = bytes;
    while !rest.is_empty() {
        split(&mut rest)?;
    }
    let mut rest = bytes;
    Some(core::iter::from_fn(move || {
        let length = usize::from(*rest.get(1)?) * 8;
        let (option, after) = rest.split_at_checked(length)?;
        rest = after;
        Some((option[0], &option[2..]))
    }))
}

/// Reads a link-layer address option of Ethernet (RFC 2464, section 6); only a unicast address makes sense.
fn hardware(data: &[u8]) -> Option<EthernetAddress> {
    let octets: [u8; 6] = data.try_into().ok()?;
    let address = EthernetAddress(octets);
    address.is_unicast().then_some(address)
}

fn prefix(data: &[u8]) -> Option<PrefixInformation> {
    if data.len() != 30 || data[0] > 128 {
        return None;
    }
    Some(PrefixInformation {
        prefix: masked(Ipv6Cidr::new(address_at(data, 14)?, data[0])),
        on_link: data[1] & 0x80 != 0,
        autonomous: data[1] & 0x40 != 0,
        valid: u32_at(data, 2)?,
        preferred: u32_at(data, 6)?,
    })
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    let octets = bytes.get(offset..offset + 4)?.try_into().ok()?;
    Some(u32::from_be_bytes(octets))
}

fn write_link_layer(message: &mut Vec<u8>, kind: u8, hardware: Option<EthernetAddress>) {
    if let Some(hardware) = hardware {
        message.extend_from_slice(&[kind, 1]);
        message.extend_from_slice(&hardware.0);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    const HARDWARE: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 9]);

    fn address(text: &str) -> Ipv6Address {
        text.parse().unwrap()
    }

    fn envelope(source: &str, destination: &str) -> Envelope {
        Envelope {
            source: address(source),
            destination: address(destination),
            hop_limit: 255,
        }
    }

    /// Writes a Router Advertisement, as routers do.
    pub(crate) fn write_router_advertisement(advertisement: &RouterAdvertisement) -> Vec<u8> {
        let milliseconds = |time: Option<Duration>| {
            (time.map_or(0, |time| time.total_millis()) as u32).to_be_bytes()
        };
        let preference = match advertisement.preference {
            1 => 0b01000,
            -1 => 0b11000,
            _ => 0,
        };
        let mut message = vec![ROUTER_ADVERTISEMENT, 0, 0, 0];
        message.extend_from_slice(&[advertisement.hop_limit.unwrap_or(0), preference]);
        message.extend_from_slice(&(advertisement.lifetime.secs() as u16).to_be_bytes());
        message.extend_from_slice(&milliseconds(advertisement.reachable));
        message.extend_from_slice(&milliseconds(advertisement.retransmission));
        write_link_layer(
            &mut message,
            option::SOURCE_LINK_LAYER,
            advertisement.hardware,
        );
        if let Some(mtu) = advertisement.mtu {
            message.extend_from_slice(&[option::MTU, 1, 0, 0]);
            message.extend_from_slice(&mtu.to_be_bytes());
        }
        for information in &advertisement.prefixes {
            let flags = u8::from(information.on_link) << 7 | u8::from(information.autonomous) << 6;
            message.extend_from_slice(&[option::PREFIX_INFORMATION, 4]);
            message.extend_from_slice(&[information.prefix.prefix_len(), flags]);
            message.extend_from_slice(&information.valid.to_be_bytes());
            message.extend_from_slice(&information.preferred.to_be_bytes());
            message.extend_from_slice(&[0; 4]);
            message.extend_from_slice(&information.prefix.address().octets());
        }
        message
    }

    fn sample() -> RouterAdvertisement {
        let information = |prefix: &str, length| PrefixInformation {
            prefix: Ipv6Cidr::new(address(prefix), length),
            on_link: true,
            autonomous: length == 64,
            valid: 3600,
            preferred: u32::MAX,
        };
        RouterAdvertisement {
            hop_limit: Some(64),
            lifetime: Duration::from_secs(1800),
            preference: -1,
            reachable: Some(Duration::from_millis(30_000)),
            retransmission: None,
            hardware: Some(HARDWARE),
            mtu: Some(1280),
            prefixes: vec![information("2001:db8:1::", 64), information("fd00::", 48)],
        }
    }

    #[test]
    fn router_advertisements_have_any_number_of_prefixes() {
        let advertisement = sample();
        let message = write_router_advertisement(&advertisement);
        let read = router_advertisement(&envelope("fe80::2", "ff02::1"), &message);
        assert_eq!(read, Some(advertisement));
    }

    #[test]
    fn router_advertisements_come_from_the_link() {
        let message = write_router_advertisement(&sample());
        let read = |envelope: &Envelope, message: &[u8]| router_advertisement(envelope, message);
        let good = envelope("fe80::2", "ff02::1");
        assert!(read(&envelope("2001:db8::1", "ff02::1"), &message).is_none());
        assert!(read(&envelope("::", "ff02::1"), &message).is_none());
        let forwarded = Envelope {
            hop_limit: 254,
            ..good
        };
        assert!(read(&forwarded, &message).is_none());
        let mut code = message.clone();
        code[1] = 1;
        assert!(read(&good, &code).is_none());
        assert!(read(&good, &message[..15]).is_none());
        assert!(read(&good, &message[..16]).is_some());
    }

    #[test]
    fn broken_options_spoil_the_message_and_unknown_ones_do_not() {
        let good = envelope("fe80::2", "ff02::1");
        let message = write_router_advertisement(&sample());
        let with = |option: &[u8]| [&message[..], option].concat();
        let read = |option: &[u8]| router_advertisement(&good, &with(option));
        assert_eq!(read(&[200, 1, 1, 2, 3, 4, 5, 6]), Some(sample()));
        assert_eq!(read(&[200, 0, 1, 2, 3, 4, 5, 6]), None);
        assert_eq!(read(&[200, 2, 1, 2, 3, 4, 5, 6]), None);
        assert_eq!(read(&[200]), None);
    }

    #[test]
    fn prefixes_with_an_impossible_length_are_left_out() {
        let mut advertisement = sample();
        advertisement.prefixes[0].prefix = Ipv6Cidr::new(address("::"), 64);
        let mut message = write_router_advertisement(&advertisement);
        let at = message.len() - 2 * 32 + 2;
        message[at] = 129;
        let read = router_advertisement(&envelope("fe80::2", "ff02::1"), &message).unwrap();
        assert_eq!(read.prefixes, sample().prefixes[1..]);
    }

    #[test]
    fn solicitations_are_valid_as_rfc_4861_says() {
        let mut expected = Solicitation {
            target: address("fe80::1"),
            hardware: Some(HARDWARE),
            nonce: None,
        };
        let good = envelope("fe80::2", "ff02::1:ff00:1");
        let message = write_solicitation(&expected);
        assert_eq!(solicitation(&good, &message), Some(expected));
        assert_eq!(solicitation(&good, &message[..23]), None);
        let detection = envelope("::", "ff02::1:ff00:1");
        assert_eq!(
            solicitation(&detection, &message),
            None,
            "link-layer address"
        );
        (expected.hardware, expected.nonce) = (None, Some([1, 2, 3, 4, 5, 6]));
        let message = write_solicitation(&expected);
        assert_eq!(solicitation(&detection, &message), Some(expected));
        let elsewhere = envelope("::", "fe80::1");
        assert_eq!(solicitation(&elsewhere, &message), None, "not to the group");
        let target = write_solicitation(&Solicitation {
            target: address("ff02::1"),
            ..expected
        });
        assert_eq!(solicitation(&good, &target), None, "multicast target");
        let forwarded = Envelope {
            hop_limit: 64,
            ..good
        };
        assert_eq!(solicitation(&forwarded, &message), None, "forwarded");
    }

    #[test]
    fn advertisements_are_valid_as_rfc_4861_says() {
        let expected = Advertisement {
            target: address("fe80::2"),
            hardware: Some(HARDWARE),
            router: true,
            solicited: true,
            overrides: false,
        };
        let message = write_advertisement(&expected);
        let good = envelope("fe80::2", "fe80::1");
        assert_eq!(advertisement(&good, &message), Some(expected));
        let to_all = envelope("fe80::2", "ff02::1");
        assert_eq!(advertisement(&to_all, &message), None, "solicited by all");
        assert_eq!(advertisement(&envelope("::", "ff02::1"), &message), None);
        assert_eq!(advertisement(&good, &message[..20]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), length in 0u8..8) {
            let mut bytes = bytes;
            for (code, at) in [(1, 0), (17, length), (25, length)] {
                if let Some(byte) = bytes.get_mut(code) {
                    *byte = at;
                }
            }
            let envelope = envelope("fe80::2", "ff02::1");
            router_advertisement(&envelope, &bytes);
            solicitation(&envelope, &bytes);
            advertisement(&envelope, &bytes);
        }
    }
}
