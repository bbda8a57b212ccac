//! Address resolution and reachability of neighbours (RFC 4861, sections 7.2 and 7.3). The table's own tests are beside it.

use super::super::message::NEIGHBOR_SOLICITATION;
use super::*;
use crate::host::{Received, Resolution};

#[test]
fn a_neighbour_is_asked_three_times_and_then_given_up() {
    let mut lab = lab();
    assert_eq!(send(&mut lab, link_local(), PEER), Sent::Resolving);
    let asked = sent_in(&mut lab, 10_000, NEIGHBOR_SOLICITATION);
    assert_eq!(asked.len(), 3, "{asked:?}");
    for (_, question) in &asked {
        assert_eq!(question.destination, solicited_node(PEER));
        assert_eq!(question.source, link_local());
        assert_eq!(question.hop_limit, 255);
    }
    assert_eq!(lab.resolutions(), [Resolution::Failed(PEER.into())]);
}

#[test]
fn an_answer_lets_the_segment_go() {
    let mut lab = lab();
    send(&mut lab, link_local(), PEER);
    lab.receive(&advertises(PEER, PEER_MAC).frame());
    assert_eq!(lab.resolutions(), [Resolution::Found(PEER.into())]);
    lab.sent();
    assert_eq!(send(&mut lab, link_local(), PEER), Sent::Done);
    assert_eq!(segments(&mut lab), [PEER_MAC]);
}

#[test]
fn a_changed_link_layer_address_is_taken_over() {
    let other = EthernetAddress([2, 0, 0, 0, 0, 0x77]);
    let mut lab = lab();
    lab.answer(&asks_for(link_local()).frame());
    send(&mut lab, link_local(), PEER);
    assert_eq!(segments(&mut lab), [PEER_MAC]);
    // Without the override flag it is not (RFC 4861, section 7.2.5).
    let mut keeps = advertises(PEER, other);
    keeps.payload[4] &= !0x60;
    lab.receive(&keeps.frame());
    send(&mut lab, link_local(), PEER);
    assert_eq!(segments(&mut lab), [PEER_MAC]);
    lab.receive(&advertises(PEER, other).frame());
    send(&mut lab, link_local(), PEER);
    assert_eq!(segments(&mut lab), [other]);
}

#[test]
fn a_known_neighbour_is_probed_where_it_was() {
    let mut lab = lab();
    lab.answer(&asks_for(link_local()).frame());
    send(&mut lab, link_local(), PEER);
    lab.sent();
    let probes = sent_in(&mut lab, 5500, NEIGHBOR_SOLICITATION);
    let [(5000, probe)] = &probes[..] else {
        panic!("{probes:?}");
    };
    assert_eq!((probe.to, probe.destination), (PEER_MAC, PEER));
    // TCP's progress spares the probes.
    let mut lab = super::lab();
    lab.answer(&asks_for(link_local()).frame());
    send(&mut lab, link_local(), PEER);
    lab.host.confirm(PEER.into(), lab.now);
    lab.sent();
    assert_eq!(sent_in(&mut lab, 8000, NEIGHBOR_SOLICITATION), []);
}

/// The row of IPv4 for IPv6: forged neighbours do not keep others from being resolved (RFC 6583).
#[test]
fn a_flood_of_forged_neighbours_delays_no_one() {
    let mut lab = lab();
    for number in 0..2000 {
        let forged = Ipv6Address::new(0xfe80, 0, 0, 0, 0, 0, 9, number);
        lab.receive(&Packet::syn().source(forged).frame());
        send(&mut lab, link_local(), forged);
        if number % 100 == 0 {
            lab.sent();
        }
    }
    lab.sent();
    lab.run(1000);
    assert_eq!(send(&mut lab, link_local(), PEER), Sent::Resolving);
    let asked = sent_in(&mut lab, 0, NEIGHBOR_SOLICITATION);
    let asked = asked.iter().any(|(_, it)| it.target() == PEER);
    assert!(asked || !lab.resolutions().is_empty());
    lab.receive(&advertises(PEER, PEER_MAC).frame());
    assert_eq!(send(&mut lab, link_local(), PEER), Sent::Done);
}

#[test]
fn a_segment_reaches_the_stack() {
    let mut lab = lab();
    let frame = Packet::syn().frame();
    let Received::Segment(segment) = lab.receive(&frame) else {
        panic!("no segment");
    };
    assert_eq!(segment.local, IpEndpoint::new(link_local().into(), 80));
    assert_eq!(segment.remote, IpEndpoint::new(PEER.into(), 40000));
}
