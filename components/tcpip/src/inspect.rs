//! What a received frame is, before smoltcp sees it.
//!
//! The stack looks up a TCP segment's connection itself and shows smoltcp that one socket, so that the
//! cost of a segment does not grow with the number of connections. Frames that smoltcp 0.14 would
//! mishandle are dropped here: IP fragments (it would take them for whole packets), TCP segments to
//! group addresses (RFC 1122, section 4.2.3.10), addresses that never appear on a wire, and router
//! advertisements whose prefix would make it panic.

use smoltcp::time::Duration;
use smoltcp::wire::{
    EthernetFrame, EthernetProtocol, IpAddress, IpEndpoint, IpProtocol, Ipv4Packet, Ipv6Packet,
    TcpPacket,
};

/// A received frame, sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// A TCP segment between unicast addresses.
    Segment(Segment),
    /// Address resolution: ARP or ICMPv6. A connection may have waited for it.
    Resolution,
    /// A router asks for multicast listeners and wants the answer within this time (RFC 3810).
    ListenerQuery { delay: Duration },
    /// Anything else that smoltcp may answer or ignore.
    Other,
    /// Not for smoltcp.
    Dropped(Drop),
}

/// What the stack has to know of a TCP segment to find its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Where it goes: an address of ours, if the sender is honest.
    pub local: IpEndpoint,
    /// Where it comes from.
    pub remote: IpEndpoint,
    /// It asks for a new connection: SYN without ACK and RST.
    pub opens: bool,
    /// It ends its sender's stream: FIN without SYN and RST.
    pub ends: bool,
    /// Bytes of payload.
    pub payload: usize,
    /// What it acknowledges, if it does nothing else: no payload, SYN, FIN or RST.
    pub bare: Option<u32>,
}

/// Why a frame is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drop {
    /// Too short, or its lengths contradict each other.
    Malformed,
    /// A fragment of an IP packet; the stack does not reassemble.
    Fragment,
    /// A source or destination that no honest frame has.
    Martian,
}

/// ICMPv6 multicast listener query (RFC 3810, section 5.1).
const LISTENER_QUERY: u8 = 130;
/// ICMPv6 router advertisement (RFC 4861, section 4.2).
const ROUTER_ADVERTISEMENT: u8 = 134;
/// Bytes of a router advertisement before its options.
const ROUTER_ADVERTISEMENT_HEADER: usize = 16;
/// The prefix information option (RFC 4861, section 4.6.2): type, and length in units of 8 bytes.
const PREFIX_INFORMATION: (u8, u8) = (3, 4);

/// Sorts a frame. Every check is on private memory: the frame was copied before.
pub(crate) fn inspect(frame: &[u8]) -> Frame {
    let Ok(ethernet) = EthernetFrame::new_checked(frame) else {
        return Frame::Dropped(Drop::Malformed);
    };
    let sorted = match ethernet.ethertype() {
        EthernetProtocol::Arp => Ok(Frame::Resolution),
        EthernetProtocol::Ipv4 => inspect_ipv4(ethernet.payload()),
        EthernetProtocol::Ipv6 => inspect_ipv6(ethernet.payload()),
        EthernetProtocol::Unknown(_) => Ok(Frame::Other),
    };
    sorted.unwrap_or_else(Frame::Dropped)
}

fn inspect_ipv4(bytes: &[u8]) -> Result<Frame, Drop> {
    let packet = Ipv4Packet::new_checked(bytes).map_err(|_| Drop::Malformed)?;
    if packet.more_frags() || packet.frag_offset() != 0 {
        return Err(Drop::Fragment);
    }
    let (source, destination) = (packet.src_addr(), packet.dst_addr());
    if source.is_unspecified() || source.is_loopback() || destination.is_loopback() {
        return Err(Drop::Martian);
    }
    match packet.next_header() {
        IpProtocol::Tcp => inspect_tcp(source.into(), destination.into(), packet.payload()),
        _ => Ok(Frame::Other),
    }
}

fn inspect_ipv6(bytes: &[u8]) -> Result<Frame, Drop> {
    let packet = Ipv6Packet::new_checked(bytes).map_err(|_| Drop::Malformed)?;
    let (source, destination) = (packet.src_addr(), packet.dst_addr());
    if source.is_loopback() || destination.is_loopback() {
        return Err(Drop::Martian);
    }
    let (protocol, payload) = match packet.next_header() {
        IpProtocol::HopByHop => {
            let (protocol, length) = hop_by_hop(packet.payload()).ok_or(Drop::Malformed)?;
            (protocol, &packet.payload()[length..])
        }
        protocol => (protocol, packet.payload()),
    };
    match protocol {
        IpProtocol::Tcp => inspect_tcp(source.into(), destination.into(), payload),
        IpProtocol::Icmpv6 => inspect_icmpv6(payload),
        IpProtocol::Ipv6Frag => Err(Drop::Fragment),
        _ => Ok(Frame::Other),
    }
}

