//! Router advertisements (RFC 4861, section 6.3.4; RFC 4862, section 5.5.3; RFC 5942; RFC 4191; RFC 8028).

use super::super::addresses::FORMED;
use super::super::message::{NEIGHBOR_SOLICITATION, ROUTER_SOLICITATION};
use super::super::routers::ROUTERS;
use super::*;
use crate::host::Resolution;

const ROUTER_2: Ipv6Address = Ipv6Address::new(0xfe80, 0, 0, 0, 0, 0, 0, 3);
const ROUTER_2_MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 0xfd]);

fn second(prefixes: &[PrefixInformation]) -> RouterAdvertisement {
    RouterAdvertisement {
        hardware: Some(ROUTER_2_MAC),
        ..router(prefixes)
    }
}

#[test]
fn each_prefix_of_an_advertisement_gives_an_address() {
    let mut lab = lab();
    let prefixes = [prefix("2001:db8:1::", 64), prefix("fd00:1::", 64)];
    advertise(&mut lab, &router(&prefixes));
    assert!(has(&mut lab, own("2001:db8:1::")) && has(&mut lab, own("fd00:1::")));
    assert_eq!(addresses(&lab).len(), 3);
    assert!(lab.host.is_own(own("fd00:1::").into()));
}

#[test]
fn only_the_unusable_prefix_is_left_out() {
    let mut lab = lab();
    let wide = PrefixInformation {
        autonomous: false,
        ..prefix("fd00:a::", 48)
    };
    advertise(&mut lab, &router(&[wide, prefix("2001:db8:2::", 64)]));
    assert!(has(&mut lab, own("2001:db8:2::")));
    assert_eq!(addresses(&lab).len(), 2);
    // It is on the link all the same.
    let neighbour = address("fd00:a:0:77::9");
    assert_eq!(lab.host.next_hop(neighbour.into()), Some(neighbour.into()));
}

#[test]
fn prefixes_beyond_the_limit_are_counted_and_logged() {
    let mut lab = lab();
    let prefixes: Vec<_> = (0..FORMED + 5)
        .map(|number| prefix(&format!("2001:db8:{number:x}::"), 64))
        .collect();
    advertise(&mut lab, &router(&prefixes));
    assert_eq!(addresses(&lab).len(), 1 + FORMED);
    let expected = Ipv6Notice::TooManyPrefixes {
        router: ROUTER,
        ignored: 5,
    };
    assert_eq!(notices(&mut lab), [expected]);
}

#[test]
fn a_forged_lifetime_of_zero_takes_no_address_away() {
    let mut lab = lab();
    advertise(&mut lab, &router(&[prefix("2001:db8:1::", 64)]));
    let ended = PrefixInformation {
        valid: 0,
        preferred: 0,
        ..prefix("2001:db8:1::", 64)
    };
    advertise(&mut lab, &router(&[ended]));
    lab.run(60_000);
    assert!(has(&mut lab, own("2001:db8:1::")));
    // It is deprecated, and gone when its lifetime ends.
    lab.run(3_600_000);
    assert!(!has(&mut lab, own("2001:db8:1::")));
}

#[test]
fn an_address_ends_in_time_on_a_silent_link() {
    let mut lab = lab();
    let short = PrefixInformation {
        valid: 12,
        preferred: 6,
        ..prefix("2001:db8:6::", 64)
    };
    advertise(&mut lab, &router(&[short]));
    assert!(has(&mut lab, own("2001:db8:6::")));
    lab.run(11_900);
    assert_eq!(addresses(&lab).len(), 2);
    let deadline = lab.host.deadline(lab.now).unwrap();
    assert!(
        deadline - lab.now <= Duration::from_millis(100),
        "a timer of its own"
    );
    lab.now = deadline;
    assert!(
        lab.host.maintain(&mut lab.wire, lab.now),
        "the addresses changed"
    );
    assert_eq!(addresses(&lab).len(), 1);
    assert!(!has(&mut lab, own("2001:db8:6::")));
    let expired = Ipv6Notice::Expired {
        address: own("2001:db8:6::"),
    };
    assert_eq!(notices(&mut lab), [expired]);
}

#[test]
fn deprecated_addresses_begin_no_connections() {
    let mut lab = lab();
    let first = PrefixInformation {
        preferred: 20,
        ..prefix("2600:0:0:1::", 64)
    };
    advertise(&mut lab, &router(&[first, prefix("2001:db8:2::", 64)]));
    lab.run(10_000);
    let source = |lab: &Lab| lab.host.source_for(address("2600:0:0:2::7").into());
    assert_eq!(
        source(&lab),
        Some(own("2600:0:0:1::").into()),
        "longest prefix"
    );
    lab.run(15_000);
    assert_eq!(source(&lab), Some(own("2001:db8:2::").into()));
    assert!(has(&mut lab, own("2600:0:0:1::")), "still answered");
}

