//! Received frames: what a host must accept, and what it must drop in silence.

use smoltcp::time::Instant;
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, IpAddress, IpProtocol, Ipv4Address,
    Ipv4Packet, UdpPacket,
};

use super::icmpv4::Unreachable;
use super::ipv4::{ALL_HOSTS, BROADCAST, is_host_address};
use super::output::{IPV4_HEADER, pseudo_header};
use super::{Drop, Host, Received, checksum::Checksum};
use crate::segment::Segment;
use crate::wire::Wire;

/// The link-layer address of [`ALL_HOSTS`] (RFC 1112, section 6.4).
const ALL_HOSTS_HARDWARE: EthernetAddress = EthernetAddress([1, 0, 0x5e, 0, 0, 1]);
/// IPv4 options (RFC 791, section 3.1).
const END_OF_OPTIONS: u8 = 0;
const NO_OPERATION: u8 = 1;
const LOOSE_SOURCE_ROUTE: u8 = 131;
const STRICT_SOURCE_ROUTE: u8 = 137;

/// The kind of destination of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Destination {
    Own,
    /// A broadcast address, or a group of this host.
    Group,
    /// Another host's, or unknown as long as this host has no address.
    Other,
}

impl Host {
    /// Takes a received frame: answers it, notes it, or returns the segment in it.
    pub fn receive<'a>(&mut self, frame: &'a [u8], wire: &mut Wire, now: Instant) -> Received<'a> {
        self.receive_frame(frame, wire, now)
            .unwrap_or_else(Received::Dropped)
    }

    fn receive_frame<'a>(
        &mut self,
        frame: &'a [u8],
        wire: &mut Wire,
        now: Instant,
    ) -> Result<Received<'a>, Drop> {
        let ethernet = EthernetFrame::new_checked(frame).map_err(|_| Drop::Malformed)?;
        let to = ethernet.dst_addr();
        if !ethernet.src_addr().is_unicast() {
            return Err(Drop::Martian);
        }
        if to != self.hardware && !self.is_joined(to) {
            return Err(Drop::NotOurs);
        }
        match ethernet.ethertype() {
            EthernetProtocol::Arp => self.receive_arp(wire, ethernet.payload(), now),
            EthernetProtocol::Ipv4 => self.receive_ipv4(wire, &ethernet, now),
            EthernetProtocol::Ipv6 => self.receive_ipv6(wire, &ethernet, now),
            _ => Err(Drop::NotOurs),
        }
    }

    /// Whether frames to this group address are for this host.
    fn is_joined(&self, to: EthernetAddress) -> bool {
        let ipv6 = self.ipv6.as_ref().is_some_and(|ipv6| ipv6.hears(to));
        to == EthernetAddress::BROADCAST || to == ALL_HOSTS_HARDWARE || ipv6
    }

    fn receive_ipv4<'a>(
        &mut self,
        wire: &mut Wire,
        ethernet: &EthernetFrame<&'a [u8]>,
        now: Instant,
    ) -> Result<Received<'a>, Drop> {
        let bytes = ethernet.payload();
        let packet = check_ipv4(bytes)?;
        let (source, destination) = (packet.src_addr(), packet.dst_addr());
        let kind = self.destination(source, destination)?;
        if packet.more_frags() || packet.frag_offset() != 0 {
            return Err(Drop::Fragment);
        }
        let payload = packet.payload();
        if packet.next_header() == IpProtocol::Udp && self.is_for_dhcp(payload) {
            return self.receive_dhcp(wire, ethernet.src_addr(), &packet, now);
        }
        // RFC 1122, section 3.3.6: a unicast packet in a link-layer broadcast is dropped.
        let unicast = ethernet.dst_addr() == self.hardware;
        match kind {
            Destination::Other => return Err(Drop::NotOurs),
            Destination::Own if !unicast => return Err(Drop::Martian),
            _ => {}
        }
        let unicast = unicast && kind == Destination::Own;
        match packet.next_header() {
            IpProtocol::Tcp if !unicast => Err(Drop::Martian),
            IpProtocol::Tcp => {
                let segment = parse_tcp(source.into(), destination.into(), payload)?;
                Ok(Received::Segment(segment))
            }
            IpProtocol::Icmp => self.receive_icmpv4(wire, &packet, unicast, now),
            // Membership reports are of no use on a link without routers for groups; this host is in none that needs them.
            IpProtocol::Igmp => Ok(Received::Handled),
            IpProtocol::Udp => {
                check_udp(source, destination, payload)?;
                self.refuse_ipv4(wire, &packet, Unreachable::Port, unicast, now)
            }
            _ => self.refuse_ipv4(wire, &packet, Unreachable::Protocol, unicast, now),
        }
    }

    /// Classifies the destination. Sources that no host can have are dropped, and so are
    /// destinations that never appear on a link (RFC 1122, section 3.2.1.3).
    fn destination(
        &self,
        source: Ipv4Address,
        destination: Ipv4Address,
    ) -> Result<Destination, Drop> {
        let config = self.ipv4.config();
        let may_send = config.map_or(is_host_address(source), |it| it.may_send(source));
        if !may_send {
            return Err(Drop::Martian);
        }
        let broadcast = destination == BROADCAST
            || config.is_some_and(|config| config.is_broadcast(destination));
        match destination {
            _ if self.ipv4_address() == Some(destination) => Ok(Destination::Own),
            _ if broadcast || destination == ALL_HOSTS => Ok(Destination::Group),
            _ if is_host_address(destination) || destination.is_multicast() => {
                Ok(Destination::Other)
            }
            _ => Err(Drop::Martian),
        }
    }
}

