//! Duplicate address detection and answers to solicitations (RFC 4861, sections 7.2.3 and 7.2.4; RFC 4862, section 5.4;
//! RFC 4429; RFC 7527).

use super::super::message::{NEIGHBOR_ADVERTISEMENT, NEIGHBOR_SOLICITATION};
use super::*;

fn only(packets: Vec<Seen>) -> Seen {
    let [packet] = &packets[..] else {
        panic!("{packets:?}");
    };
    packet.clone()
}

#[test]
fn a_solicitation_is_answered_with_the_override_flag() {
    let mut lab = lab();
    let answer = only(answers(&mut lab, &asks_for(link_local())));
    assert_eq!(answer.kind(), NEIGHBOR_ADVERTISEMENT);
    assert_eq!((answer.source, answer.destination), (link_local(), PEER));
    assert_eq!((answer.to, answer.hop_limit), (PEER_MAC, 255));
    assert_eq!(answer.target(), link_local());
    assert_eq!(answer.flags(), (false, true, true), "R, S and O");
    assert_eq!(answer.options(), [&[2, 1][..], &HOST_MAC.0].concat());
}

#[test]
fn a_probe_without_a_link_layer_address_is_answered_after_resolution() {
    let mut lab = lab();
    let solicitation = Solicitation {
        target: link_local(),
        hardware: None,
        nonce: None,
    };
    let probe = Packet::discovery(PEER, link_local(), &write_solicitation(&solicitation));
    let question = only(answers(&mut lab, &probe));
    assert_eq!(question.kind(), NEIGHBOR_SOLICITATION);
    assert_eq!(question.target(), PEER);
    let answer = only(answers(&mut lab, &advertises(PEER, PEER_MAC)));
    assert_eq!(
        (answer.kind(), answer.to),
        (NEIGHBOR_ADVERTISEMENT, PEER_MAC)
    );
    assert_eq!(answer.flags(), (false, true, true));
}

#[test]
fn detection_by_others_is_answered_to_all_nodes() {
    let mut lab = lab();
    let answer = only(answers(&mut lab, &detects(link_local(), None)));
    assert_eq!(answer.kind(), NEIGHBOR_ADVERTISEMENT);
    assert_eq!(
        (answer.source, answer.destination),
        (link_local(), ALL_NODES)
    );
    assert_eq!(answer.flags(), (false, false, true));
    assert!(has(&mut lab, link_local()));
}

#[test]
fn only_valid_solicitations_for_own_addresses_are_answered() {
    let mut lab = lab();
    let good = asks_for(link_local());
    for (what, wrong) in [
        (
            "forwarded",
            Packet {
                hop_limit: 254,
                ..good.clone()
            },
        ),
        ("for another address", asks_for(address("fe80::1:2"))),
        ("own source", good.clone().source(link_local())),
        ("from a group", good.clone().source(ALL_NODES)),
        ("code", {
            let mut packet = good.clone();
            packet.payload[1] = 1;
            packet
        }),
        ("option without length", {
            let mut packet = good.clone();
            packet.payload[25] = 0;
            packet
        }),
        (
            "detection that is not sent to the group",
            detects(link_local(), None).to(ALL_NODES),
        ),
    ] {
        assert_eq!(answers(&mut lab, &wrong), [], "{what}");
    }
    let mut checksum = good.frame();
    checksum[60] ^= 1;
    assert!(lab.answer(&checksum).is_empty());
    assert!(has(&mut lab, link_local()));
}

/// RFC 4429: usable at once, without changing what others know.
#[test]
fn an_optimistic_address_is_answered_for_without_override() {
    let mut lab = begun();
    assert_eq!(addresses(&lab).len(), 1, "usable at once");
    let answer = only(answers(&mut lab, &asks_for(link_local())));
    assert_eq!(answer.flags(), (false, true, false));
    // The neighbour's own solicitation contained its link-layer address, so no request is sent.
    assert_eq!(send(&mut lab, link_local(), PEER), Sent::Done);
    assert_eq!(segments(&mut lab), [PEER_MAC]);
}

/// RFC 4429, section 3.3: no solicitation from an optimistic address; what waits goes when detection is over.
#[test]
fn resolution_waits_for_the_end_of_detection() {
    let mut lab = begun();
    assert_eq!(send(&mut lab, link_local(), PEER), Sent::Resolving);
    let asked: Vec<_> = sent_in(&mut lab, 3000, NEIGHBOR_SOLICITATION)
        .into_iter()
        .filter(|(_, it)| it.target() == PEER)
        .collect();
    let (at, question) = &asked[0];
    assert!((1000..2000).contains(at), "{asked:?}");
    assert_eq!(question.source, link_local());
    assert_eq!(question.options(), [&[1, 1][..], &HOST_MAC.0].concat());
}