/// RFC 5942, section 4: without L=1 a destination is not on the link, even if the host has an address with its prefix.
#[test]
fn a_prefix_that_is_not_on_link_goes_through_the_router() {
    let mut lab = lab();
    let silent = PrefixInformation {
        on_link: false,
        ..prefix("2001:db8:5::", 64)
    };
    advertise(&mut lab, &router(&[silent]));
    let neighbour = address("2001:db8:5::99");
    assert_eq!(lab.host.next_hop(neighbour.into()), Some(ROUTER.into()));
    lab.run(5000);
    // The advertisement contained the router's link-layer address, so no request is sent.
    assert_eq!(send(&mut lab, own("2001:db8:5::"), neighbour), Sent::Done);
    assert_eq!(segments(&mut lab), [ROUTER_MAC]);
    assert_eq!(sent_in(&mut lab, 4000, NEIGHBOR_SOLICITATION), []);
}

/// RFC 5942, section 4, again: without a router the destination is unreachable.
#[test]
fn without_a_router_only_the_link_is_reached() {
    let mut lab = lab();
    assert_eq!(lab.host.next_hop(FAR.into()), None);
    assert_eq!(lab.host.source_for(FAR.into()), None);
    assert_eq!(send(&mut lab, link_local(), FAR), Sent::Unreachable);
    assert_eq!(lab.host.next_hop(PEER.into()), Some(PEER.into()));
    for nowhere in ["::", "::1", "ff02::1", "::ffff:10.0.0.1"] {
        assert_eq!(
            lab.host.next_hop(address(nowhere).into()),
            None,
            "{nowhere}"
        );
    }
    assert_eq!(lab.host.next_hop(link_local().into()), None, "itself");
}

#[test]
fn the_mtu_of_a_router_bounds_packets() {
    let mut lab = lab();
    let mtu = |lab: &Lab| lab.host.path_mtu(FAR.into(), lab.now);
    let advertise_mtu = |lab: &mut Lab, mtu| {
        let mut advertisement = router(&[prefix("2001:db8:1::", 64)]);
        advertisement.mtu = Some(mtu);
        advertise(lab, &advertisement);
    };
    assert_eq!(mtu(&lab), 1500);
    advertise_mtu(&mut lab, 1280);
    assert_eq!(mtu(&lab), 1280);
    for impossible in [0, 1279, 1501, 9000, 65536 + 1400] {
        advertise_mtu(&mut lab, impossible);
        assert_eq!(mtu(&lab), 1280, "{impossible}");
    }
    advertise_mtu(&mut lab, 1500);
    assert_eq!(mtu(&lab), 1500);
    lab.host.link(true, 1400, lab.now);
    assert_eq!(mtu(&lab), 1400);
}

#[test]
fn the_hop_limit_of_a_router_is_used_unless_it_is_too_low() {
    let mut lab = lab();
    let mut advertisement = router(&[prefix("2001:db8:1::", 64)]);
    for (limit, expected) in [(Some(100), 100), (None, 100), (Some(1), 100)] {
        advertisement.hop_limit = limit;
        advertise(&mut lab, &advertisement);
        send(&mut lab, own("2001:db8:1::"), FAR);
        let frames = lab.sent();
        assert_eq!(
            seen(frames.last().unwrap()).hop_limit,
            expected,
            "{limit:?}"
        );
    }
    let too_low = Ipv6Notice::HopLimit {
        router: ROUTER,
        limit: 1,
    };
    assert_eq!(notices(&mut lab), [too_low]);
}

#[test]
fn advertised_times_are_used() {
    let mut lab = lab();
    let mut advertisement = router(&[prefix("2001:db8:1::", 64)]);
    advertisement.retransmission = Some(Duration::from_secs(3));
    advertise(&mut lab, &advertisement);
    send(&mut lab, link_local(), PEER);
    let asked = sent_in(&mut lab, 20_000, NEIGHBOR_SOLICITATION);
    let times: Vec<_> = asked
        .iter()
        .filter(|(_, it)| it.target() == PEER)
        .map(|(at, _)| *at)
        .collect();
    assert_eq!(times, [0, 3000, 6000]);
}

