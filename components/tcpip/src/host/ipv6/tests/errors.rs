//! ICMPv6: echo, and errors in both directions (RFC 4443, RFC 8201, RFC 5927).

use super::super::message::{DESTINATION_UNREACHABLE, ECHO_REPLY, ECHO_REQUEST, REDIRECT};
use super::*;
use crate::host::Received;
use crate::segment::{SegmentError, SegmentErrorKind};
use crate::tcp::SequenceNumber;

/// A lab whose peer is known.
fn met() -> Lab {
    let mut lab = lab();
    lab.answer(&asks_for(link_local()).frame());
    lab
}

#[test]
fn echo_requests_are_answered() {
    let mut lab = met();
    let request = Packet::icmp(ECHO_REQUEST, 0, &[0, 7, 0, 9, 1, 2, 3]);
    let replies = answers(&mut lab, &request);
    let [reply] = &replies[..] else {
        panic!("{replies:?}");
    };
    assert_eq!(reply.kind(), ECHO_REPLY);
    assert_eq!(reply.payload[4..], [0, 7, 0, 9, 1, 2, 3]);
    assert_eq!(
        (reply.source, reply.destination, reply.to),
        (link_local(), PEER, PEER_MAC)
    );
    assert_eq!(reply.hop_limit, 64);
    // To all nodes: from an address of this host (RFC 4443, section 4.2).
    let replies = answers(&mut lab, &request.clone().to(ALL_NODES));
    assert_eq!(replies.len(), 1);
    assert_eq!(replies[0].source, link_local());
    let from_nowhere = request.source(Ipv6Address::UNSPECIFIED);
    assert_eq!(answers(&mut lab, &from_nowhere), []);
}

#[test]
fn the_first_reply_waits_for_the_neighbours_address() {
    let mut lab = lab();
    let request = Packet::icmp(ECHO_REQUEST, 0, &[0, 7, 0, 9]);
    let asked = answers(&mut lab, &request);
    assert_eq!(asked[0].kind(), message::NEIGHBOR_SOLICITATION);
    let replies = answers(&mut lab, &advertises(PEER, PEER_MAC));
    assert_eq!(replies[0].kind(), ECHO_REPLY);
}

#[test]
fn a_datagram_to_a_closed_port_gets_port_unreachable() {
    let mut lab = met();
    let replies = answers(&mut lab, &Packet::udp());
    let [error] = &replies[..] else {
        panic!("{replies:?}");
    };
    assert_eq!(error.payload[..2], [DESTINATION_UNREACHABLE, 4]);
    assert_eq!(error.payload[8..], Packet::udp().bytes());
}

#[test]
fn an_error_is_no_longer_than_every_link_carries() {
    let mut lab = met();
    let long = Packet::new(IpProtocol::from(253), &[7; 1400]);
    let replies = answers(&mut lab, &long);
    assert_eq!(replies[0].payload.len(), 1280 - 40);
    assert_eq!(replies[0].payload[8..], long.bytes()[..1280 - 48]);
}

#[test]
fn no_error_answers_an_error_or_an_unknown_sender() {
    let mut lab = met();
    let option = [0, 0, 0x9e, 4, 0, 0, 0, 0];
    for packet in [
        Packet::icmp(1, 0, &[0; 40]).behind(60, &option),
        Packet::icmp(100, 0, &[0; 40]).behind(60, &option),
        Packet::icmp(REDIRECT, 0, &[0; 40]).behind(60, &option),
        Packet::udp()
            .behind(60, &option)
            .source(Ipv6Address::UNSPECIFIED),
        Packet::icmp(200, 0, &[0; 40]),
        Packet::icmp(ECHO_REPLY, 0, &[0; 40]),
    ] {
        assert_eq!(answers(&mut lab, &packet), [], "{:?}", packet.payload);
    }
    let request = Packet::icmp(ECHO_REQUEST, 0, &[0; 40]).behind(60, &option);
    assert_eq!(answers(&mut lab, &request).len(), 1);
}

