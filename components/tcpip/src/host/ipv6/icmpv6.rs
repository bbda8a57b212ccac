//! ICMPv6 (RFC 4443): echo, and errors in both directions.

use smoltcp::time::Instant;
use smoltcp::wire::{IpEndpoint, IpProtocol, Ipv6Address};

use super::super::output::{IPV6_HEADER, Waits, write_ipv6};
use super::super::{Drop, Host, Received};
use super::MIN_MTU;
use super::headers::{Packet, Problem, address_at, next};
use super::io::{Arrival, write_icmpv6};
use super::message::{
    DESTINATION_UNREACHABLE, ECHO_REPLY, ECHO_REQUEST, Envelope, PACKET_TOO_BIG, PARAMETER_PROBLEM,
    TIME_EXCEEDED,
};
use crate::segment::{SegmentError, SegmentErrorKind};
use crate::tcp::SequenceNumber;
use crate::wire::Wire;

/// Length in bytes of a message's header: type, code, checksum, and four bytes that depend on the type.
const HEADER: usize = 8;
/// Types below this are errors (RFC 4443, section 2.1).
const FIRST_INFORMATIONAL: u8 = 128;
/// Bytes of a segment that identify its connection: ports and sequence number.
const QUOTED: usize = 8;
/// The code of a destination-unreachable message for a port (RFC 4443, section 3.1).
const PORT_UNREACHABLE: u8 = 4;