#[test]
fn lifetime_zero_removes_a_router() {
    let mut lab = lab();
    advertise(&mut lab, &router(&[]));
    assert_eq!(lab.host.next_hop(FAR.into()), Some(ROUTER.into()));
    let mut advertisement = router(&[]);
    advertisement.lifetime = Duration::ZERO;
    advertise(&mut lab, &advertisement);
    assert_eq!(lab.host.next_hop(FAR.into()), None);
    // One that is only there for prefixes does not end the search for a default router (RFC 7559, section 2.1).
    let mut lab = begun();
    advertise(&mut lab, &advertisement);
    assert!(!sent_in(&mut lab, 10_000, ROUTER_SOLICITATION).is_empty());
}

#[test]
fn a_router_that_says_it_is_none_is_removed() {
    let mut lab = lab();
    advertise(&mut lab, &router(&[]));
    let mut no_router = advertises(ROUTER, ROUTER_MAC);
    no_router.payload[4] &= !0x80;
    lab.receive(&no_router.frame());
    assert_eq!(lab.host.next_hop(FAR.into()), None);
}

#[test]
fn the_preferred_router_is_used() {
    let mut lab = lab();
    advertise(&mut lab, &router(&[]));
    let mut high = second(&[]);
    high.preference = 1;
    advertise_from(&mut lab, ROUTER_2, &high);
    assert_eq!(lab.host.next_hop(FAR.into()), Some(ROUTER_2.into()));
}

/// RFC 4861, section 6.3.6: a router that does not answer is replaced, and a connection that waits for it tries again.
#[test]
fn another_router_takes_over_from_one_that_does_not_answer() {
    let mut lab = lab();
    advertise(&mut lab, &router(&[prefix("2001:db8:1::", 64)]));
    advertise_from(&mut lab, ROUTER_2, &second(&[prefix("2001:db8:1::", 64)]));
    let from = own("2001:db8:1::");
    send(&mut lab, from, FAR);
    assert_eq!(segments(&mut lab), [ROUTER_MAC]);
    // Nothing confirms the router: 5 s later it is probed three times, a second apart.
    let probes = sent_in(&mut lab, 7500, NEIGHBOR_SOLICITATION);
    let probes: Vec<_> = probes
        .iter()
        .filter(|(_, it)| it.target() == ROUTER)
        .collect();
    assert_eq!(probes.len(), 3, "{probes:?}");
    assert!(
        probes
            .iter()
            .all(|(_, it)| it.to == ROUTER_MAC && it.destination == ROUTER)
    );
    lab.run(1000);
    assert_eq!(
        lab.resolutions(),
        [Resolution::Found(ROUTER.into())],
        "try again"
    );
    let silent = Ipv6Notice::RouterSilent {
        router: ROUTER,
        other: Some(ROUTER_2),
    };
    assert_eq!(notices(&mut lab), [silent]);
    send(&mut lab, from, FAR);
    assert_eq!(segments(&mut lab), [ROUTER_2_MAC]);
    lab.host.confirm(FAR.into(), lab.now);
    // Once a minute the first one is tried again, beside the traffic.
    let probes = sent_in(&mut lab, 70_000, NEIGHBOR_SOLICITATION);
    assert!(
        probes.iter().any(|(_, it)| it.target() == ROUTER),
        "{probes:?}"
    );
    lab.receive(&advertises(ROUTER, ROUTER_MAC).frame());
    assert_eq!(
        lab.host.next_hop(FAR.into()),
        Some(ROUTER_2.into()),
        "answered too late"
    );
    advertise(&mut lab, &router(&[]));
    assert_eq!(lab.host.next_hop(FAR.into()), Some(ROUTER.into()));
}

/// RFC 8028, section 3.1: a provider drops packets with addresses of another one.
#[test]
fn packets_go_to_the_router_of_their_source() {
    let mut lab = lab();
    advertise(&mut lab, &router(&[prefix("2001:db8:1::", 64)]));
    advertise_from(&mut lab, ROUTER_2, &second(&[prefix("2001:db8:2::", 64)]));
    send(&mut lab, own("2001:db8:1::"), FAR);
    send(&mut lab, own("2001:db8:2::"), FAR);
    assert_eq!(segments(&mut lab), [ROUTER_MAC, ROUTER_2_MAC]);
    // And new connections have the address that fits their router (RFC 6724, rule 5.5).
    lab.run(10_000);
    let source = lab.host.source_for(FAR.into());
    assert_eq!(source, Some(own("2001:db8:1::").into()));
}

#[test]
fn a_connection_that_waits_for_the_router_of_its_source_is_woken() {
    let mut lab = lab();
    let mut silent = router(&[prefix("2001:db8:1::", 64)]);
    silent.hardware = None;
    advertise(&mut lab, &silent);
    silent.prefixes = vec![prefix("2001:db8:2::", 64)];
    advertise_from(&mut lab, ROUTER_2, &silent);
    assert_eq!(send(&mut lab, own("2001:db8:2::"), FAR), Sent::Resolving);
    let waits_for = lab.host.next_hop(FAR.into()).unwrap();
    let mut answer = advertises(ROUTER_2, ROUTER_2_MAC);
    answer.payload[4] |= 0x80;
    lab.receive(&answer.frame());
    let resolutions = lab.resolutions();
    assert!(
        resolutions.contains(&Resolution::Found(waits_for)),
        "{resolutions:?}"
    );
    assert_eq!(send(&mut lab, own("2001:db8:2::"), FAR), Sent::Done);
}

