//! A small world for tests: a plain smoltcp host, the driver's and the consumers' ends of the stack's channels,
//! and a network between them that loses, repeats and reorders frames as it is told.

use std::collections::{BTreeMap, VecDeque};

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{self, Device, DeviceCapabilities, Medium};
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{
    EthernetAddress, HardwareAddress, IpAddress, IpCidr, Ipv4Address, TcpSeqNumber,
};

pub(crate) mod pairs;
pub(crate) mod world;

pub(crate) const STACK_MAC: EthernetAddress = EthernetAddress([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
pub(crate) const PEER_MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 2]);
pub(crate) const STACK: Ipv4Address = Ipv4Address::new(10, 0, 0, 1);
pub(crate) const PEER: Ipv4Address = Ipv4Address::new(10, 0, 0, 2);

/// Frames made by hand.
pub(crate) mod frames {
    use smoltcp::phy::ChecksumCapabilities;
    use smoltcp::wire::*;

    use super::{PEER, PEER_MAC, STACK, STACK_MAC};

    fn ethernet(kind: EthernetProtocol, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; 14 + length];
        let mut frame = EthernetFrame::new_unchecked(&mut bytes);
        frame.set_src_addr(PEER_MAC);
        frame.set_dst_addr(STACK_MAC);
        frame.set_ethertype(kind);
        bytes
    }

    /// A TCP segment from any endpoint to the stack.
    pub(crate) fn segment(source: Ipv4Address, repr: &TcpRepr<'_>) -> Vec<u8> {
        let ip = Ipv4Repr {
            src_addr: source,
            dst_addr: STACK,
            next_header: IpProtocol::Tcp,
            payload_len: repr.buffer_len(),
            hop_limit: 64,
        };
        let checksums = ChecksumCapabilities::default();
        let mut bytes = ethernet(EthernetProtocol::Ipv4, ip.buffer_len() + repr.buffer_len());
        let mut packet = Ipv4Packet::new_unchecked(&mut bytes[14..]);
        ip.emit(&mut packet, &checksums);
        let mut segment = TcpPacket::new_unchecked(packet.payload_mut());
        repr.emit(&mut segment, &source.into(), &STACK.into(), &checksums);
        bytes
    }

    /// The TCP segment in a frame.
    pub(crate) fn tcp(frame: &[u8]) -> Option<TcpPacket<&[u8]>> {
        let ethernet = EthernetFrame::new_checked(frame).ok()?;
        let bytes = match ethernet.ethertype() {
            EthernetProtocol::Ipv4 => {
                let packet = Ipv4Packet::new_checked(ethernet.payload()).ok()?;
                (packet.next_header() == IpProtocol::Tcp).then(|| packet.payload())
            }
            EthernetProtocol::Ipv6 => {
                let packet = Ipv6Packet::new_checked(ethernet.payload()).ok()?;
                (packet.next_header() == IpProtocol::Tcp).then(|| packet.payload())
            }
            _ => None,
        };
        TcpPacket::new_checked(bytes?).ok()
    }

    /// Makes the checksum of a frame's IPv4 header right.
    pub(crate) fn mend(frame: &mut [u8]) {
        Ipv4Packet::new_unchecked(&mut frame[14..]).fill_checksum();
    }

    /// What asks for a connection.
    pub(crate) fn syn_repr(source: u16, destination: u16) -> TcpRepr<'static> {
        TcpRepr {
            src_port: source,
            dst_port: destination,
            control: TcpControl::Syn,
            seq_number: TcpSeqNumber(1000),
            ack_number: None,
            window_len: 8192,
            window_scale: Some(0),
            max_seg_size: Some(1460),
            sack_permitted: true,
            sack_ranges: [None; 3],
            timestamp: None,
            payload: &[],
        }
    }

    /// A SYN from the peer.
    pub(crate) fn syn(source: u16, destination: u16) -> Vec<u8> {
        segment(PEER, &syn_repr(source, destination))
    }

    /// An ICMP message from the peer.
    pub(crate) fn icmpv4(repr: &Icmpv4Repr<'_>) -> Vec<u8> {
        let ip = Ipv4Repr {
            src_addr: PEER,
            dst_addr: STACK,
            next_header: IpProtocol::Icmp,
            payload_len: repr.buffer_len(),
            hop_limit: 64,
        };
        let checksums = ChecksumCapabilities::default();
        let mut bytes = ethernet(EthernetProtocol::Ipv4, ip.buffer_len() + repr.buffer_len());
        let mut packet = Ipv4Packet::new_unchecked(&mut bytes[14..]);
        ip.emit(&mut packet, &checksums);
        repr.emit(
            &mut Icmpv4Packet::new_unchecked(packet.payload_mut()),
            &checksums,
        );
        bytes
    }

    /// A ping over IPv6.
    pub(crate) fn icmpv6_echo(source: Ipv6Address, destination: Ipv6Address) -> Vec<u8> {
        let repr = Icmpv6Repr::EchoRequest {
            ident: 1,
            seq_no: 2,
            data: b"ping",
        };
        let ip = Ipv6Repr {
            src_addr: source,
            dst_addr: destination,
            next_header: IpProtocol::Icmpv6,
            payload_len: repr.buffer_len(),
            hop_limit: 64,
        };
        let mut bytes = ethernet(EthernetProtocol::Ipv6, ip.buffer_len() + repr.buffer_len());
        let mut packet = Ipv6Packet::new_unchecked(&mut bytes[14..]);
        ip.emit(&mut packet);
        let mut message = Icmpv6Packet::new_unchecked(packet.payload_mut());
        repr.emit(
            &source,
            &destination,
            &mut message,
            &ChecksumCapabilities::default(),
        );
        bytes
    }

    /// A DHCP server's message.
    pub(crate) fn dhcp(repr: &DhcpRepr<'_>) -> Vec<u8> {
        let mut message = vec![0; repr.buffer_len()];
        repr.emit(&mut DhcpPacket::new_unchecked(&mut message[..]))
            .unwrap();
        let udp = UdpRepr {
            src_port: 67,
            dst_port: 68,
        };
        let ip = Ipv4Repr {
            src_addr: PEER,
            dst_addr: STACK,
            next_header: IpProtocol::Udp,
            payload_len: 8 + message.len(),
            hop_limit: 64,
        };
        let checksums = ChecksumCapabilities::default();
        let mut bytes = ethernet(EthernetProtocol::Ipv4, ip.buffer_len() + 8 + message.len());
        let mut packet = Ipv4Packet::new_unchecked(&mut bytes[14..]);
        ip.emit(&mut packet, &checksums);
        let (source, destination) = (PEER.into(), STACK.into());
        udp.emit(
            &mut UdpPacket::new_unchecked(packet.payload_mut()),
            &source,
            &destination,
            message.len(),
            |payload| payload.copy_from_slice(&message),
            &checksums,
        );
        bytes
    }

    /// Returns the peer's answer to a request for its hardware address.
    pub(crate) fn arp_reply(hardware: EthernetAddress) -> Vec<u8> {
        arp(ArpOperation::Reply, hardware)
    }

    /// Returns the peer's request for the stack's hardware address, which contains its own.
    pub(crate) fn arp_request(hardware: EthernetAddress) -> Vec<u8> {
        arp(ArpOperation::Request, hardware)
    }

    fn arp(operation: ArpOperation, hardware: EthernetAddress) -> Vec<u8> {
        let repr = ArpRepr::EthernetIpv4 {
            operation,
            source_hardware_addr: hardware,
            source_protocol_addr: PEER,
            target_hardware_addr: STACK_MAC,
            target_protocol_addr: STACK,
        };
        let mut bytes = ethernet(EthernetProtocol::Arp, repr.buffer_len());
        repr.emit(&mut ArpPacket::new_unchecked(&mut bytes[14..]));
        bytes
    }

    /// A router advertisement with one prefix.
    pub(crate) fn router_advertisement(prefix: [u8; 16], length: u8) -> Vec<u8> {
        let router = Ipv6Address::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
        let all_nodes = Ipv6Address::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
        let mut advertisement = vec![134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0];
        advertisement.extend([
            3, 4, length, 0xc0, 0, 0, 0x0e, 0x10, 0, 0, 0x0e, 0x10, 0, 0, 0, 0,
        ]);
        advertisement.extend(prefix);
        let mut packet = Icmpv6Packet::new_unchecked(&mut advertisement[..]);
        packet.fill_checksum(&router, &all_nodes);
        let ip = Ipv6Repr {
            src_addr: router,
            dst_addr: all_nodes,
            next_header: IpProtocol::Icmpv6,
            payload_len: advertisement.len(),
            hop_limit: 255,
        };
        let mut bytes = ethernet(
            EthernetProtocol::Ipv6,
            ip.buffer_len() + advertisement.len(),
        );
        let mut packet = Ipv6Packet::new_unchecked(&mut bytes[14..]);
        ip.emit(&mut packet);
        packet.payload_mut().copy_from_slice(&advertisement);
        let mut frame = EthernetFrame::new_unchecked(&mut bytes);
        frame.set_dst_addr(EthernetAddress([0x33, 0x33, 0, 0, 0, 1]));
        bytes
    }
}

