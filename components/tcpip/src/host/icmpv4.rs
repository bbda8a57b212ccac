//! ICMP for IPv4 (RFC 792) as a host has to use it (RFC 1122, section 3.2.2).

use smoltcp::time::Instant;
use smoltcp::wire::{IpAddress, IpEndpoint, IpProtocol, Ipv4Address, Ipv4Packet};

use super::checksum::Checksum;
use super::output::{IPV4_HEADER, Waits, write_ipv4};
use super::paths::reported_mtu;
use super::{Drop, Host, Received};
use crate::segment::{SegmentError, SegmentErrorKind};
use crate::tcp::SequenceNumber;
use crate::wire::Wire;

/// Types of messages.
const ECHO_REPLY: u8 = 0;
const DESTINATION_UNREACHABLE: u8 = 3;
const ECHO: u8 = 8;
const TIME_EXCEEDED: u8 = 11;
const PARAMETER_PROBLEM: u8 = 12;
/// Length in bytes of a message's header: type, code, checksum, and four bytes that depend on the type.
const HEADER: usize = 8;
/// An error quotes as much as fits into a packet that every host takes (RFC 1812, section 4.3.2.3).
const MAX_ERROR: usize = 576;
/// Bytes of a segment that an error quotes at least: ports and sequence number (RFC 792).
const QUOTED: usize = 8;

/// Why a packet cannot be delivered: the code of a destination-unreachable message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreachable {
    /// No such protocol (RFC 1122, section 3.2.2.1).
    Protocol = 2,
    /// No such port (RFC 1122, section 4.1.3.1).
    Port = 3,
}

impl Host {
    /// Takes an ICMP message. Redirects are ignored, since every neighbour can forge them and the
    /// router forwards anyway (RFC 1122, section 3.2.2.2, wants them; RFC 6274, section 4.2.1,
    /// advises against it), and so are source quenches (RFC 6633), timestamps and queries for masks
    /// and routers, which a host need not answer.
    pub(super) fn receive_icmpv4<'a>(
        &mut self,
        wire: &mut Wire,
        packet: &Ipv4Packet<&'a [u8]>,
        unicast: bool,
        now: Instant,
    ) -> Result<Received<'a>, Drop> {
        let message = packet.payload();
        let mut checksum = Checksum::default();
        checksum.add(message);
        if message.len() < HEADER || checksum.finish() != 0 {
            return Err(Drop::Malformed);
        }
        match message[0] {
            // RFC 1122, section 3.2.2.6, allows not to answer an echo to a group.
            ECHO if unicast => self.answer_echo(wire, packet, now),
            DESTINATION_UNREACHABLE | TIME_EXCEEDED | PARAMETER_PROBLEM if unicast => {
                let error = self.quoted_segment(message, packet.src_addr());
                return Ok(error.map_or(Received::Handled, Received::SegmentError));
            }
            _ => {}
        }
        Ok(Received::Handled)
    }

    fn answer_echo(&mut self, wire: &mut Wire, packet: &Ipv4Packet<&[u8]>, now: Instant) {
        if !self.limits.echo_replies.take(now) {
            return;
        }
        let [_, _, _, _, data @ ..] = packet.payload() else {
            return;
        };
        self.transmit_icmpv4(wire, packet, [ECHO_REPLY, 0], &[data], now);
    }

    /// Answers a packet that cannot be delivered, unless it is one that a host must not answer (RFC 1122, section 3.2.2):
    /// one to a group, at either layer, or from an address that is no host's; fragments and errors do not come here.
    pub(super) fn refuse_ipv4<'a>(
        &mut self,
        wire: &mut Wire,
        packet: &Ipv4Packet<&'a [u8]>,
        why: Unreachable,
        unicast: bool,
        now: Instant,
    ) -> Result<Received<'a>, Drop> {
        if unicast && self.limits.errors.take(now) {
            let whole = packet.as_ref();
            let length = usize::from(packet.total_len()).min(MAX_ERROR - IPV4_HEADER - HEADER);
            let message = [DESTINATION_UNREACHABLE, why as u8];
            self.transmit_icmpv4(wire, packet, message, &[&[0; 4], &whole[..length]], now);
        }
        Ok(Received::Handled)
    }

    /// Answers `packet` with a message of this type and code; `parts` follow its checksum.
    fn transmit_icmpv4(
        &mut self,
        wire: &mut Wire,
        packet: &Ipv4Packet<&[u8]>,
        [kind, code]: [u8; 2],
        parts: &[&[u8]],
        now: Instant,
    ) {
        let (own, peer) = (packet.dst_addr(), packet.src_addr());
        let length = 4 + parts.iter().map(|part| part.len()).sum::<usize>();
        let Some(hop) = self.next_hop(peer.into()) else {
            return;
        };
        let total = IPV4_HEADER + length;
        if total > usize::from(self.ipv4_mtu()) {
            return;
        }
        self.transmit(wire, hop, total, Waits::Packet, now, |bytes| {
            let (header, message) = bytes.split_at_mut(IPV4_HEADER);
            write_ipv4(header, (own, peer), IpProtocol::Icmp, length, None);
            let head = [kind, code, 0, 0];
            let mut checksum = Checksum::default();
            let mut at = 0;
            for part in [&head[..]].iter().chain(parts) {
                checksum.copy(&mut message[at..], part);
                at += part.len();
            }
            message[2..4].copy_from_slice(&checksum.finish().to_be_bytes());
        });
    }

    /// Returns the content of an error about a segment of this host.
    fn quoted_segment(&self, message: &[u8], reporter: Ipv4Address) -> Option<SegmentError> {
        let quoted = &message[HEADER..];
        // The quoted packet is cut: its total length is longer than what is here.
        let header = usize::from(quoted.first()? & 0x0f) * 4;
        if quoted[0] >> 4 != 4 || header < IPV4_HEADER || quoted.len() < header + QUOTED {
            return None;
        }
        let packet = Ipv4Packet::new_unchecked(quoted);
        let (source, destination) = (packet.src_addr(), packet.dst_addr());
        if packet.next_header() != IpProtocol::Tcp || self.ipv4_address() != Some(source) {
            return None;
        }
        let next_hop_mtu = u16::from_be_bytes([message[6], message[7]]);
        let kind = match (message[0], message[1]) {
            (DESTINATION_UNREACHABLE, 4) => {
                SegmentErrorKind::TooBig(reported_mtu(next_hop_mtu, packet.total_len()))
            }
            (DESTINATION_UNREACHABLE, 2 | 3 | 9 | 10 | 13) => SegmentErrorKind::Hard,
            _ => SegmentErrorKind::Soft,
        };
        let tcp = &quoted[header..];
        let port = |at: usize| u16::from_be_bytes([tcp[at], tcp[at + 1]]);
        let sequence = u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]);
        Some(SegmentError {
            local: IpEndpoint::new(source.into(), port(0)),
            remote: IpEndpoint::new(destination.into(), port(2)),
            sequence: SequenceNumber(sequence),
            kind,
            reporter: IpAddress::from(reporter),
        })
    }
}
