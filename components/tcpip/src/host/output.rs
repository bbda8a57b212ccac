//! Frames that the host sends.

use alloc::vec;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::time::Instant;
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, IpAddress, IpProtocol, Ipv4Address,
    Ipv4Packet, Ipv4Repr, Ipv6Packet, Ipv6Repr, TcpPacket,
};

use super::checksum::Checksum;
use super::{Host, Resolution};
use crate::segment::{Outgoing, Sent};
use crate::wire::Wire;

/// Length in bytes of the Ethernet header.
pub(crate) const ETHERNET_HEADER: usize = 14;
/// Length in bytes of an IPv4 header without options.
pub(crate) const IPV4_HEADER: usize = 20;
/// Length in bytes of the IPv6 header.
pub(crate) const IPV6_HEADER: usize = 40;
/// The hop limit of ordinary packets (RFC 1122, section 3.2.1.7; RFC 1700).
pub(crate) const HOP_LIMIT: u8 = 64;

/// The item that waits while a neighbour's link-layer address is being resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waits {
    /// The caller: it tries again after [`Resolution::Found`].
    Caller,
    /// A copy of the packet.
    Packet,
}

impl Host {
    /// Sends a segment. Nothing is kept: after [`Sent::Resolving`] the caller tries again when the host reports
    /// [`Resolution::Found`] for the next hop ([`Host::next_hop`]).
    pub fn send(&mut self, wire: &mut Wire, segment: &Outgoing<'_>, now: Instant) -> Sent {
        self.send_segment(wire, segment, Waits::Caller, now)
    }

    /// Sends a segment of no connection, such as a RST or the SYN-ACK of a SYN cookie. If the neighbour has yet to be
    /// resolved, a copy is kept, sent when it is, and [`Sent::Resolving`] returned (RFC 1122, section 2.3.2.2).
    pub fn send_keeping(&mut self, wire: &mut Wire, segment: &Outgoing<'_>, now: Instant) -> Sent {
        self.send_segment(wire, segment, Waits::Packet, now)
    }

    fn send_segment(
        &mut self,
        wire: &mut Wire,
        segment: &Outgoing<'_>,
        waits: Waits,
        now: Instant,
    ) -> Sent {
        let (source, destination) = (segment.local.addr, segment.remote.addr);
        let Some(hop) = self
            .route(Some(source), destination)
            .filter(|_| self.is_own(source))
        else {
            return Sent::Unreachable;
        };
        let transport = segment.length();
        let fragments = self
            .paths
            .get(destination, now)
            .is_some_and(|it| it.fragments);
        let identification = self.identification(fragments);
        let header = match destination {
            IpAddress::Ipv4(_) => IPV4_HEADER,
            IpAddress::Ipv6(_) => IPV6_HEADER,
        };
        let hop_limit = self
            .ipv6
            .as_ref()
            .map_or(HOP_LIMIT, |ipv6| ipv6.hop_limit());
        let sent = self.transmit(wire, hop, header + transport, waits, now, |packet| {
            let (head, body) = packet.split_at_mut(header);
            write_ip(
                head,
                (source, destination),
                transport,
                (identification, hop_limit),
            );
            write_tcp(body, segment);
        });
        if sent == Sent::Done {
            wire.count_payload(segment.payload_length());
        }
        sent
    }

    /// Sends an IP packet of `length` bytes to a neighbour. `build` writes the packet.
    pub(super) fn transmit(
        &mut self,
        wire: &mut Wire,
        hop: IpAddress,
        length: usize,
        waits: Waits,
        now: Instant,
        build: impl FnOnce(&mut [u8]),
    ) -> Sent {
        let kind = match hop {
            IpAddress::Ipv4(_) => EthernetProtocol::Ipv4,
            IpAddress::Ipv6(_) => EthernetProtocol::Ipv6,
        };
        let awaited = waits == Waits::Caller;
        let Some(to) = self.resolve(hop, awaited, now) else {
            if waits == Waits::Packet {
                let mut frame = vec![0; ETHERNET_HEADER + length];
                write_ethernet(&mut frame, self.hardware, EthernetAddress::default(), kind);
                build(&mut frame[ETHERNET_HEADER..]);
                self.keep(hop, frame.into());
            }
            self.ask(wire, now);
            return Sent::Resolving;
        };
        let from = self.hardware;
        let sent = wire.transmit(ETHERNET_HEADER + length, |frame| {
            write_ethernet(frame, from, to, kind);
            build(&mut frame[ETHERNET_HEADER..]);
        });
        match sent {
            true => Sent::Done,
            false => Sent::NoBuffer,
        }
    }

    /// Sends a packet of `length` bytes to a known link-layer address, if there is a buffer.
    pub(super) fn transmit_to(
        &self,
        wire: &mut Wire,
        to: EthernetAddress,
        kind: EthernetProtocol,
        length: usize,
        build: impl FnOnce(&mut [u8]),
    ) {
        wire.transmit_or_drop(ETHERNET_HEADER + length, |frame| {
            write_ethernet(frame, self.hardware, to, kind);
            build(&mut frame[ETHERNET_HEADER..]);
        });
    }