#[test]
fn an_address_of_another_host_is_given_up_and_logged() {
    let mut lab = lab();
    advertise(&mut lab, &router(&[prefix("2001:db8:1::", 64)]));
    let target = own("2001:db8:1::");
    for claim in [
        detects(target, Some([1; 6])),
        detects(target, None),
        claims(target),
    ] {
        let mut lab = super::lab();
        advertise(&mut lab, &router(&[prefix("2001:db8:1::", 64)]));
        lab.run(100);
        assert_eq!(addresses(&lab).len(), 2);
        assert_eq!(answers(&mut lab, &claim), []);
        assert_eq!(addresses(&lab).len(), 1);
        let expected = Ipv6Notice::Duplicate {
            address: target,
            hardware: PEER_MAC,
        };
        assert_eq!(notices(&mut lab), [expected]);
        assert!(!has(&mut lab, target));
        assert!(lab.host.maintain(&mut lab.wire, lab.now), "changed");
        // Advertisements do not bring it back.
        advertise(&mut lab, &router(&[prefix("2001:db8:1::", 64)]));
        lab.run(10_000);
        assert!(!has(&mut lab, target));
    }
    lab.run(10_000);
    assert!(has(&mut lab, target), "without a claim it stays");
}

/// An advertisement of another host for one of this host's addresses, to all nodes.
fn claims(target: Ipv6Address) -> Packet {
    let advertisement = Advertisement {
        target,
        hardware: Some(PEER_MAC),
        router: false,
        solicited: false,
        overrides: true,
    };
    Packet::discovery(target, ALL_NODES, &write_advertisement(&advertisement))
}

/// RFC 4862, section 5.4.5: the identifier is made from the hardware address, so all addresses are in doubt.
#[test]
fn a_duplicate_link_local_address_ends_ipv6() {
    let mut lab = begun();
    lab.receive(&detects(link_local(), None).frame());
    let expected = Ipv6Notice::Disabled {
        address: link_local(),
        hardware: PEER_MAC,
    };
    assert_eq!(notices(&mut lab), [expected]);
    lab.sent();
    assert!(lab.run(59_000).is_empty(), "nothing is sent");
    advertise(&mut lab, &router(&[prefix("2001:db8:1::", 64)]));
    assert!(!has(&mut lab, link_local()) && !has(&mut lab, own("2001:db8:1::")));
    assert_eq!(addresses(&lab), [""; 0]);
    lab.host.link(false, 1500, lab.now);
    lab.host.link(true, 1500, lab.now);
    lab.run(10_000);
    assert!(has(&mut lab, link_local()), "perhaps another link");
}

/// A forged packet during detection removes the addresses for a minute, not permanently.
#[test]
fn detection_is_repeated_each_minute_until_the_other_host_is_gone() {
    let mut lab = begun();
    lab.receive(&claims(link_local()).frame());
    notices(&mut lab);
    for attempt in 0..3 {
        let asked = sent_in(&mut lab, 60_500, NEIGHBOR_SOLICITATION);
        assert_eq!(asked.len(), 1, "{attempt}: {asked:?}");
        assert!(asked[0].1.source.is_unspecified());
        assert_eq!(answers(&mut lab, &claims(link_local())), []);
        let request = Packet::icmp(message::ECHO_REQUEST, 0, &[0; 8]).to(ALL_NODES);
        assert_eq!(answers(&mut lab, &request), [], "still off");
    }
    assert_eq!(notices(&mut lab), [], "reported once");
    lab.run(70_000);
    let address = link_local();
    assert_eq!(notices(&mut lab), [Ipv6Notice::Regained { address }]);
    assert!(has(&mut lab, link_local()));
}

#[test]
fn a_claim_of_an_established_address_is_logged_and_changes_nothing() {
    let mut lab = lab();
    let claim = claims(link_local());
    assert_eq!(answers(&mut lab, &claim), []);
    let expected = Ipv6Notice::Conflict {
        address: link_local(),
        hardware: PEER_MAC,
    };
    assert_eq!(notices(&mut lab), [expected]);
    assert!(has(&mut lab, link_local()));
    // The host's own announcement, given back by the link, is no claim.
    let own = Packet {
        from: HOST_MAC,
        ..claim
    };
    answers(&mut lab, &own);
    assert_eq!(notices(&mut lab), []);
}

/// RFC 7527: a link that gives back what is sent does not end IPv6.
#[test]
fn the_hosts_own_solicitation_is_no_claim() {
    let mut lab = begun();
    let frames: Vec<_> = lab.run(1000).into_iter().map(|(_, frame)| frame).collect();
    assert!(
        frames
            .iter()
            .any(|it| seen(it).kind() == NEIGHBOR_SOLICITATION)
    );
    for frame in frames {
        lab.receive(&frame);
    }
    lab.run(10_000);
    assert!(has(&mut lab, link_local()));
    assert_eq!(notices(&mut lab), []);
}
