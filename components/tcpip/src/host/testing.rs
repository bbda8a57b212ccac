//! A host on a link where the test simulates all other hosts.

use channel::packets::Driver;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::*;

use super::{Host, HostNotice, Received, Resolution};
use crate::segment::{Outgoing, Segment, Sent};
use crate::settings::{Ipv4Setting, Settings};
use crate::tcp::{Flags, Header};
use crate::testing::pairs;
use crate::wire::Wire;

pub(crate) const HOST_MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 1]);
pub(crate) const PEER_MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 2]);
pub(crate) const ROUTER_MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 0xfe]);
pub(crate) const HOST: Ipv4Address = Ipv4Address::new(10, 0, 2, 15);
pub(crate) const PEER: Ipv4Address = Ipv4Address::new(10, 0, 2, 99);
pub(crate) const ROUTER: Ipv4Address = Ipv4Address::new(10, 0, 2, 2);
pub(crate) const FAR: Ipv4Address = Ipv4Address::new(198, 51, 100, 7);

/// A host, its wire, and the time.
pub(crate) struct Lab {
    pub host: Host,
    pub wire: Wire,
    pub now: Instant,
    driver: Driver,
    _memory: pairs::Memory,
}

impl Lab {
    /// Returns a host at 10.0.2.15/24 with the router 10.0.2.2. The host has announced its address.
    pub fn new() -> Self {
        let mut lab = Self::with(fixed("10.0.2.15/24", Some(ROUTER)));
        lab.run(10_000);
        lab
    }

    pub fn with(settings: Settings) -> Self {
        let (driver, packets, memory) = pairs::packets(256);
        let now = Instant::from_secs(1000);
        Self {
            host: Host::new(&settings, HOST_MAC, [9; 16], now),
            wire: Wire::new(packets),
            now,
            driver,
            _memory: memory,
        }
    }

    /// Gives the host a frame. What it answers is at [`Lab::sent`].
    pub fn receive<'a>(&mut self, frame: &'a [u8]) -> Received<'a> {
        self.host.receive(frame, &mut self.wire, self.now)
    }

    /// Gives the host a frame, and returns what it answers.
    pub fn answer(&mut self, frame: &[u8]) -> Vec<Vec<u8>> {
        self.sent();
        self.receive(frame);
        self.sent()
    }

    /// Returns the frames that the host has sent.
    pub fn sent(&mut self) -> Vec<Vec<u8>> {
        self.wire.sleep(false);
        core::iter::from_fn(|| pairs::sent(&mut self.driver)).collect()
    }

    /// Moves the time on, with all that is due meanwhile. Returns the frames that the host sends, with the time in
    /// milliseconds since the call.
    pub fn run(&mut self, milliseconds: u64) -> Vec<(i64, Vec<u8>)> {
        let (begin, mut frames) = (self.now, vec![]);
        let end = begin + Duration::from_millis(milliseconds);
        let mut steps = 0;
        loop {
            self.host.maintain(&mut self.wire, self.now);
            let at = self.now.total_millis() - begin.total_millis();
            frames.extend(self.sent().into_iter().map(|frame| (at, frame)));
            let Some(next) = self.host.deadline(self.now).filter(|it| *it <= end) else {
                break;
            };
            self.now = next.max(self.now);
            steps += 1;
            assert!(steps < 100_000, "the host does not come to rest");
        }
        self.now = end;
        frames
    }

    /// Sends a segment with this payload, as a connection does.
    pub fn send(&mut self, to: Ipv4Address, payload: &[u8]) -> Sent {
        let segment = outgoing(to.into(), payload);
        self.host.send(&mut self.wire, &segment, self.now)
    }

    /// Sends a segment that waits in the host.
    pub fn send_keeping(&mut self, to: Ipv4Address, payload: &[u8]) -> Sent {
        let segment = outgoing(to.into(), payload);
        self.host.send_keeping(&mut self.wire, &segment, self.now)
    }

    /// Makes a neighbour known by a request of its own.
    pub fn introduce(&mut self, address: Ipv4Address, hardware: EthernetAddress) {
        self.receive(&arp(ArpOperation::Request, (hardware, address), HOST));
        self.sent();
    }

    pub fn resolutions(&mut self) -> Vec<Resolution> {
        core::iter::from_fn(|| self.host.resolution()).collect()
    }

    pub fn notices(&mut self) -> Vec<HostNotice> {
        core::iter::from_fn(|| self.host.notice()).collect()
    }
}

/// Returns settings with a fixed IPv4 address and without IPv6.
pub(crate) fn fixed(address: &str, gateway: Option<Ipv4Address>) -> Settings {
    Settings {
        ipv4: Ipv4Setting::Fixed {
            address: address.parse().unwrap(),
            gateway,
        },
        ..Settings::NONE
    }
}

