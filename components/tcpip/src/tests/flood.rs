//! Many connections, and many that are not meant.

use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::State;
use smoltcp::wire::{Ipv4Address, TcpControl, TcpRepr, TcpSeqNumber};

use super::{converse, pattern, receive};
use crate::settings::{Ipv6Setting, Settings};
use crate::testing::world::{Program, World, settings};
use crate::testing::{PEER, PEER_MAC, STACK, frames};

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

/// Clients of the host that send a message each and wait for its echo.
struct Clients {
    handles: Vec<SocketHandle>,
    message: Vec<u8>,
    received: Vec<Vec<u8>>,
    closed: Vec<bool>,
}

impl Clients {
    fn connect(world: &mut World, count: u16) -> Self {
        let handles: Vec<_> = (0..count)
            .map(|number| world.host.connect(45000 + number, (STACK.into(), 80)))
            .collect();
        Self {
            message: pattern(500),
            received: vec![vec![]; handles.len()],
            closed: vec![false; handles.len()],
            handles,
        }
    }

    /// Lets each client send, close and receive. Returns whether all have their answers.
    fn work(&mut self, world: &mut World) -> bool {
        for (index, handle) in self.handles.iter().enumerate() {
            let socket = world.host.tcp(*handle);
            if socket.can_send() && !self.closed[index] && socket.send_queue() == 0 {
                socket.send_slice(&self.message).unwrap();
                socket.close();
                self.closed[index] = true;
            }
            receive(socket, &mut self.received[index]);
        }
        self.received
            .iter()
            .all(|received| *received == self.message)
    }

    fn unanswered(&self) -> usize {
        let whole = |received: &&Vec<u8>| **received != self.message;
        self.received.iter().filter(whole).count()
    }
}

/// More clients at once than slots: all are answered, and none is reset.
#[test]
fn more_clients_than_slots_are_answered_one_after_another() {
    let mut world = World::new(Program::Echo, 16, 1024);
    let mut clients = Clients::connect(&mut world, 60);
    world.until("all are answered", |world| clients.work(world));
    let counters = world.stack.counters();
    assert_eq!(counters.connections_total, 60);
    assert_eq!((counters.connections_reset, counters.resets_sent), (0, 0));
    assert!(counters.syn_cookies > 0 && counters.refused_full > 0);
    assert!(world.now < 60_000_000_000, "{}", world.now);
}

/// 5,000 SYNs a second from forged neighbours for 4 s: no client beside them is reset or waits for long.
#[test]
fn clients_beside_a_flood_of_syns_are_answered() {
    let mut world = World::new(Program::Echo, 64, 1024);
    let mut clients = None;
    for round in 0..400u32 {
        for number in 0..50 {
            let forged = round * 50 + number;
            let source = Ipv4Address::from_bits(0x0a00_0003 + forged % 250);
            let repr = frames::syn_repr(1024 + (forged % 60000) as u16, 80);
            world.inject(&frames::segment(source, &repr));
        }
        world.run(10);
        if round == 100 {
            clients = Some(Clients::connect(&mut world, 10));
        }
        if let Some(clients) = &mut clients {
            clients.work(&mut world);
        }
        if round == 300 {
            assert_eq!(clients.as_ref().map(Clients::unanswered), Some(0));
        }
    }
    let counters = world.stack.counters();
    assert_eq!(counters.connections_total, 10);
    assert_eq!((counters.connections_reset, counters.resets_sent), (0, 0));
}

/// Slots were short when a peer sent its SYN, and not when it repeated it: both SYN|ACKs may be answered.
#[test]
fn a_cookie_is_good_while_a_second_handshake_runs() {
    for cookie in [true, false] {
        let mut world = World::new(Program::Echo, 2, 1024);
        let first = world.host.connect(40000, (STACK.into(), 80));
        world.run(100);
        let number = |world: &mut World| {
            world.seen.clear();
            world.inject(&frames::syn(41000, 80));
            world.settle();
            let answer = world.seen.iter().find_map(|frame| frames::tcp(frame));
            answer.expect("a SYN|ACK").seq_number()
        };
        let numbers = [number(&mut world), {
            world.host.tcp(first).close();
            world.until("the slot is free", |world| {
                world.stack.counters().connections_open == 0
            });
            world.run(10_000);
            number(&mut world)
        }];
        assert_eq!(world.stack.counters().syn_cookies, 1);
        assert_ne!(numbers[0], numbers[1]);
        let opened = world.stack.counters().connections_total;
        let repr = TcpRepr {
            control: TcpControl::None,
            seq_number: TcpSeqNumber(1001),
            ack_number: Some(numbers[usize::from(!cookie)] + 1),
            window_scale: None,
            max_seg_size: None,
            sack_permitted: false,
            ..frames::syn_repr(41000, 80)
        };
        world.inject(&frames::segment(PEER, &repr));
        world.settle();
        assert_eq!(world.stack.counters().connections_total, opened + 1);
        assert_eq!(world.stack.counters().resets_sent, 0);
    }
}

/// Resets for segments of no connection are limited, and never answer one.
#[test]
fn segments_of_no_connection_cause_a_limited_number_of_resets() {
    let mut world = World::new(Program::Echo, 2, 1024);
    world.inject(&frames::arp_request(PEER_MAC));
    for number in 0..2000u16 {
        let control = match number % 2 {
            0 => TcpControl::None,
            _ => TcpControl::Rst,
        };
        let repr = TcpRepr {
            control,
            ack_number: None,
            ..frames::syn_repr(1000 + number, 81 + number % 3)
        };
        world.inject(&frames::segment(PEER, &repr));
        world.settle();
    }
    assert_eq!(world.stack.counters().resets_sent, 1000);
    let resets = world.seen.iter().filter_map(|frame| frames::tcp(frame));
    for reset in resets {
        assert!(reset.rst() && reset.ack());
        assert_eq!(reset.seq_number(), TcpSeqNumber(0));
        assert_eq!(reset.ack_number(), TcpSeqNumber(1000));
    }
}
