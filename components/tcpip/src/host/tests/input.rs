//! Packets that a host must drop (RFC 1122, section 3), and packets that it must not.

use proptest::prelude::*;
use smoltcp::wire::{EthernetAddress, EthernetProtocol, IpProtocol, Ipv4Address};

use crate::host::testing::*;
use crate::host::{Drop, Received};
use crate::segment::Sent;

const BROADCAST: EthernetAddress = EthernetAddress::BROADCAST;
const ALL_HOSTS: EthernetAddress = EthernetAddress([1, 0, 0x5e, 0, 0, 1]);

fn address(text: &str) -> Ipv4Address {
    text.parse().unwrap()
}

/// A SYN with a correct checksum after the change.
fn syn(change: impl FnOnce(&mut Packet)) -> Vec<u8> {
    let mut packet = Packet::syn();
    change(&mut packet);
    packet.fill_syn();
    packet.frame()
}

fn dropped(frame: &[u8]) -> Option<Drop> {
    let mut lab = Lab::new();
    let dropped = match lab.receive(frame) {
        Received::Dropped(reason) => Some(reason),
        _ => None,
    };
    assert!(dropped.is_none() || lab.sent().is_empty(), "in silence");
    dropped
}

#[test]
fn a_segment_comes_through() {
    let frame = Packet::syn().frame();
    let mut lab = Lab::new();
    let Received::Segment(segment) = lab.receive(&frame) else {
        panic!();
    };
    assert_eq!(
        (segment.remote.addr, segment.remote.port),
        (PEER.into(), 40000)
    );
    assert_eq!((segment.local.addr, segment.local.port), (HOST.into(), 80));
}

#[test]
fn padding_behind_the_packet_is_no_payload() {
    let mut frame = Packet::syn().frame();
    frame.resize(100, 0xee);
    let mut lab = Lab::new();
    assert!(
        matches!(lab.receive(&frame), Received::Segment(segment) if segment.payload.is_empty())
    );
}

#[test]
fn damaged_packets_are_dropped() {
    let good = Packet::syn().frame();
    for length in 0..good.len() {
        assert_eq!(dropped(&good[..length]), Some(Drop::Malformed), "{length}");
    }
    // Every byte of the IP header is covered by its checksum, every byte of the segment by TCP's.
    for position in 14..good.len() {
        let mut frame = good.clone();
        frame[position] ^= 0x41;
        assert!(dropped(&frame).is_some(), "{position}");
    }
}

