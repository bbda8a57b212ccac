//! Many connections, and many that are not meant.

use smoltcp::socket::tcp::State;
use smoltcp::wire::Ipv4Address;

use super::{converse, pattern, receive};
use crate::settings::{Ipv6Setting, Settings};
use crate::testing::world::{Program, World, settings};
use crate::testing::{STACK, frames};

#[test]
fn two_hundred_and_fifty_six_connections_work_at_once() {
    let mut world = World::new(Program::Echo, 256, 1024);
    let handles: Vec<_> = (0..256)
        .map(|number| world.host.connect(40000 + number, (STACK.into(), 80)))
        .collect();
    world.until("all are open", |world| {
        world.stack.counters().connections_open == 256
    });
    let mut received = vec![vec![]; 256];
    for (number, handle) in handles.iter().enumerate() {
        let bytes = pattern(3000 + number);
        assert_eq!(world.host.tcp(*handle).send_slice(&bytes), Ok(bytes.len()));
    }
    world.until("all are answered", |world| {
        for (handle, received) in handles.iter().zip(&mut received) {
            receive(world.host.tcp(*handle), received);
        }
        received
            .iter()
            .enumerate()
            .all(|(number, bytes)| bytes.len() == 3000 + number)
    });
    for (number, bytes) in received.iter().enumerate() {
        assert!(*bytes == pattern(3000 + number), "connection {number}");
    }
    for handle in &handles {
        world.host.tcp(*handle).close();
    }
    world.until("all are closed", |world| {
        world.stack.counters().connections_open == 0
    });
    assert_eq!(world.stack.counters().connections_reset, 0);
}

/// SYNs from everywhere whose senders never answer.
#[test]
fn a_flood_of_syns_takes_nothing_from_established_connections() {
    let mut world = World::new(Program::Echo, 16, 1024);
    let handles: Vec<_> = (0..8)
        .map(|number| world.host.connect(40000 + number, (STACK.into(), 80)))
        .collect();
    world.until("all are open", |world| {
        world.stack.counters().connections_open == 8
    });
    for number in 0..5000u32 {
        let source = Ipv4Address::from_bits(0x0a00_0003 + number % 200);
        let repr = frames::syn_repr(1024 + (number % 60000) as u16, 80);
        world.inject(&frames::segment(source, &repr));
        if number % 50 == 0 {
            world.run(1);
        }
    }
    assert_eq!(world.stack.counters().connections_open, 8);
    let message = pattern(500);
    for handle in &handles {
        assert_eq!(world.host.tcp(*handle).state(), State::Established);
        world.host.tcp(*handle).send_slice(&message).unwrap();
    }
    world.run(100);
    for handle in &handles {
        let mut received = vec![];
        receive(world.host.tcp(*handle), &mut received);
        assert!(received == message);
    }
    // Slots ran short, so cookies answered, and a newcomer gets in while the flood's first handshakes are still there.
    assert!(world.stack.counters().syn_cookies >= 4900);
    assert_eq!(world.stack.counters().handshakes_failed, 0);
    assert!(converse(&mut world, 45000, &message) == message);
}

#[test]
fn handshakes_that_nobody_finishes_end() {
    let settings = Settings {
        ipv6: Ipv6Setting::Off,
        ..settings()
    };
    let mut world = World::with(settings, &[(Program::Echo, 80, 4, 1024)]);
    for number in 0..4 {
        let source = Ipv4Address::new(10, 0, 0, 100 + number);
        world.inject(&frames::segment(source, &frames::syn_repr(50000, 80)));
    }
    world.run(15_000);
    // Two took slots, and for as many as were unfinished a slot stayed free.
    assert_eq!(world.stack.counters().handshakes_failed, 2);
    assert_eq!(world.stack.counters().syn_cookies, 2);
    assert_eq!(world.alarm, None, "nothing is left to wait for");
}
