//! ICMP: RFC 1122, section 3.2.2.

use smoltcp::wire::*;

use crate::host::testing::*;
use crate::host::{Drop, Received};
use crate::segment::{SegmentError, SegmentErrorKind};
use crate::tcp::SequenceNumber;

const BROADCAST: EthernetAddress = EthernetAddress::BROADCAST;
const NONE: Vec<Vec<u8>> = vec![];

fn lab() -> Lab {
    let mut lab = Lab::new();
    lab.introduce(PEER, PEER_MAC);
    lab.introduce(ROUTER, ROUTER_MAC);
    lab
}

/// Type and code of the message in a frame, and what follows its header.
fn message(frame: &[u8]) -> ((u8, u8), Vec<u8>) {
    let (to, repr, payload) = ipv4_in(frame).unwrap();
    assert_eq!((to, repr.src_addr, repr.dst_addr), (PEER_MAC, HOST, PEER));
    assert_eq!(repr.next_header, IpProtocol::Icmp);
    ((payload[0], payload[1]), payload[8..].to_vec())
}

#[test]
fn an_echo_is_answered_with_its_data() {
    for length in [0, 1, 55, 1472] {
        let data: Vec<u8> = (0..length).map(|it| it as u8).collect();
        let answers = lab().answer(&Packet::echo(&data).frame());
        assert_eq!(message(&answers[0]), ((0, 0), data));
        let (_, _, payload) = ipv4_in(&answers[0]).unwrap();
        assert_eq!(
            payload[4..8],
            [0, 7, 0, 9],
            "identifier and sequence number"
        );
    }
}

#[test]
fn an_echo_of_an_unresolved_neighbour_is_answered_when_it_is_resolved() {
    let mut lab = Lab::new();
    let frames = lab.answer(&Packet::echo(b"data").frame());
    assert_eq!(asked(&frames), [PEER]);
    let answers = lab.answer(&arp(ArpOperation::Reply, (PEER_MAC, PEER), HOST));
    assert_eq!(message(&answers[0]), ((0, 0), b"data".to_vec()));
}

#[test]
fn echoes_to_groups_are_not_answered() {
    for (destination, to) in [
        (Ipv4Address::BROADCAST, BROADCAST),
        (Ipv4Address::new(10, 0, 2, 255), BROADCAST),
        (
            Ipv4Address::new(224, 0, 0, 1),
            EthernetAddress([1, 0, 0x5e, 0, 0, 1]),
        ),
        (Ipv4Address::BROADCAST, HOST_MAC),
        (HOST, BROADCAST),
    ] {
        let packet = Packet::echo(b"?").destination(destination).to(to);
        assert_eq!(lab().answer(&packet.frame()), NONE, "{destination} {to}");
    }
}

#[test]
fn a_damaged_message_is_dropped() {
    let mut packet = Packet::echo(b"data");
    packet.payload[9] ^= 1;
    assert_eq!(
        lab().receive(&packet.frame()),
        Received::Dropped(Drop::Malformed)
    );
}

#[test]
fn a_closed_udp_port_is_unreachable() {
    let packet = Packet::udp((5000, 9), &[7; 1000]);
    let answers = lab().answer(&packet.frame());
    let (kind, quoted) = message(&answers[0]);
    assert_eq!(kind, (3, 3));
    assert_eq!(
        quoted,
        packet.bytes()[..548],
        "as much as fits into 576 bytes"
    );
}

#[test]
fn an_unknown_protocol_is_unreachable() {
    let packet = Packet::new(IpProtocol::Unknown(99), b"??");
    let answers = lab().answer(&packet.frame());
    assert_eq!(message(&answers[0]), ((3, 2), packet.bytes()));
}

#[test]
fn a_damaged_datagram_is_not_answered() {
    let mut packet = Packet::udp((5000, 9), b"data");
    packet.payload[10] ^= 1;
    assert_eq!(lab().answer(&packet.frame()), NONE);
    // Without a checksum it is (RFC 768).
    packet.payload[6..8].fill(0);
    assert_eq!(lab().answer(&packet.frame()).len(), 1);
}

/// RFC 1122, section 3.2.2: what no error may answer.
#[test]
fn errors_answer_neither_groups_nor_errors_nor_martians() {
    let datagram = |destination: Ipv4Address, to| {
        let mut packet = Packet::udp((5000, 9), b"?").destination(destination).to(to);
        packet.payload[6..8].fill(0);
        packet.frame()
    };
    let error = Packet::icmp(&Icmpv4Repr::TimeExceeded {
        reason: Icmpv4TimeExceeded::TtlExpired,
        header: Ipv4Repr {
            src_addr: HOST,
            dst_addr: PEER,
            next_header: IpProtocol::Udp,
            payload_len: 8,
            hop_limit: 1,
        },
        data: &[0; 8],
    });
    for frame in [
        datagram(Ipv4Address::BROADCAST, BROADCAST),
        datagram(Ipv4Address::new(10, 0, 2, 255), BROADCAST),
        datagram(Ipv4Address::new(10, 0, 2, 255), HOST_MAC),
        datagram(HOST, BROADCAST),
        error.frame(),
        Packet::udp((5000, 9), b"?")
            .source(Ipv4Address::new(127, 0, 0, 1))
            .frame(),
        Packet::new(IpProtocol::Icmp, &[99, 0, 0x9c, 0xff, 0, 0, 0, 0]).frame(),
    ] {
        assert_eq!(lab().answer(&frame), NONE);
    }
}