#[test]
fn errors_are_rate_limited() {
    let mut lab = met();
    let frame = Packet::udp().frame();
    let answered: usize = (0..1000).map(|_| lab.answer(&frame).len()).sum();
    assert!((10..=100).contains(&answered), "{answered}");
    lab.run(1000);
    assert_eq!(answers(&mut lab, &Packet::udp()).len(), 1);
}

/// An error about a segment that the host sent.
fn error(kind: u8, code: u8, value: u32) -> Packet {
    let mut quoted = Packet::syn();
    (quoted.source, quoted.destination) = (link_local(), PEER);
    quoted.payload[..8].copy_from_slice(&[0, 80, 156, 64, 1, 2, 3, 4]);
    let body = [&value.to_be_bytes()[..], &quoted.bytes()[..48]].concat();
    Packet::icmp(kind, code, &body)
}

fn reported(packet: &Packet) -> Option<SegmentError> {
    match lab().receive(&packet.frame()) {
        Received::SegmentError(error) => Some(error),
        _ => None,
    }
}

#[test]
fn errors_about_segments_reach_tcp() {
    let expected = |kind| {
        Some(SegmentError {
            local: IpEndpoint::new(link_local().into(), 80),
            remote: IpEndpoint::new(PEER.into(), 40000),
            sequence: SequenceNumber(0x0102_0304),
            kind,
            reporter: PEER.into(),
        })
    };
    for (kind, code, value, means) in [
        (1, 0, 0, SegmentErrorKind::Soft),
        (1, 1, 0, SegmentErrorKind::Hard),
        (1, 3, 0, SegmentErrorKind::Soft),
        (1, 4, 0, SegmentErrorKind::Hard),
        (2, 0, 1400, SegmentErrorKind::TooBig(1400)),
        (2, 0, 1280, SegmentErrorKind::TooBig(1280)),
        (3, 0, 0, SegmentErrorKind::Soft),
        (4, 0, 40, SegmentErrorKind::Soft),
        (4, 1, 6, SegmentErrorKind::Hard),
        (77, 0, 0, SegmentErrorKind::Soft),
    ] {
        assert_eq!(
            reported(&error(kind, code, value)),
            expected(means),
            "{kind} {code}"
        );
    }
}

#[test]
fn errors_that_cannot_be_true_are_ignored() {
    assert_eq!(reported(&error(2, 0, 1279)), None, "RFC 8201, section 4");
    assert_eq!(reported(&error(1, 0, 0).to(ALL_NODES)), None);
    let mut foreign = error(1, 0, 0);
    foreign.payload[8 + 8] ^= 1;
    assert_eq!(reported(&foreign), None, "a segment of another host");
    let mut short = error(1, 0, 0);
    short.payload.truncate(8 + 47);
    assert_eq!(reported(&short), None);
    let mut datagram = error(1, 0, 0);
    datagram.payload[8 + 6] = 17;
    assert_eq!(reported(&datagram), None);
}

#[test]
fn a_path_gets_narrower_for_its_destination_only() {
    let mut lab = met();
    lab.host.reduce_path_mtu(FAR.into(), 1300, lab.now);
    assert_eq!(lab.host.path_mtu(FAR.into(), lab.now), 1300);
    assert_eq!(lab.host.path_mtu(PEER.into(), lab.now), 1500);
}

/// Redirects are ignored: docs/ipv6.md says why.
#[test]
fn redirects_change_nothing() {
    let mut lab = lab();
    advertise(&mut lab, &router(&[]));
    let body = [&[0; 4][..], &PEER.octets(), &FAR.octets()].concat();
    let redirect = Packet::icmp(REDIRECT, 0, &body);
    let redirect = Packet {
        hop_limit: 255,
        ..redirect.source(ROUTER)
    };
    assert_eq!(answers(&mut lab, &redirect), []);
    assert_eq!(lab.host.next_hop(FAR.into()), Some(ROUTER.into()));
}