/// Checks lengths, version and header checksum (RFC 1122, sections 3.2.1.1 and 3.2.1.2), and refuses source routes, which
/// would let a sender answer for another host (section 3.2.1.8 c lets a host drop them; RFC 6274, section 3.13.2.3).
fn check_ipv4(bytes: &[u8]) -> Result<Ipv4Packet<&[u8]>, Drop> {
    let packet = Ipv4Packet::new_checked(bytes).map_err(|_| Drop::Malformed)?;
    let header = usize::from(packet.header_len());
    if packet.version() != 4 || header < IPV4_HEADER {
        return Err(Drop::Malformed);
    }
    let mut checksum = Checksum::default();
    checksum.add(&bytes[..header]);
    if checksum.finish() != 0 {
        return Err(Drop::Malformed);
    }
    match options(&bytes[IPV4_HEADER..header])? {
        true => Err(Drop::SourceRoute),
        false => Ok(packet),
    }
}

/// Whether a source route is among the options.
fn options(mut options: &[u8]) -> Result<bool, Drop> {
    while let [kind, rest @ ..] = options {
        let length = match (*kind, rest.first()) {
            (END_OF_OPTIONS, _) => break,
            (NO_OPERATION, _) => 1,
            (LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE, _) => return Ok(true),
            (_, Some(length)) if *length >= 2 => usize::from(*length),
            _ => return Err(Drop::Malformed),
        };
        options = options.get(length..).ok_or(Drop::Malformed)?;
    }
    Ok(false)
}

/// Reads a segment whose checksum is right.
pub(super) fn parse_tcp(
    source: IpAddress,
    destination: IpAddress,
    bytes: &[u8],
) -> Result<Segment<'_>, Drop> {
    let mut checksum = pseudo_header(source, destination, IpProtocol::Tcp, bytes.len());
    checksum.add(bytes);
    match checksum.finish() {
        0 => Segment::parse(source, destination, bytes).map_err(|_| Drop::Malformed),
        _ => Err(Drop::Malformed),
    }
}

/// Checks a datagram's length and, if it has one, its checksum (RFC 1122, section 4.1.3.4).
pub(super) fn check_udp(
    source: Ipv4Address,
    destination: Ipv4Address,
    bytes: &[u8],
) -> Result<UdpPacket<&[u8]>, Drop> {
    let packet = UdpPacket::new_checked(bytes).map_err(|_| Drop::Malformed)?;
    let datagram = &bytes[..usize::from(packet.len())];
    let (source, destination) = (source.into(), destination.into());
    let mut checksum = pseudo_header(source, destination, IpProtocol::Udp, datagram.len());
    checksum.add(datagram);
    match packet.checksum() != 0 && checksum.finish() != 0 {
        true => Err(Drop::Malformed),
        false => Ok(packet),
    }
}
