//! DHCP on the wire: how the host sends, takes and loses a lease.

use smoltcp::wire::*;

use crate::host::testing::*;
use crate::host::{HostNotice, Resolution};
use crate::segment::Sent;
use crate::settings::{ConflictDetection, Ipv4Setting, Settings};

const BROADCAST: EthernetAddress = EthernetAddress::BROADCAST;
const OTHER_ROUTER: Ipv4Address = Ipv4Address::new(10, 0, 2, 3);

fn dhcp() -> Settings {
    Settings {
        ipv4: Ipv4Setting::Dhcp,
        host_name: "lab".into(),
        ..Settings::NONE
    }
}

/// The client's message in a frame: how it was sent, its type and its transaction.
fn request(frame: &[u8]) -> Option<(EthernetAddress, (Ipv4Address, Ipv4Address), u8, u32)> {
    let (to, repr, payload) = ipv4_in(frame)?;
    let datagram = UdpPacket::new_checked(payload).unwrap();
    assert_eq!((datagram.src_port(), datagram.dst_port()), (68, 67));
    let message = datagram.payload();
    let transaction = u32::from_be_bytes(message[4..8].try_into().unwrap());
    assert_eq!(message[240..242], [53, 1]);
    Some((
        to,
        (repr.src_addr, repr.dst_addr),
        message[242],
        transaction,
    ))
}

/// The server's message in a frame to this hardware and IP address.
fn reply(kind: u8, transaction: u32, to: EthernetAddress, destination: Ipv4Address) -> Vec<u8> {
    let mut message = vec![0; 240];
    message[..3].copy_from_slice(&[2, 1, 6]);
    message[4..8].copy_from_slice(&transaction.to_be_bytes());
    message[16..20].copy_from_slice(&HOST.octets());
    message[28..34].copy_from_slice(&HOST_MAC.0);
    message[236..240].copy_from_slice(&[0x63, 0x82, 0x53, 0x63]);
    message.extend([
        53, 1, kind, 54, 4, 10, 0, 2, 2, 1, 4, 255, 255, 255, 0, 3, 8, 10, 0, 2, 2, 10, 0, 2, 3,
    ]);
    message.extend([51, 4, 0, 0, 14, 16, 26, 2, 5, 120, 255]);
    let mut packet = Packet::udp((67, 68), &message)
        .source(ROUTER)
        .destination(destination)
        .to(to);
    packet.payload[6..8].fill(0);
    packet.from = ROUTER_MAC;
    packet.frame()
}

/// Has the server answer all that the client asks within a time. Returns the types of its messages.
fn serve(lab: &mut Lab, milliseconds: u64) -> Vec<u8> {
    let mut kinds = vec![];
    let end = lab.now + smoltcp::time::Duration::from_millis(milliseconds);
    while lab.now < end {
        let mut frames: Vec<_> = lab.run(0).into_iter().map(|(_, frame)| frame).collect();
        while let Some(frame) = frames.pop() {
            if asked(std::slice::from_ref(&frame)) == [ROUTER] {
                frames.extend(lab.answer(&arp(ArpOperation::Reply, (ROUTER_MAC, ROUTER), HOST)));
            } else if let Some((_, _, kind, transaction)) = request(&frame) {
                kinds.push(kind);
                let answer = reply(if kind == 1 { 2 } else { 5 }, transaction, HOST_MAC, HOST);
                frames.extend(lab.answer(&answer));
            }
        }
        lab.now += smoltcp::time::Duration::from_millis(50);
    }
    kinds
}

#[test]
fn messages_before_the_lease_come_from_nowhere_to_all() {
    let mut lab = Lab::with(dhcp());
    let frames = lab.run(0);
    let (to, addresses, kind, _) = request(&frames[0].1).unwrap();
    let expected = (Ipv4Address::UNSPECIFIED, Ipv4Address::BROADCAST);
    assert_eq!((to, addresses, kind), (BROADCAST, expected, 1));
    assert!(
        frames[0]
            .1
            .windows(5)
            .any(|it| it == [12, 3, b'l', b'a', b'b'])
    );
}

#[test]
fn answers_are_taken_by_unicast_and_broadcast() {
    for (to, destination) in [
        (HOST_MAC, HOST),
        (BROADCAST, Ipv4Address::BROADCAST),
        (HOST_MAC, Ipv4Address::BROADCAST),
        (BROADCAST, HOST),
    ] {
        let mut lab = Lab::with(dhcp());
        let frames = lab.run(0);
        let (_, _, _, transaction) = request(&frames[0].1).unwrap();
        let sent = lab.answer(&reply(2, transaction, to, destination));
        assert_eq!(request(&sent[0]).unwrap().2, 3, "{to} {destination}");
        lab.receive(&reply(5, transaction, to, destination));
        assert!(
            lab.host.maintain(&mut lab.wire, lab.now),
            "the addresses changed"
        );
        assert_eq!(
            lab.host.addresses(),
            ["10.0.2.15/24".parse::<IpCidr>().unwrap()]
        );
        assert_eq!(lab.host.path_mtu(FAR.into(), lab.now), 1400);
        let announcement = arp_in(&lab.sent()[0]).unwrap().1;
        assert_eq!((announcement.1, announcement.3), (HOST, HOST));
    }
}

