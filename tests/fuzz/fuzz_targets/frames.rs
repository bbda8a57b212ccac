//! The TCP/IP stack whose network sends anything: nothing panics, nothing is endless, and afterwards it still answers.
//!
//! Input: steps of two bytes and what they announce: a kind and a length. Kind 0 is a frame as it stands; 1 and
//! 2 are the body of an IPv4 or IPv6 packet from a neighbor, with right lengths and checksums, so that the
//! layers above see bytes too; 3 lets time pass.
#![no_main]

use std::cell::RefCell;
use std::ptr::NonNull;

use channel::memory::{OwnRegion, PeerRegion};
use channel::packets::{self, Driver, HEADROOM, Link, Pool};
use channel::streams::{self, Provider};
use channel::testing::meet;
use libfuzzer_sys::fuzz_target;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::*;
use tcpip::{Consumer, Ipv4Setting, Ipv6Setting, Keys, Policy, Settings, Stack};

fuzz_target!(|input: &[u8]| MEMORY.with_borrow_mut(|memory| run(memory, input)));

const OURS: EthernetAddress = EthernetAddress([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
const NEIGHBOR: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 2]);
const PACKETS: packets::Layout = match packets::Layout::new(16, 2048) {
    Ok(layout) => layout,
    Err(_) => panic!(),
};
const STREAMS: streams::Layout = match streams::Layout::new(4, 512) {
    Ok(layout) => layout,
    Err(_) => panic!(),
};

thread_local! {
    static MEMORY: RefCell<[Vec<u64>; 5]> = RefCell::new(
        [
            PACKETS.provider_size(),
            PACKETS.consumer_size(),
            PACKETS.pool_size(),
            STREAMS.provider_size(),
            STREAMS.consumer_size(),
        ]
        .map(|size| vec![0; size.div_ceil(8)]),
    );
}

fn run(memory: &mut [Vec<u64>; 5], mut input: &[u8]) {
    let (mut driver, packets, provider) = ends(memory);
    driver.set_link(Link {
        address: OURS.0,
        up: true,
        mtu: 1500,
    });
    let policy = Policy {
        listen: vec![80],
        connect: false,
    };
    let consumer = Consumer {
        name: "service".into(),
        policy,
        provider,
    };
    let settings = Settings {
        ipv4: Ipv4Setting::Fixed {
            address: Ipv4Cidr::new(Ipv4Address::new(10, 0, 0, 1), 24),
            gateway: None,
        },
        ipv6: Ipv6Setting::Automatic,
        ..Settings::NONE
    };
    let keys = Keys::from([7; Keys::LENGTH]);
    let mut stack = Stack::new(settings, packets, vec![consumer], keys, 0).unwrap();
    let mut now = 1_000_000;
    stack.run(now);
    while let [kind, length, rest @ ..] = input {
        let (body, rest) = rest.split_at(rest.len().min(usize::from(*length) * 4));
        input = rest;
        match kind % 4 {
            0 => deliver(&mut driver, body),
            1 => deliver(&mut driver, &ipv4(body)),
            2 => deliver(&mut driver, &ipv6(body)),
            _ => now += u64::from(*length) << 28,
        }
        stack.run(now);
        while let Some((buffer, _)) = driver.next_transmit().unwrap() {
            driver.transmitted(buffer);
        }
    }
    assert_eq!(stack.counters().misbehaved, 0);
    let before = stack.counters().frames_sent;
    deliver(&mut driver, &arp_request());
    stack.run(now);
    assert!(
        stack.counters().frames_sent > before,
        "the stack does not answer any more"
    );
}

/// The ends of the channels, over zeroed memory.
fn ends(memory: &mut [Vec<u64>; 5]) -> (Driver, packets::Stack, Provider) {
    let region = memory.each_mut().map(|region| {
        region.fill(0);
        (
            NonNull::from(&mut region[..]).cast::<u8>(),
            region.len() * 8,
        )
    });
    // SAFETY: the memory is never freed or moved, and the ends of the run before are gone.
    let (own, peers) = unsafe {
        (
            |index: usize| OwnRegion::new(region[index].0, region[index].1).unwrap(),
            |index: usize| PeerRegion::new(region[index].0, region[index].1).unwrap(),
        )
    };
    // SAFETY: as above.
    let pool = || unsafe { Pool::new(region[2].0) };
    let mut provider = Provider::new(STREAMS, own(3), peers(4), || {}).unwrap();
    // A consumer that is there, and then does nothing.
    let mut consumer = streams::Consumer::new(STREAMS, own(4), peers(3), || {}).unwrap();
    meet(&mut provider, &mut consumer);
    (
        Driver::new(PACKETS, own(0), peers(1), pool(), || {}).unwrap(),
        packets::Stack::new(PACKETS, own(1), peers(0), pool(), || {}).unwrap(),
        provider,
    )
}