fn outgoing(to: IpAddress, payload: &[u8]) -> Outgoing<'_> {
    let middle = payload.len() / 3;
    Outgoing {
        local: IpEndpoint::new(HOST.into(), 80),
        remote: IpEndpoint::new(to, 40000),
        header: Header {
            flags: Flags::ACK,
            ..Header::default()
        },
        payload: [&payload[..middle], &payload[middle..]],
    }
}

/// Returns an Ethernet frame.
pub(crate) fn ethernet(
    from: EthernetAddress,
    to: EthernetAddress,
    kind: EthernetProtocol,
    payload: &[u8],
) -> Vec<u8> {
    let mut bytes = vec![0; 14 + payload.len()];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes[..]);
    frame.set_src_addr(from);
    frame.set_dst_addr(to);
    frame.set_ethertype(kind);
    frame.payload_mut().copy_from_slice(payload);
    bytes
}

/// Returns an ARP packet in a frame: a request is broadcast, a reply goes to the host.
pub(crate) fn arp(
    operation: ArpOperation,
    (hardware, sender): (EthernetAddress, Ipv4Address),
    target: Ipv4Address,
) -> Vec<u8> {
    let reply = operation == ArpOperation::Reply;
    let repr = ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr: hardware,
        source_protocol_addr: sender,
        target_hardware_addr: if reply {
            HOST_MAC
        } else {
            EthernetAddress::default()
        },
        target_protocol_addr: target,
    };
    let mut bytes = vec![0; repr.buffer_len()];
    repr.emit(&mut ArpPacket::new_unchecked(&mut bytes[..]));
    let to = if reply {
        HOST_MAC
    } else {
        EthernetAddress::BROADCAST
    };
    ethernet(hardware, to, EthernetProtocol::Arp, &bytes)
}

/// Reads the ARP packet in a frame. Returns the frame's destination, and operation, sender, target
/// hardware and target.
pub(crate) fn arp_in(
    frame: &[u8],
) -> Option<(
    EthernetAddress,
    (ArpOperation, Ipv4Address, EthernetAddress, Ipv4Address),
)> {
    let ethernet = EthernetFrame::new_checked(frame).unwrap();
    if ethernet.ethertype() != EthernetProtocol::Arp {
        return None;
    }
    assert_eq!(ethernet.src_addr(), HOST_MAC);
    let packet = ArpPacket::new_checked(ethernet.payload()).unwrap();
    let ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr,
        source_protocol_addr,
        target_hardware_addr,
        target_protocol_addr,
    } = ArpRepr::parse(&packet).unwrap()
    else {
        panic!("{packet}");
    };
    assert_eq!(source_hardware_addr, HOST_MAC);
    let fields = (
        operation,
        source_protocol_addr,
        target_hardware_addr,
        target_protocol_addr,
    );
    Some((ethernet.dst_addr(), fields))
}

/// Returns the addresses that these frames request.
pub(crate) fn asked(frames: &[Vec<u8>]) -> Vec<Ipv4Address> {
    let packets = frames.iter().filter_map(|frame| arp_in(frame));
    let requests = packets.filter(|(_, packet)| packet.0 == ArpOperation::Request);
    requests.map(|(_, packet)| packet.3).collect()
}

/// An IPv4 packet to be put into a frame; the fields may be changed.
#[derive(Clone)]
pub(crate) struct Packet {
    pub from: EthernetAddress,
    pub to: EthernetAddress,
    pub source: Ipv4Address,
    pub destination: Ipv4Address,
    pub protocol: IpProtocol,
    pub options: Vec<u8>,
    pub payload: Vec<u8>,
    /// Flags and fragment offset.
    pub fragment: u16,
    pub time_to_live: u8,
}

impl Packet {
    /// Returns a packet from the peer to the host.
    pub fn new(protocol: IpProtocol, payload: &[u8]) -> Self {
        Self {
            from: PEER_MAC,
            to: HOST_MAC,
            source: PEER,
            destination: HOST,
            protocol,
            options: vec![],
            payload: payload.into(),
            fragment: 0,
            time_to_live: 64,
        }
    }

    /// Returns a SYN to port 80.
    pub fn syn() -> Self {
        let mut packet = Self::new(IpProtocol::Tcp, &[]);
        packet.fill_syn();
        packet
    }

