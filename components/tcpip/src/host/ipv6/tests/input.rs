//! Received packets: extension headers (RFC 8200, section 4), martians, and frames out of nowhere.

use proptest::prelude::*;

use super::super::message::PARAMETER_PROBLEM;
use super::*;
use crate::host::{Drop, Received};

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const OPTIONS: u8 = 60;
const PADDING: [u8; 8] = [0, 0, 1, 4, 0, 0, 0, 0];

fn is_segment(lab: &mut Lab, packet: &Packet) -> bool {
    matches!(lab.receive(&packet.frame()), Received::Segment(_))
}

fn dropped(packet: &Packet) -> Option<Drop> {
    match lab().receive(&packet.frame()) {
        Received::Dropped(reason) => Some(reason),
        _ => None,
    }
}

#[test]
fn a_syn_behind_extension_headers_is_a_syn() {
    let mut lab = lab();
    let atomic = [0, 0, 0, 0, 0, 0, 0, 7];
    for packet in [
        Packet::syn(),
        Packet::syn().behind(OPTIONS, &PADDING),
        Packet::syn().behind(FRAGMENT, &atomic),
        Packet::syn().behind(HOP_BY_HOP, &PADDING),
        Packet::syn().behind(ROUTING, &[0, 0, 0, 0, 0, 0, 0, 0]),
        Packet::syn()
            .behind(HOP_BY_HOP, &PADDING)
            .behind(OPTIONS, &PADDING)
            .behind(FRAGMENT, &atomic)
            .behind(OPTIONS, &PADDING),
    ] {
        assert!(is_segment(&mut lab, &packet), "{:?}", packet.headers);
    }
}

#[test]
fn real_fragments_are_dropped_and_counted_as_such() {
    let more = Packet::syn().behind(FRAGMENT, &[0, 0, 0, 1, 0, 0, 0, 7]);
    assert_eq!(dropped(&more), Some(Drop::Fragment));
    let later = Packet::syn().behind(FRAGMENT, &[0, 0, 0, 8, 0, 0, 0, 7]);
    assert_eq!(dropped(&later), Some(Drop::Fragment));
}

/// A Parameter Problem with this code and pointer, that quotes the packet.
fn is_problem(answers: &[Seen], code: u8, pointer: u32, packet: &Packet) -> bool {
    let [answer] = answers else {
        return false;
    };
    let bytes = packet.bytes();
    answer.kind() == PARAMETER_PROBLEM
        && answer.payload[1] == code
        && answer.payload[4..8] == pointer.to_be_bytes()
        && answer.payload[8..] == bytes
        && (answer.source, answer.destination) == (link_local(), PEER)
}