#[test]
fn errors_and_echoes_are_limited() {
    let mut lab = lab();
    let mut answers = |frame: &[u8]| (0..2000).map(|_| lab.answer(frame).len()).sum::<usize>();
    assert_eq!(answers(&Packet::udp((5000, 9), b"?").frame()), 50);
    assert_eq!(
        answers(&Packet::new(IpProtocol::Unknown(99), b"?").frame()),
        0,
        "one limit"
    );
    assert_eq!(answers(&Packet::echo(b"?").frame()), 1000);
    lab.run(1000);
    let again = (0..2000).map(|_| lab.answer(&Packet::udp((5000, 9), b"?").frame()).len());
    assert_eq!(again.sum::<usize>(), 50);
}

/// A segment of the host, cut as routers do.
fn quoted() -> Vec<u8> {
    let mut packet = Packet::new(IpProtocol::Tcp, &[0; 8])
        .source(HOST)
        .destination(FAR);
    packet.payload[..4].copy_from_slice(&[0, 80, 0x9c, 0x40]);
    packet.payload[4..].copy_from_slice(&[1, 2, 3, 4]);
    let mut bytes = packet.bytes();
    bytes[2..4].copy_from_slice(&1500u16.to_be_bytes());
    bytes
}

/// An error of the router about it.
fn error(kind: u8, code: u8, rest: [u8; 4], quoted: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind, code, 0, 0];
    bytes.extend(rest);
    bytes.extend(quoted);
    let sum = !checksum::data(&bytes);
    bytes[2..4].copy_from_slice(&sum.to_be_bytes());
    Packet::new(IpProtocol::Icmp, &bytes).source(ROUTER).frame()
}

pub(super) fn too_big(mtu: u16) -> Vec<u8> {
    let [high, low] = mtu.to_be_bytes();
    error(3, 4, [0, 0, high, low], &quoted())
}

fn kind(frame: &[u8]) -> Option<SegmentErrorKind> {
    match lab().receive(frame) {
        Received::SegmentError(error) => Some(error.kind),
        other => {
            assert!(matches!(other, Received::Handled | Received::Dropped(_)));
            None
        }
    }
}

#[test]
fn an_error_names_the_segment() {
    let expected = SegmentError {
        local: IpEndpoint::new(HOST.into(), 80),
        remote: IpEndpoint::new(FAR.into(), 40000),
        sequence: SequenceNumber(0x0102_0304),
        kind: SegmentErrorKind::Soft,
        reporter: ROUTER.into(),
    };
    let frame = error(3, 1, [0; 4], &quoted());
    assert_eq!(lab().receive(&frame), Received::SegmentError(expected));
}

#[test]
fn errors_are_soft_hard_or_about_the_size() {
    let of = |kind_, code| kind(&error(kind_, code, [0; 4], &quoted()));
    for code in [0, 1, 5, 6, 7, 8, 11, 12] {
        assert_eq!(of(3, code), Some(SegmentErrorKind::Soft), "{code}");
    }
    for code in [2, 3, 9, 10, 13] {
        assert_eq!(of(3, code), Some(SegmentErrorKind::Hard), "{code}");
    }
    assert_eq!(of(11, 0), Some(SegmentErrorKind::Soft));
    assert_eq!(of(12, 0), Some(SegmentErrorKind::Soft));
    assert_eq!(kind(&too_big(1400)), Some(SegmentErrorKind::TooBig(1400)));
    // RFC 1191, section 5: the plateau below the 1500 bytes of the quoted packet.
    assert_eq!(kind(&too_big(0)), Some(SegmentErrorKind::TooBig(1492)));
}

#[test]
fn redirects_quenches_and_foreign_errors_change_nothing() {
    for ignored in [5, 4, 9, 10, 13, 15, 17] {
        assert_eq!(
            kind(&error(ignored, 1, [10, 0, 2, 99], &quoted())),
            None,
            "{ignored}"
        );
    }
    let mut others = quoted();
    others[12..16].copy_from_slice(&PEER.octets());
    assert_eq!(kind(&error(3, 1, [0; 4], &others)), None);
    let mut udp = quoted();
    udp[9] = 17;
    assert_eq!(kind(&error(3, 3, [0; 4], &udp)), None);
    for length in 0..28 {
        assert_eq!(
            kind(&error(3, 1, [0; 4], &quoted()[..length])),
            None,
            "{length}"
        );
    }
    let mut hop = lab();
    hop.receive(&error(5, 1, PEER.octets(), &quoted()));
    assert_eq!(
        hop.host.next_hop(FAR.into()),
        Some(ROUTER.into()),
        "no redirect"
    );
}
