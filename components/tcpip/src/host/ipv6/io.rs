//! IPv6 packets in frames: what is for this host, and messages to send.

use smoltcp::time::Instant;
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, IpAddress, IpProtocol, Ipv6Address,
};

use super::super::notice::HostNotice;
use super::super::output::{IPV6_HEADER, Waits, pseudo_header, write_ipv6};
use super::super::{Drop, Host, Received, Resolution};
use super::address::{is_martian_destination, is_martian_source, multicast_hardware};
use super::headers::{Content, PADN, Packet, ROUTER_ALERT, next};
use super::message::NEIGHBOR_ADVERTISEMENT;
use super::{Message, Output};
use crate::host::checksum::Checksum;
use crate::segment::Segment;
use crate::wire::Wire;

/// Length in bytes of a UDP header.
const UDP_HEADER: usize = 8;

/// How a packet came in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    /// The sender's link-layer address.
    pub hardware: EthernetAddress,
    /// It was sent to this host alone, at both layers.
    pub unicast: bool,
    /// Its frame went to a group.
    pub group_frame: bool,
}

impl Host {
    /// Takes an IPv6 packet.
    pub(in crate::host) fn receive_ipv6<'a>(
        &mut self,
        wire: &mut Wire,
        ethernet: &EthernetFrame<&'a [u8]>,
        now: Instant,
    ) -> Result<Received<'a>, Drop> {
        let packet = Packet::parse(ethernet.payload()).ok_or(Drop::Malformed)?;
        let own = self.check_ipv6(&packet)?;
        let group_frame = ethernet.dst_addr() != self.hardware;
        let arrival = Arrival {
            hardware: ethernet.src_addr(),
            unicast: own && !group_frame,
            group_frame,
        };
        self.receive_content(wire, &packet, arrival, now)
    }

    fn receive_content<'a>(
        &mut self,
        wire: &mut Wire,
        packet: &Packet<'a>,
        arrival: Arrival,
        now: Instant,
    ) -> Result<Received<'a>, Drop> {
        let (source, destination) = (packet.source, packet.destination);
        let (protocol, payload, router_alert) = match packet.content() {
            Content::Upper {
                protocol,
                payload,
                router_alert,
            } => (protocol, payload, router_alert),
            Content::Nothing => return Ok(Received::Handled),
            Content::Fragment => return Err(Drop::Fragment),
            Content::Malformed => return Err(Drop::Malformed),
            Content::Problem(problem) => {
                self.report_problem(wire, packet, arrival, problem, now);
                return Ok(Received::Handled);
            }
        };
        let message = payload.first().filter(|_| protocol == next::ICMPV6);
        // A host that has this one's address answers with it (RFC 4862, section 5.4.4). All else with this host's address
        // as its source is forged or came back.
        let claims = message == Some(&NEIGHBOR_ADVERTISEMENT);
        if self.is_own(source.into()) && !claims {
            return Err(Drop::Martian);
        }
        match protocol {
            next::ICMPV6 => {
                check_sum(packet, IpProtocol::Icmpv6, payload)?;
                self.receive_icmpv6(wire, packet, arrival, (payload, router_alert), now)
            }
            _ if source.is_unspecified() => Err(Drop::Martian),
            next::TCP if !arrival.unicast => Err(Drop::Martian),
            next::TCP => {
                check_sum(packet, IpProtocol::Tcp, payload)?;
                let segment = Segment::parse(source.into(), destination.into(), payload);
                Ok(Received::Segment(segment.map_err(|_| Drop::Malformed)?))
            }
            _ => {
                check_udp(packet, payload)?;
                self.refuse_ipv6(wire, packet, arrival, now);
                Ok(Received::Handled)
            }
        }
    }

    /// Checks the addresses. Returns whether the packet is for an address of this host, and not for a group.
    fn check_ipv6(&self, packet: &Packet<'_>) -> Result<bool, Drop> {
        let (source, destination) = (packet.source, packet.destination);
        if is_martian_source(source) || is_martian_destination(destination) {
            return Err(Drop::Martian);
        }
        let ipv6 = self.ipv6.as_ref().filter(|ipv6| ipv6.is_listening());
        let ipv6 = ipv6.ok_or(Drop::NotOurs)?;
        match destination {
            _ if ipv6.is_own(destination) => Ok(true),
            _ if ipv6.is_member(destination) => Ok(false),
            _ => Err(Drop::NotOurs),
        }
    }

    /// Does what is due.
    pub(in crate::host) fn maintain_ipv6(&mut self, wire: &mut Wire, now: Instant) {
        if let Some(ipv6) = &mut self.ipv6 {
            ipv6.poll(now);
        }
        self.run_ipv6(wire, now);
    }

    /// Does what IPv6 wants.
    pub(in crate::host) fn run_ipv6(&mut self, wire: &mut Wire, now: Instant) {
        while let Some(output) = self.ipv6.as_mut().and_then(|it| it.output(now)) {
            match output {
                Output::Send(message) => self.transmit_message(wire, &message, now),
                Output::Solved {
                    address,
                    hardware,
                    solved,
                } => self.solved(wire, address.into(), hardware, solved),
                Output::Retry(address) => {
                    self.resolutions
                        .push_back(Resolution::Found(address.into()));
                }
                Output::Failed { address, awaited } => {
                    if awaited {
                        self.resolutions
                            .push_back(Resolution::Failed(address.into()));
                    }
                }
                Output::Changed => self.changed = true,
                Output::Notice(notice) => self.notices.push(HostNotice::Ipv6(notice), now),
            }
        }
    }

    /// Sends a message of Neighbor Discovery or Multicast Listener Discovery. These stay on the link.
    fn transmit_message(&mut self, wire: &mut Wire, message: &Message, now: Instant) {
        let destination = message.destination;
        let answers = message.message[0] == NEIGHBOR_ADVERTISEMENT;
        if answers && !self.limits.neighbour_replies.take(now) {
            return;
        }
        let hardware = match destination.is_multicast() {
            true => Some(multicast_hardware(destination)),
            false => message.hardware,
        };
        let length = IPV6_HEADER + message.options().len() + message.message.len();
        let build = |bytes: &mut [u8]| message.write(bytes);
        match hardware {
            Some(hardware) => {
                self.transmit_to(wire, hardware, EthernetProtocol::Ipv6, length, build);
            }
            None => {
                self.transmit(wire, destination.into(), length, Waits::Packet, now, build);
            }
        }
    }
}