/// A host that is nothing but smoltcp, and keeps within the window.
pub(crate) struct Host {
    interface: Interface,
    pub sockets: SocketSet<'static>,
    queues: Queues,
    /// By the host's port: the end of the window that it was given last, which the stack never takes back.
    windows: BTreeMap<u16, TcpSeqNumber>,
}

/// A device whose frames are in two queues.
#[derive(Default)]
pub(crate) struct Queues {
    pub inbox: VecDeque<Vec<u8>>,
    pub outbox: VecDeque<Vec<u8>>,
}

impl Host {
    pub fn new(hardware: EthernetAddress, addresses: &[IpCidr], seed: u64) -> Self {
        let mut queues = Queues::default();
        let mut config = Config::new(HardwareAddress::Ethernet(hardware));
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut queues, Instant::ZERO);
        interface.update_ip_addrs(|own| own.extend(addresses.iter().copied()));
        Self {
            interface,
            sockets: SocketSet::new(vec![]),
            queues,
            windows: BTreeMap::new(),
        }
    }

    pub fn poll(&mut self, now: Instant) {
        self.interface
            .poll(now, &mut self.queues, &mut self.sockets);
    }

    pub fn deadline(&mut self, now: Instant) -> Option<Instant> {
        self.interface.poll_at(now, &self.sockets)
    }

    pub fn deliver(&mut self, frame: Vec<u8>) {
        if let Some(segment) = frames::tcp(&frame)
            && segment.ack()
        {
            let end = segment.ack_number() + usize::from(segment.window_len());
            let known = self.windows.entry(segment.dst_port()).or_insert(end);
            *known = match segment.syn() {
                true => end,
                false => end.max(*known),
            };
        }
        self.queues.inbox.push_back(frame);
    }

    pub fn sent(&mut self) -> Option<Vec<u8>> {
        loop {
            let frame = self.queues.outbox.pop_front()?;
            if !self.oversteps(&frame) {
                return Some(frame);
            }
        }
    }

    /// Whether a frame carries more than the window has room for. A fast retransmission of smoltcp 0.14 may, and if the
    /// receiver takes a part of it and closes the window, smoltcp's probes are empty and nobody answers them.
    fn oversteps(&self, frame: &[u8]) -> bool {
        frames::tcp(frame).is_some_and(|segment| {
            let end = segment.seq_number() + segment.payload().len();
            let window = self.windows.get(&segment.src_port());
            // A probe is one byte beyond the window.
            segment.payload().len() > 1 && window.is_some_and(|window| end > *window)
        })
    }

    /// Opens a connection from a port of this host.
    pub fn connect(&mut self, from: u16, to: (IpAddress, u16)) -> SocketHandle {
        let handle = self.sockets.add(socket(65536));
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(handle);
        socket.connect(self.interface.context(), to, from).unwrap();
        handle
    }

    /// Waits for a connection.
    pub fn listen(&mut self, port: u16) -> SocketHandle {
        let handle = self.sockets.add(socket(65536));
        self.tcp(handle).listen(port).unwrap();
        handle
    }

    pub fn tcp(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }
}

fn socket(buffer: usize) -> tcp::Socket<'static> {
    let mut socket = tcp::Socket::new(
        tcp::SocketBuffer::new(vec![0; buffer]),
        tcp::SocketBuffer::new(vec![0; buffer]),
    );
    socket.set_nagle_enabled(false);
    // smoltcp forgets to probe a window that an old segment seems to close; probes for life wake it up.
    socket.set_keep_alive(Some(smoltcp::time::Duration::from_secs(20)));
    socket
}

impl Device for Queues {
    type RxToken<'a> = Taken;
    type TxToken<'a> = Outbox<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Taken, Outbox<'_>)> {
        let frame = self.inbox.pop_front()?;
        Some((Taken(frame), Outbox(&mut self.outbox)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Outbox<'_>> {
        Some(Outbox(&mut self.outbox))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

pub(crate) struct Taken(Vec<u8>);

impl phy::RxToken for Taken {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, parse: F) -> R {
        parse(&self.0)
    }
}

pub(crate) struct Outbox<'a>(&'a mut VecDeque<Vec<u8>>);

impl phy::TxToken for Outbox<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, build: F) -> R {
        let mut frame = vec![0; length];
        let result = build(&mut frame);
        self.0.push_back(frame);
        result
    }
}