#[test]
fn what_is_unknown_is_reported_with_its_place() {
    let mut lab = lab();
    lab.answer(&asks_for(link_local()).frame());
    let routing = [
        0, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    for (packet, code, pointer) in [
        (Packet::new(IpProtocol::from(253), &[1; 9]), 1, 6),
        (
            Packet::syn()
                .behind(OPTIONS, &PADDING)
                .behind(HOP_BY_HOP, &PADDING),
            1,
            40,
        ),
        (Packet::syn().behind(ROUTING, &routing), 0, 42),
        (
            Packet::syn().behind(OPTIONS, &[0, 0, 0x9e, 4, 0, 0, 0, 0]),
            2,
            42,
        ),
        (
            Packet::syn().behind(OPTIONS, &[0, 0, 0xde, 4, 0, 0, 0, 0]),
            2,
            42,
        ),
    ] {
        let answers = answers(&mut lab, &packet);
        assert!(is_problem(&answers, code, pointer, &packet), "{answers:?}");
    }
    for silent in [
        Packet::new(IpProtocol::Ipv6NoNxt, &[1; 9]),
        Packet::syn().behind(OPTIONS, &[0, 0, 0x5e, 4, 0, 0, 0, 0]),
        Packet::syn().behind(OPTIONS, &[0, 7, 1, 4, 0, 0, 0, 0]),
    ] {
        assert_eq!(answers(&mut lab, &silent), []);
    }
}

#[test]
fn groups_get_errors_only_about_options_that_want_it() {
    let mut lab = lab();
    lab.answer(&asks_for(link_local()).frame());
    let option = |kind| {
        Packet::udp()
            .to(ALL_NODES)
            .behind(OPTIONS, &[0, 0, kind, 4, 0, 0, 0, 0])
    };
    assert_eq!(answers(&mut lab, &option(0xde)), []);
    let wanted = answers(&mut lab, &option(0x9e));
    assert!(is_problem(&wanted, 2, 42, &option(0x9e)), "{wanted:?}");
    assert_eq!(answers(&mut lab, &Packet::udp().to(ALL_NODES)), []);
    assert_eq!(
        answers(
            &mut lab,
            &Packet::new(IpProtocol::from(253), &[1; 9]).to(ALL_NODES)
        ),
        []
    );
    // A frame to a group with a packet for this host alone.
    let disguised = Packet {
        to: multicast_hardware(ALL_NODES),
        ..Packet::new(IpProtocol::from(253), &[1; 9])
    };
    assert_eq!(answers(&mut lab, &disguised), []);
}

#[test]
fn martians_are_dropped() {
    for source in ["ff02::1", "::1", "::ffff:10.0.2.99", "::10.0.2.99", "::"] {
        let packet = Packet::syn().source(address(source));
        assert_eq!(dropped(&packet), Some(Drop::Martian), "{source}");
    }
    let own = Packet::syn().source(link_local());
    assert_eq!(dropped(&own), Some(Drop::Martian));
    for destination in ["::", "::1", "::ffff:10.0.2.15", "ff01::1"] {
        let packet = Packet {
            to: HOST_MAC,
            ..Packet::syn().to(address(destination))
        };
        assert_eq!(dropped(&packet), Some(Drop::Martian), "{destination}");
    }
    let group = Packet::syn().to(ALL_NODES);
    assert_eq!(dropped(&group), Some(Drop::Martian), "a SYN to all nodes");
    let disguised = Packet {
        to: multicast_hardware(ALL_NODES),
        ..Packet::syn()
    };
    assert_eq!(dropped(&disguised), Some(Drop::Martian));
}

#[test]
fn packets_for_others_are_not_taken() {
    for packet in [
        Packet::syn().to(address("2001:db8::1")),
        Packet::syn().to(address("ff02::5")),
        Packet {
            to: PEER_MAC,
            ..Packet::syn()
        },
    ] {
        assert_eq!(
            dropped(&packet),
            Some(Drop::NotOurs),
            "{}",
            packet.destination
        );
    }
}

#[test]
fn wrong_lengths_and_checksums_are_malformed() {
    let mut lab = lab();
    let frame = Packet::syn().frame();
    for (at, value) in [(14, 0x45), (18, 1), (57, 1), (70, 9)] {
        let mut wrong = frame.clone();
        wrong[at] ^= value;
        let received = lab.receive(&wrong);
        assert_eq!(received, Received::Dropped(Drop::Malformed), "{at}");
    }
    assert_eq!(
        lab.receive(&frame[..60]),
        Received::Dropped(Drop::Malformed)
    );
    let mut unchecked = Packet::udp().frame();
    unchecked[60..62].copy_from_slice(&[0, 0]);
    assert_eq!(
        lab.receive(&unchecked),
        Received::Dropped(Drop::Malformed),
        "RFC 8200, section 8.1"
    );
    // The padding of short frames is no part of the packet.
    let padded = [&frame[..], &[0xee; 9]].concat();
    assert!(matches!(lab.receive(&padded), Received::Segment(_)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    /// Whatever comes, nothing panics, and what is kept and sent is bounded.
    #[test]
    fn no_frame_panics(
        frames in prop::collection::vec((0usize..12, prop::collection::vec((14usize..140, any::<u8>()), 0..4), 0usize..160, 0u64..5000), 1..60),
        noise in prop::collection::vec(any::<u8>(), 0..200),
        fresh in any::<bool>(),
    ) {
        let mut query = Packet::discovery(ROUTER, ALL_NODES, &[&[130][..], &[0; 27]].concat())
            .behind(HOP_BY_HOP, &[0, 0, 5, 2, 0, 0, 1, 0]);
        query.hop_limit = 1;
        let prefixes: Vec<_> = (0..30).map(|number| prefix(&format!("2001:db8:{number:x}::"), 64)).collect();
        let advertisement = write_router_advertisement(&router(&prefixes));
        let seeds = [
            Packet::syn(),
            Packet::udp(),
            Packet::icmp(128, 0, &[1; 20]),
            Packet::icmp(1, 4, &[&[0; 4][..], &Packet::syn().bytes()].concat()),
            asks_for(link_local()),
            detects(link_local(), Some([3; 6])),
            advertises(PEER, PEER_MAC),
            Packet::discovery(ROUTER, ALL_NODES, &advertisement),
            query,
            Packet::syn().behind(OPTIONS, &PADDING).behind(FRAGMENT, &[0; 8]),
            Packet::new(IpProtocol::from(253), &[0; 30]),
            Packet::new(IpProtocol::Icmpv6, &noise),
        ];
        let mut lab = if fresh { begun() } else { lab() };
        for (seed, changes, length, pause) in frames {
            let mut packet = seeds[seed].clone();
            // Changes of the payload keep its checksum correct, so that they are looked at.
            for (position, value) in &changes {
                if let Some(byte) = packet.payload.get_mut(position - 14) {
                    *byte = *value;
                }
            }
            let mut frame = packet.frame();
            if length > 120 {
                frame.truncate(length);
                for (position, value) in changes {
                    if let Some(byte) = frame.get_mut(position) {
                        *byte = value;
                    }
                }
            }
            let answered = lab.answer(&frame).len();
            prop_assert!(answered <= 4, "{answered} answers");
            lab.run(pause);
            prop_assert!(lab.host.addresses().len() <= 1 + super::super::addresses::FORMED);
            lab.resolutions();
            lab.notices();
        }
        lab.run(100_000);
    }
}