    /// Makes the payload a SYN that fits the addresses.
    pub fn fill_syn(&mut self) {
        let repr = TcpRepr {
            src_port: 40000,
            dst_port: 80,
            control: TcpControl::Syn,
            seq_number: TcpSeqNumber(7),
            ack_number: None,
            window_len: 1000,
            window_scale: None,
            max_seg_size: Some(1460),
            sack_permitted: false,
            sack_ranges: [None; 3],
            timestamp: None,
            payload: &[],
        };
        self.payload = vec![0; repr.buffer_len()];
        let mut segment = TcpPacket::new_unchecked(&mut self.payload[..]);
        let (source, destination) = (self.source.into(), self.destination.into());
        repr.emit(
            &mut segment,
            &source,
            &destination,
            &ChecksumCapabilities::default(),
        );
    }

    /// A datagram.
    pub fn udp(ports: (u16, u16), data: &[u8]) -> Self {
        let repr = UdpRepr {
            src_port: ports.0,
            dst_port: ports.1,
        };
        let mut payload = vec![0; 8 + data.len()];
        repr.emit(
            &mut UdpPacket::new_unchecked(&mut payload[..]),
            &PEER.into(),
            &HOST.into(),
            data.len(),
            |bytes| bytes.copy_from_slice(data),
            &ChecksumCapabilities::default(),
        );
        Self::new(IpProtocol::Udp, &payload)
    }

    /// An ICMP message.
    pub fn icmp(repr: &Icmpv4Repr<'_>) -> Self {
        let mut payload = vec![0; repr.buffer_len()];
        let checksums = ChecksumCapabilities::default();
        repr.emit(
            &mut Icmpv4Packet::new_unchecked(&mut payload[..]),
            &checksums,
        );
        Self::new(IpProtocol::Icmp, &payload)
    }

    pub fn echo(data: &[u8]) -> Self {
        Self::icmp(&Icmpv4Repr::EchoRequest {
            ident: 7,
            seq_no: 9,
            data,
        })
    }

    pub fn source(mut self, source: Ipv4Address) -> Self {
        self.source = source;
        self
    }

    pub fn destination(mut self, destination: Ipv4Address) -> Self {
        self.destination = destination;
        self
    }

    pub fn to(mut self, to: EthernetAddress) -> Self {
        self.to = to;
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let header = 20 + self.options.len();
        let mut bytes = vec![0; header + self.payload.len()];
        let mut packet = Ipv4Packet::new_unchecked(&mut bytes[..]);
        packet.set_version(4);
        packet.set_header_len(header as u8);
        packet.set_total_len((header + self.payload.len()) as u16);
        packet.set_hop_limit(self.time_to_live);
        packet.set_next_header(self.protocol);
        packet.set_src_addr(self.source);
        packet.set_dst_addr(self.destination);
        bytes[6..8].copy_from_slice(&self.fragment.to_be_bytes());
        bytes[20..header].copy_from_slice(&self.options);
        bytes[header..].copy_from_slice(&self.payload);
        Ipv4Packet::new_unchecked(&mut bytes[..]).fill_checksum();
        bytes
    }

    pub fn frame(&self) -> Vec<u8> {
        ethernet(self.from, self.to, EthernetProtocol::Ipv4, &self.bytes())
    }
}

/// Returns the IPv4 packet in a frame of the host, and verifies its checksums.
pub(crate) fn ipv4_in(frame: &[u8]) -> Option<(EthernetAddress, Ipv4Repr, &[u8])> {
    let ethernet = EthernetFrame::new_checked(frame).unwrap();
    if ethernet.ethertype() != EthernetProtocol::Ipv4 {
        return None;
    }
    assert_eq!(ethernet.src_addr(), HOST_MAC);
    let packet = Ipv4Packet::new_checked(ethernet.payload()).unwrap();
    let repr = Ipv4Repr::parse(&packet, &ChecksumCapabilities::default()).unwrap();
    let (source, destination) = (repr.src_addr.into(), repr.dst_addr.into());
    let payload = packet.payload();
    let correct = match repr.next_header {
        IpProtocol::Tcp => TcpPacket::new_checked(payload)
            .unwrap()
            .verify_checksum(&source, &destination),
        IpProtocol::Udp => UdpPacket::new_checked(payload)
            .unwrap()
            .verify_checksum(&source, &destination),
        IpProtocol::Icmp => Icmpv4Packet::new_checked(payload)
            .unwrap()
            .verify_checksum(),
        protocol => panic!("{protocol}"),
    };
    assert!(correct);
    Some((ethernet.dst_addr(), repr, payload))
}

/// Returns the payload of the segment in a frame, and the frame's destination.
pub(crate) fn segment_in(frame: &[u8]) -> Option<(EthernetAddress, Vec<u8>)> {
    let (to, repr, payload) = ipv4_in(frame)?;
    let segment = Segment::parse(repr.src_addr.into(), repr.dst_addr.into(), payload).ok()?;
    Some((to, segment.payload.to_vec()))
}