    /// Sends the packet that waited for an address, and reports its resolution.
    pub(super) fn solved(
        &mut self,
        wire: &mut Wire,
        address: IpAddress,
        hardware: EthernetAddress,
        solved: super::neighbours::Solved,
    ) {
        if let Some(kept) = solved.packet {
            wire.transmit_or_drop(kept.len(), |frame| {
                frame.copy_from_slice(&kept);
                EthernetFrame::new_unchecked(frame).set_dst_addr(hardware);
            });
        }
        if solved.awaited {
            self.resolutions.push_back(Resolution::Found(address));
        }
    }

    /// Returns the identification of an IPv4 packet that routers may fragment; `None` for one that
    /// they may not, whose field has no meaning (RFC 6864, section 4.1).
    fn identification(&mut self, fragments: bool) -> Option<u16> {
        fragments.then(|| self.random.next() as u16)
    }
}

/// Writes the Ethernet header.
pub(super) fn write_ethernet(
    frame: &mut [u8],
    from: EthernetAddress,
    to: EthernetAddress,
    kind: EthernetProtocol,
) {
    let mut frame = EthernetFrame::new_unchecked(frame);
    frame.set_src_addr(from);
    frame.set_dst_addr(to);
    frame.set_ethertype(kind);
}

/// Writes the IP header of a segment of `length` bytes; both addresses are of one family. IPv4 has the identification, IPv6
/// the hop limit that the routers advertise.
fn write_ip(
    header: &mut [u8],
    (source, destination): (IpAddress, IpAddress),
    length: usize,
    (identification, hop_limit): (Option<u16>, u8),
) {
    match (source, destination) {
        (IpAddress::Ipv4(source), IpAddress::Ipv4(destination)) => {
            let addresses = (source, destination);
            write_ipv4(header, addresses, IpProtocol::Tcp, length, identification);
        }
        (IpAddress::Ipv6(source), IpAddress::Ipv6(destination)) => {
            write_ipv6(
                header,
                (source, destination),
                IpProtocol::Tcp,
                length,
                hop_limit,
            );
        }
        _ => {}
    }
}

/// Writes an IPv4 header without options. With an identification, routers may fragment the packet.
pub(super) fn write_ipv4(
    header: &mut [u8],
    (source, destination): (Ipv4Address, Ipv4Address),
    protocol: IpProtocol,
    payload: usize,
    identification: Option<u16>,
) {
    let repr = Ipv4Repr {
        src_addr: source,
        dst_addr: destination,
        next_header: protocol,
        payload_len: payload,
        hop_limit: HOP_LIMIT,
    };
    let mut packet = Ipv4Packet::new_unchecked(header);
    repr.emit(&mut packet, &ChecksumCapabilities::default());
    if let Some(identification) = identification {
        packet.set_dont_frag(false);
        packet.set_ident(identification);
        packet.fill_checksum();
    }
}

/// Writes an IPv6 header.
pub(super) fn write_ipv6(
    header: &mut [u8],
    (source, destination): (smoltcp::wire::Ipv6Address, smoltcp::wire::Ipv6Address),
    protocol: IpProtocol,
    payload: usize,
    hop_limit: u8,
) {
    let repr = Ipv6Repr {
        src_addr: source,
        dst_addr: destination,
        next_header: protocol,
        payload_len: payload,
        hop_limit,
    };
    repr.emit(&mut Ipv6Packet::new_unchecked(header));
}

/// Writes a TCP segment with its checksum. The payload is read once, while it is copied.
fn write_tcp(bytes: &mut [u8], segment: &Outgoing<'_>) {
    let (source, destination) = (segment.local.addr, segment.remote.addr);
    let length = bytes.len();
    let (header, payload) = bytes.split_at_mut(segment.header.length());
    segment.emit_header(header);

    let mut checksum = pseudo_header(source, destination, IpProtocol::Tcp, length);
    checksum.add(header);
    let (first, second) = payload.split_at_mut(segment.payload[0].len());
    checksum.copy(first, segment.payload[0]);
    checksum.copy(second, segment.payload[1]);
    TcpPacket::new_unchecked(header).set_checksum(checksum.finish());
}

/// Starts the checksum of a transport protocol.
pub(super) fn pseudo_header(
    source: IpAddress,
    destination: IpAddress,
    protocol: IpProtocol,
    length: usize,
) -> Checksum {
    let protocol = protocol.into();
    match (source, destination) {
        (IpAddress::Ipv4(source), IpAddress::Ipv4(destination)) => {
            Checksum::pseudo(&source.octets(), &destination.octets(), protocol, length)
        }
        (IpAddress::Ipv6(source), IpAddress::Ipv6(destination)) => {
            Checksum::pseudo(&source.octets(), &destination.octets(), protocol, length)
        }
        _ => Checksum::default(),
    }
}