impl Host {
    /// Takes an ICMPv6 message with a correct checksum. Unknown errors go to the upper layer, unknown informational
    /// messages are dropped (RFC 4443, section 2.4 a and b). Redirects are ignored: every neighbour can forge them, and
    /// the router forwards anyway.
    pub(super) fn receive_icmpv6<'a>(
        &mut self,
        wire: &mut Wire,
        packet: &Packet<'a>,
        arrival: Arrival,
        (message, router_alert): (&'a [u8], bool),
        now: Instant,
    ) -> Result<Received<'a>, Drop> {
        match message {
            [] | [_] | [_, _] | [_, _, _] => return Err(Drop::Malformed),
            [ECHO_REQUEST, ..] if packet.source.is_unspecified() => return Err(Drop::Martian),
            [ECHO_REQUEST, ..] => self.answer_echo_request(wire, packet, message, now),
            [0..FIRST_INFORMATIONAL, ..] => {
                let error = self.quoted_segment_v6(message, packet.source);
                let error = error.filter(|_| arrival.unicast);
                return Ok(error.map_or(Received::Handled, Received::SegmentError));
            }
            _ => {
                let envelope = Envelope {
                    source: packet.source,
                    destination: packet.destination,
                    hop_limit: packet.hop_limit,
                };
                if let Some(ipv6) = &mut self.ipv6 {
                    ipv6.receive(&envelope, arrival.hardware, router_alert, message, now);
                }
                self.run_ipv6(wire, now);
            }
        }
        Ok(Received::Handled)
    }

    /// Answers an echo request. A request to a group is answered too, from an address of this host
    /// (RFC 4443, section 4.2).
    fn answer_echo_request(
        &mut self,
        wire: &mut Wire,
        packet: &Packet<'_>,
        message: &[u8],
        now: Instant,
    ) {
        if self.limits.echo_replies.take(now) {
            let head = [ECHO_REPLY, 0, 0, 0];
            self.answer_ipv6(wire, packet, &[&head, &message[head.len()..]], now);
        }
    }

    /// Answers a datagram to a port that no program listens on (RFC 4443, section 3.1).
    pub(super) fn refuse_ipv6(
        &mut self,
        wire: &mut Wire,
        packet: &Packet<'_>,
        arrival: Arrival,
        now: Instant,
    ) {
        if arrival.unicast {
            let head = [DESTINATION_UNREACHABLE, PORT_UNREACHABLE, 0, 0, 0, 0, 0, 0];
            self.send_error(wire, packet, &head, now);
        }
    }

    /// Answers a packet that cannot be processed (RFC 4443, section 3.4).
    pub(super) fn report_problem(
        &mut self,
        wire: &mut Wire,
        packet: &Packet<'_>,
        arrival: Arrival,
        problem: Problem,
        now: Instant,
    ) {
        // RFC 4443, section 2.4 e: groups at either layer get errors only about options that want it.
        let group = packet.destination.is_multicast() || arrival.group_frame;
        if group && !problem.to_multicast {
            return;
        }
        let mut head = [PARAMETER_PROBLEM, problem.code, 0, 0, 0, 0, 0, 0];
        head[4..].copy_from_slice(&problem.pointer.to_be_bytes());
        self.send_error(wire, packet, &head, now);
    }

    /// Sends an error about a packet, unless it is one that no error may answer (RFC 4443, section 2.4 e and f): an error
    /// itself, one without a single sender, or one too many.
    fn send_error(
        &mut self,
        wire: &mut Wire,
        packet: &Packet<'_>,
        head: &[u8; HEADER],
        now: Instant,
    ) {
        if packet.source.is_unspecified() || packet.is_error() || !self.limits.errors.take(now) {
            return;
        }
        let room = usize::from(MIN_MTU) - IPV6_HEADER - HEADER;
        let quoted = &packet.bytes[..packet.bytes.len().min(room)];
        self.answer_ipv6(wire, packet, &[head, quoted], now);
    }

    /// Answers a packet with a message out of parts, from the address that it was sent to, or for a group from the best
    /// one (RFC 4443, section 2.2).
    fn answer_ipv6(&mut self, wire: &mut Wire, packet: &Packet<'_>, parts: &[&[u8]], now: Instant) {
        let peer = packet.source;
        let Some(ipv6) = &self.ipv6 else {
            return;
        };
        let own = match ipv6.is_own(packet.destination) {
            true => Some(packet.destination),
            false => ipv6.source_for(peer),
        };
        let hop_limit = ipv6.hop_limit();
        let Some((own, hop)) = own.and_then(|own| Some((own, ipv6.next_hop(Some(own), peer)?)))
        else {
            return;
        };
        let length = parts.iter().map(|part| part.len()).sum::<usize>();
        let total = IPV6_HEADER + length;
        // A longer answer would need fragments, which this host does not send.
        if total > usize::from(self.path_mtu(peer.into(), now)) {
            return;
        }
        self.transmit(wire, hop.into(), total, Waits::Packet, now, |bytes| {
            let (header, message) = bytes.split_at_mut(IPV6_HEADER);
            write_ipv6(header, (own, peer), IpProtocol::Icmpv6, length, hop_limit);
            write_icmpv6(message, (own, peer), parts);
        });
    }

    /// Returns the content of an error about a segment of this host.
    fn quoted_segment_v6(&self, message: &[u8], reporter: Ipv6Address) -> Option<SegmentError> {
        let quoted = message.get(HEADER..)?;
        // The quoted packet is cut: its length is longer than what is here. This host sends no extension headers.
        let header = quoted.get(..IPV6_HEADER)?;
        let tcp = quoted.get(IPV6_HEADER..IPV6_HEADER + QUOTED)?;
        let (source, destination) = (address_at(header, 8)?, address_at(header, 24)?);
        if header[0] >> 4 != 6 || header[6] != next::TCP || !self.is_own(source.into()) {
            return None;
        }
        let port = |at: usize| u16::from_be_bytes([tcp[at], tcp[at + 1]]);
        let sequence = u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]);
        Some(SegmentError {
            local: IpEndpoint::new(source.into(), port(0)),
            remote: IpEndpoint::new(destination.into(), port(2)),
            sequence: SequenceNumber(sequence),
            kind: kind(message)?,
            reporter: reporter.into(),
        })
    }
}

/// Returns the meaning of an error for TCP (RFC 4443, section 3; RFC 5461, section 2.1; RFC 5927, section 5).
fn kind(message: &[u8]) -> Option<SegmentErrorKind> {
    let [kind, code, _, _, value @ ..] = message else {
        return None;
    };
    Some(match (*kind, *code) {
        (PACKET_TOO_BIG, _) => {
            let mtu = u32::from_be_bytes(*value.first_chunk()?);
            // Every link carries 1,280 bytes: a smaller value is discarded (RFC 8201, section 4).
            let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
            SegmentErrorKind::TooBig(Some(mtu).filter(|mtu| *mtu >= MIN_MTU)?)
        }
        // Administratively prohibited, port unreachable, source address or route refused by policy.
        (DESTINATION_UNREACHABLE, 1 | PORT_UNREACHABLE | 5 | 6) => SegmentErrorKind::Hard,
        // Unrecognized next header: the peer has no TCP.
        (PARAMETER_PROBLEM, 1) => SegmentErrorKind::Hard,
        (DESTINATION_UNREACHABLE | TIME_EXCEEDED | PARAMETER_PROBLEM, _) => SegmentErrorKind::Soft,
        // An error of a kind that is not known yet says that the packet did not arrive.
        _ => SegmentErrorKind::Soft,
    })
}