#[test]
fn the_number_of_routers_is_bounded() {
    let mut lab = lab();
    for number in 0..100 {
        let address = Ipv6Address::new(0xfe80, 0, 0, 0, 0, 0, 1, number);
        advertise_from(&mut lab, address, &router(&[]));
    }
    let notices = notices(&mut lab);
    assert!(
        matches!(notices[0], Ipv6Notice::TooManyRouters { .. }),
        "{notices:?}"
    );
    let first = Ipv6Address::new(0xfe80, 0, 0, 0, 0, 0, 1, 0);
    assert_eq!(lab.host.next_hop(FAR.into()), Some(first.into()));
    const { assert!(ROUTERS >= 4) };
}

#[test]
fn forged_advertisements_from_elsewhere_are_ignored() {
    let mut lab = lab();
    let message = write_router_advertisement(&router(&[prefix("2001:db8:1::", 64)]));
    let good = Packet::discovery(ROUTER, ALL_NODES, &message);
    for wrong in [
        Packet {
            hop_limit: 254,
            ..good.clone()
        },
        good.clone().source(address("2001:db8::1")),
        good.clone().source(Ipv6Address::UNSPECIFIED),
    ] {
        lab.receive(&wrong.frame());
        assert_eq!(addresses(&lab).len(), 1, "{:?}", wrong.source);
    }
    lab.receive(&good.frame());
    assert_eq!(addresses(&lab).len(), 2);
}

/// RFC 4861, section 6.2.6: that is for routers.
#[test]
fn solicitations_of_routers_are_not_answered() {
    let mut lab = lab();
    let solicitation = Packet::discovery(PEER, address("ff02::2"), &[133, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(answers(&mut lab, &solicitation), []);
    assert_eq!(answers(&mut lab, &solicitation.to(link_local())), []);
}

/// RFC 6059 in spirit: what the new network's routers do not advertise is dropped once they have had time to answer.
#[test]
fn another_network_after_an_interruption_replaces_the_one_before() {
    let mut lab = lab();
    let mut old = router(&[prefix("2001:db8:1::", 64)]);
    old.mtu = Some(1280);
    advertise(&mut lab, &old);
    lab.run(10_000);
    lab.host.link(false, 1500, lab.now);
    lab.run(8000);
    lab.host.link(true, 1500, lab.now);
    lab.run(2000);
    assert!(
        has(&mut lab, own("2001:db8:1::")),
        "in use until it is known better"
    );
    advertise_from(&mut lab, ROUTER_2, &second(&[prefix("2001:db8:2::", 64)]));
    assert_eq!(lab.host.path_mtu(FAR.into(), lab.now), 1500);
    lab.run(6000);
    assert_eq!(notices(&mut lab), [Ipv6Notice::Moved]);
    assert!(!has(&mut lab, own("2001:db8:1::")) && has(&mut lab, own("2001:db8:2::")));
    assert_eq!(lab.host.next_hop(FAR.into()), Some(ROUTER_2.into()));
    let old_neighbour = address("2001:db8:1::9");
    assert_eq!(
        lab.host.next_hop(old_neighbour.into()),
        Some(ROUTER_2.into())
    );
}

#[test]
fn the_same_network_after_an_interruption_changes_nothing() {
    let mut lab = lab();
    advertise(&mut lab, &router(&[prefix("2001:db8:1::", 64)]));
    lab.run(10_000);
    let before = addresses(&lab);
    lab.host.link(false, 1500, lab.now);
    lab.run(8000);
    lab.host.link(true, 1500, lab.now);
    assert_eq!(
        send(&mut lab, own("2001:db8:1::"), FAR),
        Sent::Done,
        "at once"
    );
    lab.run(2000);
    advertise(&mut lab, &router(&[prefix("2001:db8:1::", 64)]));
    lab.run(60_000);
    assert_eq!(addresses(&lab), before);
    // Without an advertisement nothing is known to be wrong.
    lab.host.link(false, 1500, lab.now);
    lab.host.link(true, 1500, lab.now);
    lab.run(60_000);
    assert_eq!(addresses(&lab), before);
    assert_eq!(lab.host.next_hop(FAR.into()), Some(ROUTER.into()));
}