/// What follows the only extension header that smoltcp looks behind (RFC 8200, section 4.3), and where, in bytes.
pub(crate) fn hop_by_hop(bytes: &[u8]) -> Option<(IpProtocol, usize)> {
    let [protocol, length, ..] = *bytes else {
        return None;
    };
    let end = (usize::from(length) + 1) * 8;
    (end <= bytes.len()).then_some((protocol.into(), end))
}

fn inspect_tcp(source: IpAddress, destination: IpAddress, bytes: &[u8]) -> Result<Frame, Drop> {
    if !source.is_unicast() || !destination.is_unicast() || source == destination {
        return Err(Drop::Martian);
    }
    let packet = TcpPacket::new_checked(bytes).map_err(|_| Drop::Malformed)?;
    if packet.src_port() == 0 || packet.dst_port() == 0 {
        return Err(Drop::Malformed);
    }
    let payload = packet.payload().len();
    let bare = payload == 0 && packet.ack() && !packet.syn() && !packet.fin() && !packet.rst();
    Ok(Frame::Segment(Segment {
        local: IpEndpoint::new(destination, packet.dst_port()),
        remote: IpEndpoint::new(source, packet.src_port()),
        opens: packet.syn() && !packet.ack() && !packet.rst(),
        ends: packet.fin() && !packet.syn() && !packet.rst(),
        payload,
        bare: bare.then(|| packet.ack_number().0 as u32),
    }))
}

fn inspect_icmpv6(bytes: &[u8]) -> Result<Frame, Drop> {
    match *bytes {
        [ROUTER_ADVERTISEMENT, ..] => check_prefixes(bytes).map(|()| Frame::Resolution),
        [LISTENER_QUERY, _, _, _, high, low, ..] => {
            let delay = Duration::from_millis(u16::from_be_bytes([high, low]).into());
            Ok(Frame::ListenerQuery { delay })
        }
        _ => Ok(Frame::Resolution),
    }
}

/// smoltcp panics on an advertised prefix that is longer than an address or not unicast.
fn check_prefixes(advertisement: &[u8]) -> Result<(), Drop> {
    let mut options = advertisement
        .get(ROUTER_ADVERTISEMENT_HEADER..)
        .ok_or(Drop::Malformed)?;
    while let [kind, length, ..] = *options {
        let size = usize::from(length) * 8;
        if size == 0 || size > options.len() {
            return Err(Drop::Malformed);
        }
        let (option, rest) = options.split_at(size);
        if kind == PREFIX_INFORMATION.0 {
            // RFC 4862, section 5.5.3: a prefix for addresses of this link type has 64 bits.
            let valid = length == PREFIX_INFORMATION.1 && option[2] == 64 && option[16] != 0xff;
            if !valid {
                return Err(Drop::Malformed);
            }
        }
        options = rest;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::frames;

    #[test]
    fn a_syn_is_a_segment_that_opens() {
        let frame = frames::syn(40000, 80);
        let Frame::Segment(segment) = inspect(&frame) else {
            panic!("{:?}", inspect(&frame));
        };
        assert_eq!((segment.remote.port, segment.local.port), (40000, 80));
        assert!(segment.opens && segment.payload == 0);
    }

    #[test]
    fn fragments_martians_and_cut_frames_are_dropped() {
        let frame = frames::syn(40000, 80);
        let with = |offset: usize, value: u8| {
            let mut frame = frame.clone();
            frame[offset] = value;
            inspect(&frame)
        };
        const FLAGS: usize = 14 + 6;
        const SOURCE: usize = 14 + 12;
        const DESTINATION: usize = 14 + 16;
        assert_eq!(with(FLAGS, 0x20), Frame::Dropped(Drop::Fragment));
        assert_eq!(with(FLAGS + 1, 1), Frame::Dropped(Drop::Fragment));
        assert_eq!(with(SOURCE, 127), Frame::Dropped(Drop::Martian));
        assert_eq!(with(SOURCE, 224), Frame::Dropped(Drop::Martian));
        assert_eq!(with(DESTINATION, 224), Frame::Dropped(Drop::Martian));
        for length in 0..frame.len() {
            assert_eq!(
                inspect(&frame[..length]),
                Frame::Dropped(Drop::Malformed),
                "{length}"
            );
        }
    }

    #[test]
    fn advertised_prefixes_that_would_panic_smoltcp_are_dropped() {
        let good = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let multicast = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let sorted = |prefix, length| inspect(&frames::router_advertisement(prefix, length));
        assert_eq!(sorted(good, 64), Frame::Resolution);
        assert_eq!(sorted(good, 129), Frame::Dropped(Drop::Malformed));
        assert_eq!(sorted(good, 48), Frame::Dropped(Drop::Malformed));
        assert_eq!(sorted(multicast, 64), Frame::Dropped(Drop::Malformed));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(mut frame in prop::collection::vec(any::<u8>(), 0..200), kind in 0..3) {
            if frame.len() > 14 {
                let kinds = [[0x08, 0x00], [0x86, 0xdd], [0x08, 0x06]];
                frame[12..14].copy_from_slice(&kinds[kind as usize]);
            }
            inspect(&frame);
        }
    }
}
