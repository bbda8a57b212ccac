//! IPv6 on a link where the test simulates all other hosts.

mod detection;
mod errors;
mod input;
mod neighbours;
mod routers;
mod start;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::time::Duration;
use smoltcp::wire::*;

use super::address::{ALL_NODES, multicast_hardware, solicited_node, with_interface_id};
use super::message::tests::write_router_advertisement;
use super::message::{
    Advertisement, PrefixInformation, RouterAdvertisement, Solicitation, write_advertisement,
    write_solicitation,
};
use super::{Ipv6Notice, message};
use crate::host::HostNotice;
use crate::host::testing::{HOST_MAC, Lab, PEER_MAC, ROUTER_MAC, ethernet};
use crate::segment::{Outgoing, Sent};
use crate::settings::{Ipv6Setting, Settings};
use crate::tcp::{Flags, Header};

const PEER: Ipv6Address = Ipv6Address::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x99);
const ROUTER: Ipv6Address = Ipv6Address::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
const FAR: Ipv6Address = Ipv6Address::new(0x2600, 0, 0, 0, 0, 0, 0, 7);
const HOUR: u32 = 3600;

/// A host that has just begun, with automatic addresses.
fn begun() -> Lab {
    Lab::with(Settings {
        ipv6: Ipv6Setting::Automatic,
        ..Settings::NONE
    })
}

/// The same after duplicate address detection.
fn lab() -> Lab {
    let mut lab = begun();
    lab.run(10_000);
    lab
}

fn address(text: &str) -> Ipv6Address {
    text.parse().unwrap()
}

/// The host's address with this prefix of 64 bits.
fn own(prefix: &str) -> Ipv6Address {
    with_interface_id(address(prefix), HOST_MAC)
}

fn link_local() -> Ipv6Address {
    own("fe80::")
}

/// An IPv6 packet to be put into a frame; the fields may be changed.
#[derive(Clone)]
struct Packet {
    from: EthernetAddress,
    to: EthernetAddress,
    source: Ipv6Address,
    destination: Ipv6Address,
    hop_limit: u8,
    /// Extension headers, each with its number.
    headers: Vec<(u8, Vec<u8>)>,
    protocol: IpProtocol,
    payload: Vec<u8>,
}

impl Packet {
    /// From the peer to the host.
    fn new(protocol: IpProtocol, payload: &[u8]) -> Self {
        Self {
            from: PEER_MAC,
            to: HOST_MAC,
            source: PEER,
            destination: link_local(),
            hop_limit: 64,
            headers: vec![],
            protocol,
            payload: payload.into(),
        }
    }

    /// A message of Neighbor Discovery.
    fn discovery(source: Ipv6Address, destination: Ipv6Address, message: &[u8]) -> Self {
        Self {
            source,
            hop_limit: 255,
            ..Self::new(IpProtocol::Icmpv6, message)
        }
        .to(destination)
    }

    /// An ICMPv6 message: type, code, and what follows the checksum.
    fn icmp(kind: u8, code: u8, body: &[u8]) -> Self {
        Self::new(IpProtocol::Icmpv6, &[&[kind, code, 0, 0], body].concat())
    }

    fn syn() -> Self {
        let mut payload = vec![0; 20];
        payload[..4].copy_from_slice(&[156, 64, 0, 80]);
        (payload[12], payload[13], payload[14]) = (5 << 4, 2, 4);
        Self::new(IpProtocol::Tcp, &payload)
    }

    fn udp() -> Self {
        let payload = [156, 64, 0, 9, 0, 12, 0, 0, 1, 2, 3, 4];
        Self::new(IpProtocol::Udp, &payload)
    }

    fn source(mut self, source: Ipv6Address) -> Self {
        self.source = source;
        self
    }

    /// To this address, in a frame that goes where it belongs.
    fn to(mut self, destination: Ipv6Address) -> Self {
        self.destination = destination;
        if destination.is_multicast() {
            self.to = multicast_hardware(destination);
        }
        self
    }