/// Runs until the lease has to be renewed. Returns the frames of that moment.
fn until_renewal(lab: &mut Lab) -> Vec<Vec<u8>> {
    lab.run(100_000);
    for _ in 0..1_700_000 / 500 {
        let frames = lab.run(500);
        if !frames.is_empty() {
            return frames.into_iter().map(|(_, frame)| frame).collect();
        }
    }
    panic!("half of the lease is over");
}

#[test]
fn the_first_renewal_goes_to_where_the_lease_came_from() {
    let mut lab = Lab::with(dhcp());
    assert_eq!(serve(&mut lab, 1000), [1, 3]);
    let frames = until_renewal(&mut lab);
    let (to, addresses, kind, _) = request(&frames[0]).unwrap();
    assert_eq!((to, addresses, kind), (ROUTER_MAC, (HOST, ROUTER), 3));
}

#[test]
fn a_renewal_is_sent_to_the_server_once_it_is_resolved() {
    let mut lab = Lab::with(dhcp());
    assert_eq!(serve(&mut lab, 1000), [1, 3]);
    lab.host.arp.forget(ROUTER);
    assert_eq!(asked(&until_renewal(&mut lab)), [ROUTER]);
    let sent = lab.answer(&arp(ArpOperation::Reply, (ROUTER_MAC, ROUTER), HOST));
    let (to, addresses, kind, _) = request(&sent[0]).unwrap();
    assert_eq!((to, addresses, kind), (ROUTER_MAC, (HOST, ROUTER), 3));
}

#[test]
fn without_a_server_the_address_goes_with_the_lease() {
    let mut lab = Lab::with(dhcp());
    serve(&mut lab, 1000);
    lab.run(3_590_000);
    assert!(lab.host.is_own(HOST.into()));
    lab.run(20_000);
    assert!(!lab.host.is_own(HOST.into()));
    assert_eq!(lab.host.addresses(), []);
    assert_eq!(lab.send(PEER, b"?"), Sent::Unreachable);
    assert!(
        lab.notices()
            .contains(&HostNotice::Expired { address: HOST })
    );
}

#[test]
fn a_probed_lease_that_another_host_has_is_declined() {
    let mut lab = Lab::with(Settings {
        conflict_detection: ConflictDetection::Probe,
        ..dhcp()
    });
    assert_eq!(serve(&mut lab, 500), [1, 3]);
    assert!(!lab.host.is_own(HOST.into()));
    lab.run(1500);
    let sent = lab.answer(&arp(ArpOperation::Reply, (PEER_MAC, HOST), HOST));
    let (to, _, kind, _) = request(&sent[0]).unwrap();
    assert_eq!((to, kind), (BROADCAST, 4));
    assert_eq!(
        lab.notices(),
        [HostNotice::Taken {
            address: HOST,
            hardware: PEER_MAC
        }]
    );
    assert_eq!(lab.run(9000), [], "no new attempt for ten seconds");
    assert_eq!(serve(&mut lab, 3000), [1, 3]);
    lab.run(8000);
    assert!(lab.host.is_own(HOST.into()));
}

#[test]
fn a_link_that_is_back_asks_for_the_former_address_and_keeps_it_meanwhile() {
    let mut lab = Lab::with(dhcp());
    serve(&mut lab, 5000);
    lab.host.link(false, 1500, lab.now);
    lab.run(8000);
    lab.host.link(true, 1500, lab.now);
    assert_eq!(serve(&mut lab, 1000), [3]);
    assert!(lab.host.is_own(HOST.into()));
}

#[test]
fn a_link_to_another_network_gets_another_lease() {
    let mut lab = Lab::with(dhcp());
    serve(&mut lab, 5000);
    lab.host.link(false, 1500, lab.now);
    lab.host.link(true, 1500, lab.now);
    let frames = lab.run(0);
    let transaction = frames
        .iter()
        .find_map(|(_, frame)| request(frame))
        .unwrap()
        .3;
    lab.receive(&reply(6, transaction, BROADCAST, Ipv4Address::BROADCAST));
    assert!(!lab.host.is_own(HOST.into()));
    assert_eq!(serve(&mut lab, 3000), [1, 3]);
}

#[test]
fn without_an_address_arp_and_echo_are_silent() {
    let mut lab = Lab::with(dhcp());
    lab.run(0);
    assert_eq!(
        lab.answer(&arp(ArpOperation::Request, (PEER_MAC, PEER), HOST)),
        Vec::<Vec<u8>>::new()
    );
    assert_eq!(
        lab.answer(&Packet::echo(b"?").frame()),
        Vec::<Vec<u8>>::new()
    );
}

/// RFC 1122, section 3.3.1.4.
#[test]
fn another_router_is_used_when_the_first_is_dead() {
    let mut lab = Lab::with(dhcp());
    serve(&mut lab, 5000);
    lab.host.arp.forget(ROUTER);
    lab.introduce(OTHER_ROUTER, PEER_MAC);
    assert_eq!(lab.send(FAR, b"hello"), Sent::Resolving);
    lab.run(5000);
    assert_eq!(lab.resolutions(), [Resolution::Failed(ROUTER.into())]);
    assert_eq!(lab.send(FAR, b"hello"), Sent::Done);
    let sent = lab.sent();
    assert_eq!(segment_in(&sent[0]), Some((PEER_MAC, b"hello".to_vec())));
    lab.introduce(ROUTER, ROUTER_MAC);
    lab.send(FAR, b"hello");
    let sent = lab.sent();
    assert_eq!(segment_in(&sent[0]), Some((ROUTER_MAC, b"hello".to_vec())));
}
