//! ARP: RFC 826, RFC 1122, section 2.3.2, and RFC 5227.

use smoltcp::wire::{ArpOperation, EthernetAddress, IpAddress, Ipv4Address};

use crate::host::testing::*;
use crate::host::{HostNotice, Resolution};
use crate::segment::Sent;
use crate::settings::{ConflictDetection, Settings};

const REQUEST: ArpOperation = ArpOperation::Request;
const REPLY: ArpOperation = ArpOperation::Reply;
const NOBODY: Ipv4Address = Ipv4Address::UNSPECIFIED;
const ZERO: EthernetAddress = EthernetAddress([0; 6]);

fn neighbour(number: u16) -> (EthernetAddress, Ipv4Address) {
    let [high, low] = number.to_be_bytes();
    (
        EthernetAddress([2, 9, 0, 0, high, low]),
        Ipv4Address::new(10, 0, high, low),
    )
}

#[test]
fn requests_of_every_sender_are_answered() {
    // In the subnet; a probe without an address (RFC 5227); of another network.
    for sender in [PEER, NOBODY, Ipv4Address::new(192, 0, 2, 9)] {
        let mut lab = Lab::new();
        let answers = lab.answer(&arp(REQUEST, (PEER_MAC, sender), HOST));
        assert_eq!(answers.len(), 1, "{sender}");
        assert_eq!(
            arp_in(&answers[0]),
            Some((PEER_MAC, (REPLY, HOST, PEER_MAC, sender)))
        );
    }
}

#[test]
fn requests_for_others_are_not_answered() {
    let mut lab = Lab::new();
    for target in [PEER, ROUTER, NOBODY, Ipv4Address::BROADCAST] {
        assert_eq!(
            lab.answer(&arp(REQUEST, (PEER_MAC, PEER), target)),
            Vec::<Vec<u8>>::new()
        );
    }
}

#[test]
fn what_a_request_tells_is_learnt() {
    let mut lab = Lab::new();
    lab.receive(&arp(REQUEST, (PEER_MAC, PEER), HOST));
    lab.sent();
    assert_eq!(lab.send(PEER, b"hello"), Sent::Done);
    assert_eq!(
        segment_in(&lab.sent()[0]),
        Some((PEER_MAC, b"hello".to_vec()))
    );
}

#[test]
fn a_segment_that_resolves_is_tried_again_when_the_neighbour_answers() {
    let mut lab = Lab::new();
    assert_eq!(lab.send(PEER, b"hello"), Sent::Resolving);
    let frames = lab.sent();
    assert_eq!(frames.len(), 1);
    let request = (REQUEST, HOST, ZERO, PEER);
    assert_eq!(
        arp_in(&frames[0]),
        Some((EthernetAddress::BROADCAST, request))
    );
    assert_eq!(lab.resolutions(), []);
    assert_eq!(
        lab.answer(&arp(REPLY, (PEER_MAC, PEER), HOST)),
        Vec::<Vec<u8>>::new()
    );
    assert_eq!(lab.resolutions(), [Resolution::Found(PEER.into())]);
    assert_eq!(lab.send(PEER, b"hello"), Sent::Done);
}

#[test]
fn a_segment_of_no_connection_waits_in_the_host() {
    let mut lab = Lab::new();
    assert_eq!(lab.send_keeping(PEER, b"first"), Sent::Resolving);
    assert_eq!(lab.send_keeping(PEER, b"the last one"), Sent::Resolving);
    let sent = lab.answer(&arp(REPLY, (PEER_MAC, PEER), HOST));
    assert_eq!(sent.len(), 1);
    assert_eq!(
        segment_in(&sent[0]),
        Some((PEER_MAC, b"the last one".to_vec()))
    );
    assert_eq!(lab.resolutions(), [], "no connection waits");
}

/// A neighbour that asks for this host while this host asks for it: its request is as good as a reply.
#[test]
fn the_neighbours_own_request_ends_a_resolution() {
    let mut lab = Lab::new();
    lab.send_keeping(PEER, b"hello");
    let sent = lab.answer(&arp(REQUEST, (PEER_MAC, PEER), HOST));
    assert!(
        sent.iter()
            .any(|frame| segment_in(frame) == Some((PEER_MAC, b"hello".to_vec())))
    );
}

#[test]
fn three_hundred_neighbours_at_once_are_all_answered_at_once() {
    let mut lab = Lab::with(fixed("10.0.2.15/16", None));
    lab.run(5000);
    let clients: Vec<_> = (600..900).map(neighbour).collect();
    for group in clients.chunks(150) {
        for (_, address) in group {
            assert_eq!(lab.send_keeping(*address, b"SYN-ACK"), Sent::Resolving);
        }
        assert_eq!(
            asked(&lab.sent()).len(),
            150,
            "no limit in all that they reach"
        );
        for (hardware, address) in group {
            let sent = lab.answer(&arp(REPLY, (*hardware, *address), HOST));
            assert_eq!(segment_in(&sent[0]), Some((*hardware, b"SYN-ACK".to_vec())));
        }
    }
    for (_, address) in clients {
        assert_eq!(lab.send(address, b"data"), Sent::Done, "none was forgotten");
        lab.sent();
    }
}

