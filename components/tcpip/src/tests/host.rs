//! What a host does besides TCP: addresses, DHCP, echo.

use smoltcp::wire::*;

use super::{pattern, receive};
use crate::settings::{Ipv4Setting, Ipv6Setting, Settings};
use crate::stack::Notice;
use crate::testing::world::{Program, World, link_local, settings};
use crate::testing::{PEER, PEER_MAC, STACK, STACK_MAC, frames};

#[test]
fn an_idle_host_sets_no_alarm() {
    let settings = Settings {
        ipv6: Ipv6Setting::Off,
        ..settings()
    };
    let mut world = World::with(settings, &[(Program::Echo, 80, 4, 1024)]);
    world.run(3_600_000);
    assert_eq!(world.alarm, None);
    let wakeups = world.stack.counters().wakeups;
    assert!(wakeups < 50, "{wakeups}");
}

/// With IPv6 it looks for a router now and then, less and less often (RFC 7559).
#[test]
fn an_idle_host_with_ipv6_sleeps_for_long() {
    let mut world = World::new(Program::Echo, 4, 1024);
    world.run(3_600_000);
    let alarm = world.alarm.map(|at| at - world.now);
    assert!(
        alarm.is_none_or(|pause| pause > 600_000_000_000),
        "{alarm:?}"
    );
    let wakeups = world.stack.counters().wakeups;
    assert!(wakeups < 100, "{wakeups}");
}

#[test]
fn pings_are_answered_over_ipv4() {
    let mut world = World::new(Program::Echo, 1, 1024);
    world.inject(&frames::arp_request(PEER_MAC));
    let echo = Icmpv4Repr::EchoRequest {
        ident: 7,
        seq_no: 9,
        data: b"abcdefgh",
    };
    world.inject(&frames::icmpv4(&echo));
    world.run(10);
    let replies: Vec<_> = world
        .seen
        .iter()
        .filter(|frame| frame[23] == 1 && frame[34] == 0)
        .collect();
    assert_eq!(replies.len(), 1);
    assert!(replies[0].ends_with(b"abcdefgh"));
}

#[test]
fn pings_are_answered_over_ipv6() {
    let mut world = World::new(Program::Echo, 1, 1024);
    let (peer, stack) = (
        link_local(PEER_MAC).address(),
        link_local(STACK_MAC).address(),
    );
    // Until its uniqueness is confirmed, an address resolves no neighbours (RFC 4429, section 2.1).
    world.run(3000);
    // The reply to the first one waits for the peer's hardware address.
    for _ in 0..2 {
        world.inject(&frames::icmpv6_echo(peer, stack));
        world.run(10);
    }
    let replies = world
        .seen
        .iter()
        .filter(|frame| frame[20] == 58 && frame[54] == 129);
    assert_eq!(replies.count(), 2);
}

#[test]
fn connections_work_over_ipv6() {
    let mut world = World::new(Program::Echo, 1, 1024);
    let address = IpAddress::Ipv6(link_local(STACK_MAC).address());
    let handle = world.host.connect(40000, (address, 80));
    world.until("it is open", |world| world.host.tcp(handle).may_send());
    let bytes = pattern(3000);
    world.host.tcp(handle).send_slice(&bytes).unwrap();
    let mut received = vec![];
    world.until("the echo is complete", |world| {
        receive(world.host.tcp(handle), &mut received);
        received.len() == bytes.len()
    });
    assert!(received == bytes);
}

/// A server that grants 10.0.0.1/24 for an hour.
fn answer_dhcp(frame: &[u8]) -> Option<Vec<u8>> {
    let packet = Ipv4Packet::new_checked(frame.get(14..)?).ok()?;
    let datagram = UdpPacket::new_checked(packet.payload()).ok()?;
    if frame[12..14] != [8, 0]
        || packet.next_header() != IpProtocol::Udp
        || datagram.dst_port() != 67
    {
        return None;
    }
    let request = DhcpPacket::new_checked(datagram.payload()).ok()?;
    let request = DhcpRepr::parse(&request).ok()?;
    let message_type = match request.message_type {
        DhcpMessageType::Discover => DhcpMessageType::Offer,
        DhcpMessageType::Request => DhcpMessageType::Ack,
        _ => return None,
    };
    let mut answer = DhcpRepr {
        message_type,
        your_ip: STACK,
        server_ip: PEER,
        server_identifier: Some(PEER),
        router: Some(PEER),
        subnet_mask: Some(Ipv4Address::new(255, 255, 255, 0)),
        lease_duration: Some(3600),
        ..request
    };
    answer.requested_ip = None;
    answer.parameter_request_list = None;
    answer.client_identifier = None;
    Some(frames::dhcp(&answer))
}

#[test]
fn dhcp_gives_an_address_that_is_renewed_in_time() {
    let settings = Settings {
        ipv4: Ipv4Setting::Dhcp,
        ipv6: Ipv6Setting::Off,
        ..Settings::NONE
    };
    let mut world = World::with(settings, &[(Program::Echo, 80, 2, 1024)]);
    let mut requests = 0;
    let mut serve = |world: &mut World| {
        for frame in std::mem::take(&mut world.seen) {
            if let Some(answer) = answer_dhcp(&frame) {
                requests += 1;
                world.inject(&answer);
            }
        }
        world.settle();
        requests
    };
    for _ in 0..4 {
        world.run(10);
        serve(&mut world);
    }
    let notices: Vec<_> = std::iter::from_fn(|| world.stack.notice()).collect();
    assert!(
        notices.contains(&Notice::Addresses("10.0.0.1/24".into())),
        "{notices:?}"
    );
    assert_eq!(serve(&mut world), 2, "a discovery and a request");

    let handle = world.host.connect(40000, (STACK.into(), 80));
    world.run(100);
    assert!(world.host.tcp(handle).may_send());
    world.run(10_000);
    let alarm = world.alarm.expect("the lease ends");
    assert!(alarm > 30_000_000_000, "no polling: {alarm}");
    for _ in 0..4 {
        world.run(900_000);
        serve(&mut world);
    }
    let requests = serve(&mut world);
    assert!(
        (3..=5).contains(&requests),
        "{requests} requests in an hour"
    );
    let lost = std::iter::from_fn(|| world.stack.notice())
        .any(|notice| notice == Notice::Addresses("".into()));
    assert!(!lost, "the lease was renewed");
}

#[test]
fn connections_of_a_lost_address_are_reset() {
    let settings = Settings {
        ipv4: Ipv4Setting::Dhcp,
        ipv6: Ipv6Setting::Off,
        ..Settings::NONE
    };
    let mut world = World::with(settings, &[(Program::Watch, 80, 2, 1024)]);
    for _ in 0..4 {
        world.run(10);
        for frame in std::mem::take(&mut world.seen) {
            answer_dhcp(&frame)
                .into_iter()
                .for_each(|answer| world.inject(&answer));
        }
    }
    let handle = world.host.connect(40000, (STACK.into(), 80));
    world.run(100);
    world.host.tcp(handle).send_slice(b"unread").unwrap();
    world.run(100);
    assert_eq!(world.stack.counters().connections_open, 1);
    // No server any more: the lease ends after an hour.
    world.run(3_700_000);
    assert_eq!(world.stack.counters().connections_open, 0);
    assert_eq!(world.stack.counters().connections_reset, 1);
}