fn deliver(driver: &mut Driver, frame: &[u8]) {
    if let Some(buffer) = driver.take_receive_buffer().unwrap() {
        // SAFETY: the driver holds the buffer, and nothing else runs.
        let bytes = unsafe { driver.memory(&buffer).as_mut() };
        bytes[HEADROOM..][..frame.len()].copy_from_slice(frame);
        driver.received(buffer, frame.len());
    }
}

fn ethernet(kind: EthernetProtocol, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; 14 + length];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes);
    frame.set_src_addr(NEIGHBOR);
    frame.set_dst_addr(OURS);
    frame.set_ethertype(kind);
    bytes
}

/// The first byte of the body chooses the protocol.
fn ipv4(body: &[u8]) -> Vec<u8> {
    let (choice, payload) = body.split_first().unwrap_or((&0, &[]));
    let protocol = [
        IpProtocol::Tcp,
        IpProtocol::Udp,
        IpProtocol::Icmp,
        IpProtocol::Igmp,
    ][usize::from(choice % 4)];
    let ip = Ipv4Repr {
        src_addr: Ipv4Address::new(10, 0, 0, 2),
        dst_addr: Ipv4Address::new(10, 0, 0, 1),
        next_header: protocol,
        payload_len: payload.len(),
        hop_limit: 64,
    };
    let mut bytes = ethernet(EthernetProtocol::Ipv4, 20 + payload.len());
    let mut packet = Ipv4Packet::new_unchecked(&mut bytes[14..]);
    ip.emit(&mut packet, &ChecksumCapabilities::default());
    packet.payload_mut().copy_from_slice(payload);
    let (source, destination) = (ip.src_addr.into(), ip.dst_addr.into());
    fill_checksum(protocol, packet.payload_mut(), source, destination);
    bytes
}

/// As [`ipv4`], from a link-local address to all nodes.
fn ipv6(body: &[u8]) -> Vec<u8> {
    let (choice, payload) = body.split_first().unwrap_or((&0, &[]));
    let protocol = [
        IpProtocol::Icmpv6,
        IpProtocol::Tcp,
        IpProtocol::HopByHop,
        IpProtocol::Udp,
    ][usize::from(choice % 4)];
    let ip = Ipv6Repr {
        src_addr: Ipv6Address::new(0xfe80, 0, 0, 0, 0, 0, 0, 1),
        dst_addr: Ipv6Address::new(0xff02, 0, 0, 0, 0, 0, 0, 1),
        next_header: protocol,
        payload_len: payload.len(),
        hop_limit: 255,
    };
    let mut bytes = ethernet(EthernetProtocol::Ipv6, 40 + payload.len());
    let mut packet = Ipv6Packet::new_unchecked(&mut bytes[14..]);
    ip.emit(&mut packet);
    packet.payload_mut().copy_from_slice(payload);
    let (source, destination) = (ip.src_addr.into(), ip.dst_addr.into());
    fill_checksum(protocol, packet.payload_mut(), source, destination);
    bytes
}

fn fill_checksum(
    protocol: IpProtocol,
    payload: &mut [u8],
    source: IpAddress,
    destination: IpAddress,
) {
    match (protocol, source, destination) {
        (IpProtocol::Tcp, ..) if payload.len() >= 20 => {
            TcpPacket::new_unchecked(payload).fill_checksum(&source, &destination);
        }
        (IpProtocol::Icmp, ..) if payload.len() >= 8 => {
            Icmpv4Packet::new_unchecked(payload).fill_checksum();
        }
        (IpProtocol::Icmpv6, IpAddress::Ipv6(source), IpAddress::Ipv6(destination))
            if payload.len() >= 8 =>
        {
            Icmpv6Packet::new_unchecked(payload).fill_checksum(&source, &destination);
        }
        _ => {}
    }
}

fn arp_request() -> Vec<u8> {
    let repr = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Request,
        source_hardware_addr: NEIGHBOR,
        source_protocol_addr: Ipv4Address::new(10, 0, 0, 2),
        target_hardware_addr: EthernetAddress([0; 6]),
        target_protocol_addr: Ipv4Address::new(10, 0, 0, 1),
    };
    let mut bytes = ethernet(EthernetProtocol::Arp, repr.buffer_len());
    repr.emit(&mut ArpPacket::new_unchecked(&mut bytes[14..]));
    bytes
}