#[test]
fn other_versions_and_short_headers_are_dropped() {
    for first in [0x55, 0x44, 0x40, 0x05] {
        let mut packet = Packet::syn().bytes();
        packet[0] = first;
        packet[10..12].fill(0);
        let header = usize::from(first & 0xf) * 4;
        let sum = !smoltcp::wire::checksum::data(&packet[..header]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        let frame = ethernet(PEER_MAC, HOST_MAC, EthernetProtocol::Ipv4, &packet);
        assert_eq!(dropped(&frame), Some(Drop::Malformed), "{first:#x}");
    }
}

#[test]
fn sources_that_are_no_hosts_are_dropped() {
    for source in [
        "0.0.0.0",
        "0.1.2.3",
        "127.0.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "10.0.2.255",
        "10.0.2.0",
        "10.0.2.15",
    ] {
        let frame = syn(|packet| packet.source = address(source));
        assert_eq!(dropped(&frame), Some(Drop::Martian), "{source}");
    }
    assert_eq!(
        dropped(&syn(|packet| packet.source = address("198.51.100.255"))),
        None
    );
}

#[test]
fn destinations_that_are_not_ours_are_dropped() {
    for (destination, reason) in [
        ("10.0.2.16", Drop::NotOurs),
        ("8.8.8.8", Drop::NotOurs),
        ("224.0.0.251", Drop::NotOurs),
        ("127.0.0.1", Drop::Martian),
        ("0.0.0.0", Drop::Martian),
        ("240.0.0.1", Drop::Martian),
    ] {
        let frame = syn(|packet| packet.destination = address(destination));
        assert_eq!(dropped(&frame), Some(reason), "{destination}");
    }
}

#[test]
fn segments_to_groups_are_dropped_at_either_layer() {
    for (destination, hardware) in [
        ("255.255.255.255", BROADCAST),
        ("10.0.2.255", BROADCAST),
        ("10.0.2.0", BROADCAST),
        ("224.0.0.1", ALL_HOSTS),
        ("255.255.255.255", HOST_MAC),
        // RFC 1122, section 3.3.6.
        ("10.0.2.15", BROADCAST),
        ("10.0.2.15", ALL_HOSTS),
    ] {
        let frame =
            syn(|packet| (packet.destination, packet.to) = (address(destination), hardware));
        assert_eq!(
            dropped(&frame),
            Some(Drop::Martian),
            "{destination} {hardware}"
        );
    }
}

#[test]
fn frames_for_other_stations_are_dropped() {
    for hardware in [
        PEER_MAC,
        EthernetAddress([1, 0, 0x5e, 0, 0, 0xfb]),
        EthernetAddress([1, 0x80, 0xc2, 0, 0, 0]),
    ] {
        let frame = Packet::syn().to(hardware).frame();
        assert_eq!(dropped(&frame), Some(Drop::NotOurs), "{hardware}");
    }
    let mut packet = Packet::syn();
    packet.from = BROADCAST;
    assert_eq!(dropped(&packet.frame()), Some(Drop::Martian));
}

#[test]
fn fragments_are_dropped_and_never_answered() {
    for fragment in [0x2000, 0x0001, 0x2001] {
        for mut packet in [Packet::syn(), Packet::udp((5, 9), b"?"), Packet::echo(b"?")] {
            packet.fragment = fragment;
            assert_eq!(dropped(&packet.frame()), Some(Drop::Fragment));
        }
    }
    let mut whole = Packet::syn();
    whole.fragment = 0x4000;
    assert_eq!(dropped(&whole.frame()), None, "DF");
}

#[test]
fn source_routes_are_dropped_and_other_options_tolerated() {
    let loose = vec![131, 7, 4, 10, 0, 2, 2, 0];
    let strict = vec![1, 137, 7, 4, 10, 0, 2, 2];
    let record = vec![7, 7, 4, 0, 0, 0, 0, 0];
    let timestamp = vec![68, 8, 5, 0, 0, 0, 0, 0];
    let alert = vec![148, 4, 0, 0];
    let unknown = vec![222, 3, 9, 0];
    let broken = vec![7, 0, 0, 0];
    let past_the_end = vec![7, 9, 4, 0];
    for (options, expected) in [
        (loose, Some(Drop::SourceRoute)),
        (strict, Some(Drop::SourceRoute)),
        (record, None),
        (timestamp, None),
        (alert, None),
        (unknown, None),
        (broken, Some(Drop::Malformed)),
        (past_the_end, Some(Drop::Malformed)),
    ] {
        let frame = syn(|packet| packet.options = options.clone());
        assert_eq!(dropped(&frame), expected, "{options:?}");
    }
}

/// RFC 1122, section 3.2.1.7.
#[test]
fn the_time_to_live_of_received_packets_does_not_matter() {
    for time_to_live in [0, 1, 255] {
        assert_eq!(
            dropped(&syn(|packet| packet.time_to_live = time_to_live)),
            None
        );
    }
}

#[test]
fn nothing_is_forwarded() {
    let mut lab = Lab::new();
    lab.introduce(ROUTER, ROUTER_MAC);
    let packet = Packet::udp((5, 9), b"?").destination(ROUTER);
    assert_eq!(lab.answer(&packet.frame()), Vec::<Vec<u8>>::new());
}

#[test]
fn segments_are_sent_whole_with_df_and_no_identification() {
    let mut lab = Lab::new();
    lab.introduce(PEER, PEER_MAC);
    for length in [0, 1, 2, 3, 100, 101, 1460] {
        let payload: Vec<u8> = (0..length).map(|it| it as u8).collect();
        assert_eq!(lab.send(PEER, &payload), Sent::Done);
        let sent = lab.sent();
        // The checksums are verified there.
        let (to, repr, _) = ipv4_in(&sent[0]).unwrap();
        assert_eq!((to, repr.hop_limit), (PEER_MAC, 64));
        assert_eq!(segment_in(&sent[0]), Some((PEER_MAC, payload)));
        assert_eq!(sent[0][18..22], [0, 0, 0x40, 0], "identification, DF");
    }
}

#[test]
fn narrow_paths_shorten_packets_and_very_narrow_ones_let_routers_fragment() {
    let mut lab = Lab::new();
    lab.introduce(ROUTER, ROUTER_MAC);
    assert_eq!(lab.host.path_mtu(FAR.into(), lab.now), 1500);
    lab.host.reduce_path_mtu(FAR.into(), 1400, lab.now);
    assert_eq!(lab.host.path_mtu(FAR.into(), lab.now), 1400);
    assert_eq!(lab.host.path_mtu(PEER.into(), lab.now), 1500);
    lab.host.reduce_path_mtu(FAR.into(), 68, lab.now);
    assert_eq!(lab.host.path_mtu(FAR.into(), lab.now), 552);
    let mut identifications = vec![];
    for _ in 0..3 {
        lab.send(FAR, b"hello");
        let sent = lab.sent();
        assert_eq!(sent[0][20] & 0x40, 0, "no DF");
        identifications.push(sent[0][18..20].to_vec());
    }
    identifications.dedup();
    assert_eq!(identifications.len(), 3, "RFC 6864, section 4.3");
}

#[test]
fn addresses_without_a_route_are_unreachable() {
    let mut lab = Lab::with(fixed("10.0.2.15/24", None));
    for destination in [
        FAR,
        HOST,
        address("10.0.2.255"),
        address("224.0.0.1"),
        address("127.0.0.1"),
        address("0.0.0.0"),
    ] {
        assert_eq!(
            lab.send(destination, b"?"),
            Sent::Unreachable,
            "{destination}"
        );
        assert_eq!(lab.host.source_for(destination.into()), None);
    }
    assert_eq!(lab.host.source_for(PEER.into()), Some(HOST.into()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    /// Whatever comes, nothing panics, answers are few, and what is kept is bounded.
    #[test]
    fn no_frame_panics(
        frames in prop::collection::vec((0usize..8, prop::collection::vec((0usize..80, any::<u8>()), 0..6), 0usize..120), 1..40),
        noise in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let seeds = [
            Packet::syn().frame(),
            Packet::udp((5, 9), b"???").frame(),
            Packet::echo(b"0123456789").frame(),
            Packet::new(IpProtocol::from(99), b"?").frame(),
            arp(smoltcp::wire::ArpOperation::Request, (PEER_MAC, PEER), HOST),
            arp(smoltcp::wire::ArpOperation::Reply, (PEER_MAC, PEER), HOST),
            super::icmp::too_big(1400),
            noise,
        ];
        let mut lab = Lab::new();
        for (seed, changes, length) in frames {
            let mut frame = seeds[seed].clone();
            for (position, value) in changes {
                if let Some(byte) = frame.get_mut(position) {
                    *byte = value;
                }
            }
            if length > 60 {
                frame.truncate(length);
            }
            // Half of the damage gets past the header's checksum.
            if frame.len() > 34 && length % 2 == 0 {
                let sum = { frame[24..26].fill(0); !smoltcp::wire::checksum::data(&frame[14..34]) };
                frame[24..26].copy_from_slice(&sum.to_be_bytes());
            }
            prop_assert!(lab.answer(&frame).len() <= 2);
            lab.run(10);
        }
    }
}