    fn behind(mut self, number: u8, header: &[u8]) -> Self {
        self.headers.push((number, header.into()));
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0x60, 0, 0, 0, 0, 0, 0, self.hop_limit];
        bytes.extend_from_slice(&self.source.octets());
        bytes.extend_from_slice(&self.destination.octets());
        let mut field = 6;
        for (number, header) in &self.headers {
            bytes[field] = *number;
            field = bytes.len();
            bytes.extend_from_slice(header);
        }
        bytes[field] = self.protocol.into();
        bytes.extend_from_slice(&self.checked_payload());
        let length = (bytes.len() - 40) as u16;
        bytes[4..6].copy_from_slice(&length.to_be_bytes());
        bytes
    }

    fn frame(&self) -> Vec<u8> {
        ethernet(self.from, self.to, EthernetProtocol::Ipv6, &self.bytes())
    }

    /// The payload with its checksum.
    fn checked_payload(&self) -> Vec<u8> {
        let mut payload = self.payload.clone();
        let (source, destination) = (self.source.into(), self.destination.into());
        match self.protocol {
            IpProtocol::Tcp => {
                TcpPacket::new_unchecked(&mut payload[..]).fill_checksum(&source, &destination)
            }
            // smoltcp would go beyond the end for a false length.
            IpProtocol::Udp if payload[4..6] == [0, 12] => {
                UdpPacket::new_unchecked(&mut payload[..]).fill_checksum(&source, &destination);
            }
            IpProtocol::Icmpv6 if payload.len() >= 4 => {
                Icmpv6Packet::new_unchecked(&mut payload[..])
                    .fill_checksum(&self.source, &self.destination);
            }
            _ => {}
        }
        payload
    }
}

/// A packet that the host sent, with a correct checksum.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    to: EthernetAddress,
    source: Ipv6Address,
    destination: Ipv6Address,
    hop_limit: u8,
    router_alert: bool,
    protocol: IpProtocol,
    payload: Vec<u8>,
}

/// Reads what the host sent.
fn seen(frame: &[u8]) -> Seen {
    let ethernet = EthernetFrame::new_checked(frame).unwrap();
    assert_eq!(ethernet.ethertype(), EthernetProtocol::Ipv6);
    assert_eq!(ethernet.src_addr(), HOST_MAC);
    let packet = Ipv6Packet::new_checked(ethernet.payload()).unwrap();
    let repr = Ipv6Repr::parse(&packet).unwrap();
    let mut payload = packet.payload();
    let (mut protocol, router_alert) = (repr.next_header, repr.next_header == IpProtocol::HopByHop);
    if router_alert {
        assert_eq!(payload[1..6], [0, 5, 2, 0, 0]);
        protocol = payload[0].into();
        payload = &payload[8..];
    }
    let (source, destination) = (repr.src_addr.into(), repr.dst_addr.into());
    let correct = match protocol {
        IpProtocol::Tcp => TcpPacket::new_checked(payload)
            .unwrap()
            .verify_checksum(&source, &destination),
        IpProtocol::Icmpv6 => {
            let mut copy = payload.to_vec();
            Icmpv6Packet::new_unchecked(&mut copy[..])
                .fill_checksum(&repr.src_addr, &repr.dst_addr);
            copy == payload
        }
        protocol => panic!("{protocol}"),
    };
    assert!(correct, "checksum");
    if destination.is_multicast() {
        assert_eq!(ethernet.dst_addr(), multicast_hardware(repr.dst_addr));
    }
    Seen {
        to: ethernet.dst_addr(),
        source: repr.src_addr,
        destination: repr.dst_addr,
        hop_limit: repr.hop_limit,
        router_alert,
        protocol,
        payload: payload.to_vec(),
    }
}

impl Seen {
    /// The type of an ICMPv6 message; 0 for a segment.
    fn kind(&self) -> u8 {
        match self.protocol {
            IpProtocol::Icmpv6 => self.payload[0],
            _ => 0,
        }
    }

    /// The target of a Neighbor Solicitation or Advertisement.
    fn target(&self) -> Ipv6Address {
        Ipv6Address::from_octets(self.payload[8..24].try_into().unwrap())
    }

    /// The flags of a Neighbor Advertisement: R, S and O.
    fn flags(&self) -> (bool, bool, bool) {
        let flags = self.payload[4];
        (flags & 0x80 != 0, flags & 0x40 != 0, flags & 0x20 != 0)
    }

    /// The options of a Neighbor Solicitation or Advertisement, or a Router Solicitation.
    fn options(&self) -> &[u8] {
        match self.kind() {
            message::ROUTER_SOLICITATION => &self.payload[8..],
            _ => &self.payload[24..],
        }
    }
}

/// Returns the packets that the host sends in answer to one.
fn answers(lab: &mut Lab, packet: &Packet) -> Vec<Seen> {
    let frames = lab.answer(&packet.frame());
    frames.iter().map(|frame| seen(frame)).collect()
}

/// The packets of one type that the host sends in this time.
fn sent_in(lab: &mut Lab, milliseconds: u64, kind: u8) -> Vec<(i64, Seen)> {
    let frames = lab.run(milliseconds);
    let frames = frames.into_iter().map(|(at, frame)| (at, seen(&frame)));
    frames.filter(|(_, it)| it.kind() == kind).collect()
}

