//! Packets that the host sends by itself: at its start, and when the link comes up again.

use super::super::message::{
    LISTENER_REPORT_V2, NEIGHBOR_ADVERTISEMENT, NEIGHBOR_SOLICITATION, ROUTER_SOLICITATION,
};
use super::*;

/// RFC 3810, section 5: hop limit 1 and a Router Alert option, from the link-local address.
#[test]
fn groups_are_reported_with_a_router_alert() {
    let mut lab = begun();
    let reports = sent_in(&mut lab, 10_000, LISTENER_REPORT_V2);
    assert_eq!(reports.len(), 2, "{reports:?}");
    let (at, report) = &reports[0];
    assert_eq!(
        *at, 0,
        "before the solicitation of duplicate address detection"
    );
    assert!(report.router_alert);
    assert_eq!(report.hop_limit, 1);
    assert_eq!(report.source, link_local());
    assert_eq!(report.destination, address("ff02::16"));
    let group = solicited_node(link_local()).octets();
    assert!(report.payload.ends_with(&group));
}

/// RFC 4862, section 5.4.2, RFC 7527 and RFC 9131.
#[test]
fn duplicates_are_detected_from_the_unspecified_address() {
    let mut lab = begun();
    let frames = lab.run(10_000);
    let packets: Vec<_> = frames
        .iter()
        .map(|(at, frame)| (*at, seen(frame)))
        .filter(|(_, it)| [NEIGHBOR_SOLICITATION, NEIGHBOR_ADVERTISEMENT].contains(&it.kind()))
        .collect();
    let [(asked, question), (_, early), (announced, late)] = &packets[..] else {
        panic!("{packets:?}");
    };
    assert!(*asked < 1000, "{asked}");
    assert_eq!(question.kind(), NEIGHBOR_SOLICITATION);
    assert!(question.source.is_unspecified());
    assert_eq!(question.destination, solicited_node(link_local()));
    assert_eq!(question.hop_limit, 255);
    assert_eq!(question.target(), link_local());
    assert_eq!(question.options()[..2], [14, 1], "only a nonce");
    assert_eq!(question.options().len(), 8);

    assert_eq!(early.destination, address("ff02::2"));
    assert_eq!(early.flags(), (false, false, false));
    assert!((1000..1010).contains(&(announced - asked)));
    assert_eq!((late.source, late.destination), (link_local(), ALL_NODES));
    assert_eq!(late.flags(), (false, false, true));
    let hardware = [&[2, 1][..], &HOST_MAC.0].concat();
    assert_eq!(late.options(), hardware);
}

/// RFC 4861, section 6.3.7, RFC 4429, section 3.3, and RFC 7559.
#[test]
fn routers_are_solicited_until_one_answers() {
    let mut lab = begun();
    let sent = sent_in(&mut lab, 100_000, ROUTER_SOLICITATION);
    assert_eq!(sent.len(), 5, "{sent:?}");
    assert!(sent[0].0 < 1000);
    for (_, solicitation) in &sent {
        assert_eq!(solicitation.destination, address("ff02::2"));
        assert_eq!(solicitation.hop_limit, 255);
    }
    // A message from an optimistic address contains no link-layer address.
    let [(_, first), .., (_, last)] = &sent[..] else {
        panic!()
    };
    assert!(first.source.is_unspecified() && first.options().is_empty());
    assert_eq!(last.source, link_local());
    assert_eq!(last.options(), [&[1, 1][..], &HOST_MAC.0].concat());

    advertise(&mut lab, &router(&[]));
    let sent = sent_in(&mut lab, 1_000_000, ROUTER_SOLICITATION);
    assert_eq!(sent, []);
    // The router is gone after half an hour: another one is looked for.
    let sent = sent_in(&mut lab, 1_000_000, ROUTER_SOLICITATION);
    assert!(sent.len() > 3, "{sent:?}");
    assert!((800_000..801_000).contains(&sent[0].0), "{sent:?}");
}

#[test]
fn a_silent_host_comes_to_rest() {
    let mut lab = lab();
    advertise(&mut lab, &router(&[prefix("2001:db8:1::", 64)]));
    lab.run(10_000);
    let frames = lab.run(1_000_000);
    assert!(frames.is_empty(), "{frames:?}");
}

#[test]
fn nothing_is_sent_while_the_link_is_down_and_all_begins_again_after() {
    let mut lab = lab();
    advertise(&mut lab, &router(&[prefix("2001:db8:1::", 64)]));
    lab.run(10_000);
    lab.host.link(false, 1500, lab.now);
    assert!(lab.run(100_000).is_empty());
    lab.host.link(true, 1500, lab.now);
    let kinds: Vec<_> = lab
        .run(10_000)
        .iter()
        .map(|(_, frame)| seen(frame).kind())
        .collect();
    let count = |kind| kinds.iter().filter(|it| **it == kind).count();
    assert_eq!(count(NEIGHBOR_SOLICITATION), 2, "both addresses: {kinds:?}");
    assert_eq!(count(LISTENER_REPORT_V2), 2);
    assert_eq!(count(ROUTER_SOLICITATION), 2);
    assert_eq!(addresses(&lab).len(), 2, "in use meanwhile");
}

#[test]
fn without_ipv6_nothing_is_sent_and_nothing_is_taken() {
    let mut lab = Lab::with(Settings::NONE);
    assert!(lab.run(100_000).is_empty());
    assert_eq!(answers(&mut lab, &asks_for(link_local())), []);
    assert_eq!(addresses(&lab), [""; 0]);
}

/// A configured address: it is the description that gives addresses and routes.
#[test]
fn a_configured_address_needs_no_router_and_takes_none() {
    let gateway = address("fd00::1");
    let mut lab = Lab::with(Settings {
        ipv6: Ipv6Setting::Fixed {
            address: Ipv6Cidr::new(address("fd00::2"), 64),
            gateway: Some(gateway),
        },
        ..Settings::NONE
    });
    lab.run(10_000);
    let mut advertisement = router(&[prefix("2001:db8:1::", 64)]);
    advertisement.mtu = Some(1400);
    advertise(&mut lab, &advertisement);
    let expected = [format!("{}/64", link_local()), "fd00::2/64".into()];
    assert_eq!(addresses(&lab), expected);
    let hop = |lab: &Lab, to: &str| lab.host.next_hop(address(to).into());
    assert_eq!(hop(&lab, "fd00::9"), Some(address("fd00::9").into()));
    assert_eq!(hop(&lab, "2600::7"), Some(gateway.into()));
    assert_eq!(lab.host.path_mtu(FAR.into(), lab.now), 1400);
}