/// A hop-by-hop header with a Router Alert option for MLD (RFC 2711, section 2.1).
const ALERT: [u8; 8] = [next::ICMPV6, 0, ROUTER_ALERT, 2, 0, 0, PADN, 0];

impl Message {
    fn options(&self) -> &'static [u8] {
        match self.router_alert {
            true => &ALERT,
            false => &[],
        }
    }

    /// Writes the packet.
    fn write(&self, bytes: &mut [u8]) {
        let options = self.options();
        let protocol = match self.router_alert {
            true => IpProtocol::HopByHop,
            false => IpProtocol::Icmpv6,
        };
        let addresses = (self.source, self.destination);
        let (header, rest) = bytes.split_at_mut(IPV6_HEADER);
        write_ipv6(header, addresses, protocol, rest.len(), self.hop_limit);
        let (extension, message) = rest.split_at_mut(options.len());
        extension.copy_from_slice(options);
        write_icmpv6(message, addresses, &[&self.message]);
    }
}

/// Writes an ICMPv6 message out of parts, and its checksum.
pub(super) fn write_icmpv6(
    message: &mut [u8],
    (source, destination): (Ipv6Address, Ipv6Address),
    parts: &[&[u8]],
) {
    let (source, destination) = (source.into(), destination.into());
    let mut checksum = pseudo_header(source, destination, IpProtocol::Icmpv6, message.len());
    let mut at = 0;
    for part in parts {
        checksum.copy(&mut message[at..], part);
        at += part.len();
    }
    message[2..4].copy_from_slice(&checksum.finish().to_be_bytes());
}

/// Checks the checksum of a payload.
fn check_sum(packet: &Packet<'_>, protocol: IpProtocol, payload: &[u8]) -> Result<(), Drop> {
    let addresses: (IpAddress, IpAddress) = (packet.source.into(), packet.destination.into());
    let mut checksum: Checksum = pseudo_header(addresses.0, addresses.1, protocol, payload.len());
    checksum.add(payload);
    match checksum.finish() {
        0 => Ok(()),
        _ => Err(Drop::Malformed),
    }
}

/// Checks a datagram. It needs a checksum (RFC 8200, section 8.1).
fn check_udp(packet: &Packet<'_>, payload: &[u8]) -> Result<(), Drop> {
    let [_, _, _, _, high, low, first, second, ..] = payload else {
        return Err(Drop::Malformed);
    };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    let datagram = payload.get(..length).filter(|it| it.len() >= UDP_HEADER);
    match datagram {
        Some(datagram) if [*first, *second] != [0, 0] => {
            check_sum(packet, IpProtocol::Udp, datagram)
        }
        _ => Err(Drop::Malformed),
    }
}