/// A solicitation of the peer for the link-layer address of `target`.
fn asks_for(target: Ipv6Address) -> Packet {
    let solicitation = Solicitation {
        target,
        hardware: Some(PEER_MAC),
        nonce: None,
    };
    Packet::discovery(
        PEER,
        solicited_node(target),
        &write_solicitation(&solicitation),
    )
}

/// A solicitation of another host that is about to take `target` as its address.
fn detects(target: Ipv6Address, nonce: Option<message::Nonce>) -> Packet {
    let solicitation = Solicitation {
        target,
        hardware: None,
        nonce,
    };
    let message = write_solicitation(&solicitation);
    Packet::discovery(Ipv6Address::UNSPECIFIED, solicited_node(target), &message)
}

/// An answer of a neighbour to the host.
fn advertises(target: Ipv6Address, hardware: EthernetAddress) -> Packet {
    let advertisement = Advertisement {
        target,
        hardware: Some(hardware),
        router: target == ROUTER,
        solicited: true,
        overrides: true,
    };
    let message = write_advertisement(&advertisement);
    Packet {
        from: hardware,
        ..Packet::discovery(target, link_local(), &message)
    }
}

/// Whether the host answers for this address.
fn has(lab: &mut Lab, target: Ipv6Address) -> bool {
    let packets = answers(lab, &asks_for(target));
    packets
        .iter()
        .any(|it| it.kind() == message::NEIGHBOR_ADVERTISEMENT && it.target() == target)
}

/// A prefix with L=1 and A=1.
fn prefix(text: &str, length: u8) -> PrefixInformation {
    PrefixInformation {
        prefix: Ipv6Cidr::new(address(text), length),
        on_link: true,
        autonomous: true,
        valid: HOUR,
        preferred: HOUR / 2,
    }
}

/// An advertisement of a router for half an hour.
fn router(prefixes: &[PrefixInformation]) -> RouterAdvertisement {
    RouterAdvertisement {
        hop_limit: None,
        lifetime: Duration::from_secs(1800),
        preference: 0,
        reachable: None,
        retransmission: None,
        hardware: Some(ROUTER_MAC),
        mtu: None,
        prefixes: prefixes.to_vec(),
    }
}

/// Gives the host an advertisement of [`ROUTER`], and lets it do what is due at once.
fn advertise(lab: &mut Lab, advertisement: &RouterAdvertisement) {
    advertise_from(lab, ROUTER, advertisement);
}

fn advertise_from(lab: &mut Lab, router: Ipv6Address, advertisement: &RouterAdvertisement) {
    let message = write_router_advertisement(advertisement);
    let packet = Packet::discovery(router, ALL_NODES, &message);
    let frame = Packet {
        from: advertisement.hardware.unwrap_or(ROUTER_MAC),
        ..packet
    }
    .frame();
    lab.receive(&frame);
    lab.run(0);
}

/// The addresses of the host.
fn addresses(lab: &Lab) -> Vec<String> {
    let addresses = lab.host.addresses();
    addresses.iter().map(ToString::to_string).collect()
}

fn notices(lab: &mut Lab) -> Vec<Ipv6Notice> {
    let notices = lab.notices().into_iter();
    let ipv6 = notices.map(|it| match it {
        HostNotice::Ipv6(notice) => notice,
        other => panic!("{other}"),
    });
    ipv6.collect()
}

/// Sends a segment of a connection.
fn send(lab: &mut Lab, from: Ipv6Address, to: Ipv6Address) -> Sent {
    let segment = Outgoing {
        local: IpEndpoint::new(from.into(), 80),
        remote: IpEndpoint::new(to.into(), 40000),
        header: Header {
            flags: Flags::ACK,
            ..Header::default()
        },
        payload: [b"he", b"llo"],
    };
    lab.host.send(&mut lab.wire, &segment, lab.now)
}

/// Where the frames of the segments go that the host has sent.
fn segments(lab: &mut Lab) -> Vec<EthernetAddress> {
    let frames = lab.sent().into_iter().map(|frame| seen(&frame));
    let segments = frames.filter(|it| it.protocol == IpProtocol::Tcp);
    segments.map(|it| it.to).collect()
}

/// The checksums of the packets are written by smoltcp, which shares no code with the host.
#[test]
fn packets_of_these_tests_are_correct() {
    let bytes = Packet::syn().bytes();
    let packet = Ipv6Packet::new_checked(&bytes[..]).unwrap();
    let repr = Ipv6Repr::parse(&packet).unwrap();
    let segment = TcpPacket::new_checked(packet.payload()).unwrap();
    let checksums = ChecksumCapabilities::default();
    let (source, destination) = (repr.src_addr.into(), repr.dst_addr.into());
    assert!(TcpRepr::parse(&segment, &source, &destination, &checksums).is_ok());
}