#[test]
fn forged_neighbours_do_not_keep_real_ones_out() {
    let mut lab = Lab::with(fixed("10.0.2.15/16", None));
    lab.introduce(ROUTER, ROUTER_MAC);
    // Five thousand a second for ten seconds, and one real client in each.
    for number in 0..50_000 {
        lab.now += smoltcp::time::Duration::from_micros(200);
        lab.send_keeping(neighbour(1000 + number % 20_000).1, b"SYN-ACK");
        lab.host.maintain(&mut lab.wire, lab.now);
        if number % 5000 == 2500 {
            let (hardware, address) = neighbour(40_000 + number / 5000);
            lab.sent();
            lab.send_keeping(address, b"real");
            lab.host.maintain(&mut lab.wire, lab.now);
            let mut sent = lab.sent();
            while !asked(&sent).contains(&address) {
                lab.now += smoltcp::time::Duration::from_millis(1);
                lab.host.maintain(&mut lab.wire, lab.now);
                sent = lab.sent();
            }
            let sent = lab.answer(&arp(REPLY, (hardware, address), HOST));
            assert_eq!(segment_in(&sent[0]), Some((hardware, b"real".to_vec())));
        }
        lab.sent();
    }
    assert_eq!(lab.send(ROUTER, b"still known"), Sent::Done);
}

#[test]
fn a_neighbour_that_does_not_answer_is_reported() {
    let mut lab = Lab::new();
    lab.send(PEER, b"hello");
    lab.sent();
    let requests = lab.run(10_000);
    let times: Vec<_> = requests.iter().map(|(at, _)| *at).collect();
    assert_eq!(times, [1000, 2000], "after the first one");
    assert_eq!(lab.resolutions(), [Resolution::Failed(PEER.into())]);
}

#[test]
fn beyond_the_subnet_the_router_is_asked_for() {
    let mut lab = Lab::new();
    lab.send(FAR, b"hello");
    assert_eq!(asked(&lab.sent()), [ROUTER]);
    lab.answer(&arp(REPLY, (ROUTER_MAC, ROUTER), HOST));
    assert_eq!(lab.resolutions(), [Resolution::Found(ROUTER.into())]);
    assert_eq!(lab.host.next_hop(FAR.into()), Some(IpAddress::from(ROUTER)));
    lab.send(FAR, b"hello");
    assert_eq!(
        segment_in(&lab.sent()[0]),
        Some((ROUTER_MAC, b"hello".to_vec()))
    );
}

#[test]
fn a_router_outside_the_subnet_works() {
    let gateway = Ipv4Address::new(172, 31, 1, 1);
    let mut lab = Lab::with(fixed("10.0.2.15/32", Some(gateway)));
    lab.run(5000);
    for destination in [FAR, PEER, gateway] {
        lab.send_keeping(destination, b"hello");
        lab.sent();
    }
    lab.answer(&arp(REPLY, (ROUTER_MAC, gateway), HOST));
    for destination in [FAR, PEER, gateway] {
        assert_eq!(lab.send(destination, b"hello"), Sent::Done, "{destination}");
        assert_eq!(
            segment_in(&lab.sent()[0]),
            Some((ROUTER_MAC, b"hello".to_vec()))
        );
    }
}

#[test]
fn unsolicited_replies_create_nothing() {
    let mut lab = Lab::new();
    lab.receive(&arp(REPLY, (PEER_MAC, PEER), HOST));
    lab.receive(&arp(REQUEST, (PEER_MAC, PEER), PEER));
    assert_eq!(lab.send(PEER, b"hello"), Sent::Resolving);
}

#[test]
fn an_announcement_changes_what_is_known() {
    let mut lab = Lab::new();
    lab.introduce(PEER, PEER_MAC);
    let moved = EthernetAddress([2, 0, 0, 0, 0, 0x77]);
    lab.receive(&arp(REQUEST, (moved, PEER), PEER));
    lab.send(PEER, b"hello");
    assert_eq!(segment_in(&lab.sent()[0]), Some((moved, b"hello".to_vec())));
}

#[test]
fn a_silent_neighbour_is_asked_by_itself_first() {
    let mut lab = Lab::new();
    lab.introduce(PEER, PEER_MAC);
    lab.send(PEER, b"hello");
    lab.sent();
    let frames = lab.run(5000);
    let request = (REQUEST, HOST, ZERO, PEER);
    assert_eq!(
        arp_in(&frames[0].1),
        Some((PEER_MAC, request)),
        "unicast poll"
    );
    lab.receive(&arp(REPLY, (PEER_MAC, PEER), HOST));
    assert_eq!(lab.run(10_000), []);
}

#[test]
fn progress_of_tcp_saves_the_poll() {
    let mut lab = Lab::new();
    lab.introduce(ROUTER, ROUTER_MAC);
    lab.send(FAR, b"hello");
    lab.sent();
    lab.host.confirm(FAR.into(), lab.now);
    assert_eq!(lab.run(10_000), []);
}

