//! The link goes down and comes back, and paths are narrow.

use channel::packets::Link;
use smoltcp::wire::{Icmpv4DstUnreachable, Icmpv4Packet, Icmpv4Repr, Ipv4Repr};

use super::{pattern, receive};
use crate::testing::world::{Program, World};
use crate::testing::{PEER, STACK, STACK_MAC, frames};

fn link(up: bool) -> Link {
    Link {
        address: STACK_MAC.0,
        up,
        mtu: 1500,
    }
}

/// A download that is in progress when the link goes down for 8 s continues at once when it is
/// back.
#[test]
fn a_download_goes_on_when_the_link_is_back() {
    let mut world = World::new(Program::Watch, 2, 4096);
    let handle = world.host.connect(40000, (STACK.into(), 80));
    world.until("it is open", |world| {
        !world.services[0].connections.is_empty()
    });
    let id = world.services[0].only();
    let bytes = pattern(100_000);
    let (mut written, mut received) = (0, vec![]);
    let mut step = |world: &mut World| {
        written += world.services[0].port.write(id, &bytes[written..]);
        world.services[0].port.flush();
        world.run(2);
        receive(world.host.tcp(handle), &mut received);
        received.len()
    };
    while step(&mut world) < 20_000 {}
    world.faults.lost = 100;
    world.driver.set_link(link(false));
    for _ in 0..4000 {
        step(&mut world);
    }
    let before = step(&mut world);
    assert!(before < 100_000);
    world.faults.lost = 0;
    world.driver.set_link(link(true));
    for _ in 0..10 {
        step(&mut world);
    }
    assert!(step(&mut world) > before, "within 20 ms");
    while step(&mut world) < 100_000 {}
    assert!(received == bytes);
    assert_eq!(world.stack.counters().connections_reset, 0);
}

/// A router reports that a segment in flight was too long: it is sent again in shorter ones, and the path stays narrow.
#[test]
fn a_report_of_a_narrow_path_is_followed() {
    let mut world = World::new(Program::Watch, 2, 8192);
    world.host.connect(40000, (STACK.into(), 80));
    world.until("it is open", |world| {
        !world.services[0].connections.is_empty()
    });
    let id = world.services[0].only();
    world.seen.clear();
    world.faults.lost = 100;
    world.services[0].port.write(id, &pattern(3000));
    world.services[0].port.flush();
    world.settle();
    let long = |world: &World| {
        let segments = world
            .seen
            .iter()
            .filter(|frame| frames::tcp(frame).is_some());
        segments.map(Vec::len).max().unwrap_or(0)
    };
    assert_eq!(long(&world), 1514);
    let quoted = world
        .seen
        .iter()
        .find(|frame| frame.len() == 1514)
        .expect("a long one");
    let header = Ipv4Repr {
        src_addr: STACK,
        dst_addr: PEER,
        next_header: smoltcp::wire::IpProtocol::Tcp,
        payload_len: 1480,
        hop_limit: 64,
    };
    let mut report = frames::icmpv4(&Icmpv4Repr::DstUnreachable {
        reason: Icmpv4DstUnreachable::FragRequired,
        header,
        data: &quoted[34..62],
    });
    // The MTU of the next hop (RFC 1191, section 4).
    report[40..42].copy_from_slice(&1000u16.to_be_bytes());
    Icmpv4Packet::new_unchecked(&mut report[34..]).fill_checksum();
    world.seen.clear();
    world.inject(&report);
    world.settle();
    assert_eq!(long(&world), 1014);

    // A new connection knows it from the start: its SYN|ACK announces what fits.
    world.seen.clear();
    world.inject(&frames::syn(41000, 80));
    world.settle();
    let answer = world.seen.iter().find_map(|frame| frames::tcp(frame));
    let mss = answer.unwrap().options_summary().unwrap().max_segment_size;
    assert_eq!(mss, Some(960));
}