#[test]
fn senders_without_a_usable_hardware_address_are_ignored() {
    let mut lab = Lab::new();
    for hardware in [
        EthernetAddress::BROADCAST,
        EthernetAddress([1, 0, 0x5e, 0, 0, 1]),
        HOST_MAC,
    ] {
        let mut frame = arp(REQUEST, (hardware, PEER), HOST);
        frame[6..12].copy_from_slice(&PEER_MAC.0);
        assert_eq!(lab.answer(&frame), Vec::<Vec<u8>>::new());
        assert_eq!(lab.send(PEER, b"hello"), Sent::Resolving);
    }
}

#[test]
fn replies_to_a_flood_of_requests_are_limited() {
    let mut lab = Lab::new();
    let mut answers = 0;
    for _ in 0..5000 {
        answers += lab.answer(&arp(REQUEST, (PEER_MAC, PEER), HOST)).len();
    }
    assert!((500..1500).contains(&answers), "{answers}");
}

fn probing() -> Settings {
    Settings {
        conflict_detection: ConflictDetection::Probe,
        ..fixed("10.0.2.15/24", Some(ROUTER))
    }
}

#[test]
fn the_address_is_announced() {
    let mut lab = Lab::with(fixed("10.0.2.15/24", None));
    let frames = lab.run(60_000);
    let announcement = (REQUEST, HOST, ZERO, HOST);
    let times: Vec<_> = frames.iter().map(|(at, _)| *at).collect();
    assert_eq!(times, [0, 2000]);
    for (_, frame) in frames {
        assert_eq!(
            arp_in(&frame),
            Some((EthernetAddress::BROADCAST, announcement))
        );
    }
    assert_eq!(lab.host.deadline(lab.now), None);
}

#[test]
fn a_probed_address_is_used_without_an_objection() {
    let mut lab = Lab::with(probing());
    assert!(!lab.host.is_own(HOST.into()));
    assert_eq!(
        lab.answer(&arp(REQUEST, (PEER_MAC, PEER), HOST)),
        Vec::<Vec<u8>>::new()
    );
    let frames = lab.run(10_000);
    let packets: Vec<_> = frames
        .iter()
        .map(|(_, frame)| arp_in(frame).unwrap().1)
        .collect();
    let probe = (REQUEST, NOBODY, ZERO, HOST);
    let announcement = (REQUEST, HOST, ZERO, HOST);
    assert_eq!(packets, [probe, probe, probe, announcement, announcement]);
    assert!(lab.host.is_own(HOST.into()));
    assert_eq!(lab.answer(&arp(REQUEST, (PEER_MAC, PEER), HOST)).len(), 1);
}

#[test]
fn a_probed_address_that_another_host_has_is_not_used_and_tried_again() {
    for conflict in [
        arp(REPLY, (PEER_MAC, HOST), HOST),
        arp(REQUEST, (PEER_MAC, NOBODY), HOST),
        arp(REQUEST, (PEER_MAC, HOST), ROUTER),
    ] {
        let mut lab = Lab::with(probing());
        lab.run(1500);
        lab.receive(&conflict);
        let taken = HostNotice::Taken {
            address: HOST,
            hardware: PEER_MAC,
        };
        assert_eq!(lab.notices(), [taken]);
        assert_eq!(lab.run(59_000), []);
        assert!(!lab.host.is_own(HOST.into()));
        lab.run(10_000);
        assert!(lab.host.is_own(HOST.into()));
    }
}

#[test]
fn an_address_in_use_is_defended_once_in_ten_seconds() {
    let mut lab = Lab::new();
    let conflict = arp(REQUEST, (PEER_MAC, HOST), HOST);
    let announcement = (REQUEST, HOST, ZERO, HOST);
    let sent = lab.answer(&conflict);
    assert_eq!(sent.len(), 1);
    assert_eq!(
        arp_in(&sent[0]),
        Some((EthernetAddress::BROADCAST, announcement))
    );
    for _ in 0..9 {
        lab.run(1000);
        assert_eq!(lab.answer(&conflict), Vec::<Vec<u8>>::new());
    }
    lab.run(1000);
    assert_eq!(lab.answer(&conflict).len(), 1);
    let notices = lab.notices();
    let expected = HostNotice::Conflict {
        address: HOST,
        hardware: PEER_MAC,
    };
    assert!(
        notices.contains(&expected) && notices.len() <= 5,
        "{notices:?}"
    );
    assert!(lab.host.is_own(HOST.into()));
}

#[test]
fn after_the_link_was_down_the_address_is_announced_again() {
    let mut lab = Lab::new();
    lab.host.link(false, 1500, lab.now);
    assert_eq!(lab.run(8000), []);
    lab.host.link(true, 1500, lab.now);
    let frames = lab.run(0);
    assert_eq!(arp_in(&frames[0].1).unwrap().1, (REQUEST, HOST, ZERO, HOST));
    assert!(lab.host.is_own(HOST.into()));
}
