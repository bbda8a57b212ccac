//! How connections begin and end, and what becomes of those whose peers or consumers stop.

use channel::streams::{ConsumerEvent, Refusal};
use smoltcp::socket::tcp::State;

use super::{pattern, receive};
use crate::testing::world::{Program, World, settings};
use crate::testing::{STACK, frames};

/// A world with one connection open and nothing sent.
fn open(program: Program) -> (World, smoltcp::iface::SocketHandle) {
    let mut world = World::new(program, 2, 2048);
    let handle = world.host.connect(40000, (STACK.into(), 80));
    world.until("the connection is open", |world| {
        !world.services[0].connections.is_empty() && world.host.tcp(handle).may_send()
    });
    (world, handle)
}

fn is_over(world: &World) -> Option<ConsumerEvent> {
    world.services[0]
        .events
        .iter()
        .rev()
        .find_map(|event| match event {
            ConsumerEvent::Closed(_) | ConsumerEvent::Reset(_) => Some(*event),
            _ => None,
        })
}

#[test]
fn the_consumer_learns_who_connected() {
    let (world, _) = open(Program::Watch);
    let [ConsumerEvent::Opened(_, opened), ..] = world.services[0].events[..] else {
        panic!("{:?}", world.services[0].events);
    };
    assert_eq!(opened.peer, "10.0.0.2:40000".parse().unwrap());
    assert_eq!((opened.local_port, opened.token), (80, None));
}

#[test]
fn the_peer_ends_first_and_still_hears_the_rest() {
    let (mut world, handle) = open(Program::Watch);
    let id = world.services[0].only();
    world.host.tcp(handle).close();
    world.run(100);
    assert!(
        world.services[0]
            .events
            .contains(&ConsumerEvent::HalfClosed(id))
    );
    assert_eq!(is_over(&world), None, "the other direction is open");

    let bytes = pattern(5000);
    let (mut written, mut read) = (0, vec![]);
    world.until("the rest was heard", |world| {
        written += world.services[0].port.write(id, &bytes[written..]);
        if written == bytes.len() {
            world.services[0].port.close(id);
        }
        world.services[0].port.flush();
        receive(world.host.tcp(handle), &mut read);
        is_over(world).is_some()
    });
    assert!(read == bytes);
    assert_eq!(is_over(&world), Some(ConsumerEvent::Closed(id)));
}

#[test]
fn the_consumer_ends_first_and_still_hears_the_rest() {
    let (mut world, handle) = open(Program::Watch);
    let id = world.services[0].only();
    world.services[0].port.close(id);
    world.services[0].port.flush();
    world.run(100);
    assert_eq!(world.host.tcp(handle).state(), State::CloseWait);
    assert_eq!(is_over(&world), None);

    let bytes = pattern(5000);
    let (mut sent, mut read) = (0, vec![]);
    world.until("the rest was heard", |world| {
        let socket = world.host.tcp(handle);
        if sent < bytes.len() {
            sent += socket.send_slice(&bytes[sent..]).unwrap();
        } else {
            socket.close();
        }
        let mut piece = [0; 512];
        let length = world.services[0].port.read(id, &mut piece);
        read.extend_from_slice(&piece[..length]);
        is_over(world).is_some()
    });
    let mut rest = vec![0; 5000];
    let length = world.services[0].port.read(id, &mut rest);
    read.extend_from_slice(&rest[..length]);
    assert_eq!(read.len(), bytes.len());
    assert_eq!(is_over(&world), Some(ConsumerEvent::Closed(id)));
}

#[test]
fn both_end_at_once() {
    let (mut world, handle) = open(Program::Watch);
    let id = world.services[0].only();
    world.services[0].port.close(id);
    world.services[0].port.flush();
    world.host.tcp(handle).close();
    world.until("both know", |world| is_over(world).is_some());
    assert_eq!(is_over(&world), Some(ConsumerEvent::Closed(id)));
    assert_eq!(world.stack.counters().connections_open, 0);
}

#[test]
fn what_was_written_before_the_end_arrives() {
    let (mut world, handle) = open(Program::Watch);
    let id = world.services[0].only();
    let bytes = pattern(2048);
    assert_eq!(world.services[0].port.write(id, &bytes), 2048);
    world.services[0].port.close(id);
    world.services[0].port.flush();
    world.run(1000);
    let mut read = vec![];
    receive(world.host.tcp(handle), &mut read);
    assert!(read == bytes);
    assert_eq!(world.host.tcp(handle).state(), State::CloseWait);
}

#[test]
fn a_reset_by_the_peer_is_reported() {
    let (mut world, handle) = open(Program::Watch);
    let id = world.services[0].only();
    world.host.tcp(handle).abort();
    world.until("the consumer knows", |world| is_over(world).is_some());
    assert_eq!(is_over(&world), Some(ConsumerEvent::Reset(id)));
    assert_eq!(world.stack.counters().connections_reset, 1);
}

#[test]
fn an_abort_by_the_consumer_resets_the_peer_and_frees_the_slot() {
    for release in [false, true] {
        let (mut world, handle) = open(Program::Watch);
        let id = world.services[0].only();
        match release {
            true => world.services[0].port.release(id),
            false => world.services[0].port.abort(id),
        }
        world.services[0].port.flush();
        world.run(100);
        assert_eq!(
            world.host.tcp(handle).state(),
            State::Closed,
            "release: {release}"
        );
        assert_eq!(world.stack.counters().connections_open, 0);
        for number in 0..4 {
            world.host.connect(41000 + number, (STACK.into(), 80));
        }
        world.run(100);
        assert_eq!(
            world.stack.counters().connections_open,
            2,
            "both slots are in use again"
        );
    }
}

#[test]
fn a_peer_that_vanishes_loses_its_slot() {
    let (mut world, _) = open(Program::Watch);
    let id = world.services[0].only();
    world.faults.lost = 100;
    world.run(119_000);
    assert_eq!(is_over(&world), None);
    world.run(30_000);
    assert_eq!(is_over(&world), Some(ConsumerEvent::Reset(id)));
}

#[test]
fn an_idle_peer_that_answers_probes_keeps_its_slot() {
    let (mut world, _) = open(Program::Watch);
    world.run(3_600_000);
    assert_eq!(is_over(&world), None);
    // The peer probes every 20 s, and now and then whether it is still there is checked (RFC 4861): the stack does not poll.
    let frames = world.stack.counters().frames_sent;
    assert!(frames < 400, "{frames} frames in an idle hour");
    let wakeups = world.stack.counters().wakeups;
    assert!(wakeups < 2500, "{wakeups} wake-ups in an idle hour");
}

#[test]
fn a_peer_that_never_closes_is_reset_after_the_consumer_did() {
    let (mut world, handle) = open(Program::Watch);
    let id = world.services[0].only();
    world.services[0].port.close(id);
    world.services[0].port.flush();
    world.run(29_000);
    assert_eq!(is_over(&world), None);
    world.run(2_000);
    assert_eq!(is_over(&world), Some(ConsumerEvent::Reset(id)));
    assert_eq!(world.host.tcp(handle).state(), State::Closed);
}

#[test]
fn time_wait_does_not_use_slots_up() {
    let mut world = World::new(Program::Watch, 2, 2048);
    for number in 0..20 {
        let handle = world.host.connect(40000 + number, (STACK.into(), 80));
        world.until("it is open", |world| {
            world.services[0].connections.len() == 1
        });
        // The consumer closes first, so the stack has TIME-WAIT.
        let id = world.services[0].only();
        world.services[0].port.close(id);
        world.services[0].port.flush();
        world.run(10);
        world.host.tcp(handle).close();
        world.until("it is over", |world| {
            world.services[0].connections.is_empty()
        });
    }
    assert_eq!(world.stack.counters().connections_total, 20);
    assert!(
        world.now < 10_000_000_000,
        "no connection waited for TIME-WAIT to pass"
    );
}

/// Closed connections leave no state, whether their slots are used again or not.
#[test]
fn nothing_grows_with_the_number_of_connections() {
    for slots in [2, 64] {
        let mut world = World::new(Program::Watch, slots, 1024);
        for number in 0..300 {
            let handle = world.host.connect(20000 + number, (STACK.into(), 80));
            world.until("it is open", |world| {
                world.services[0].connections.len() == 1
            });
            let id = world.services[0].only();
            world.services[0].port.close(id);
            world.services[0].port.flush();
            world.run(10);
            world.host.tcp(handle).close();
            world.run(400);
            world.host.sockets.remove(handle);
            // In TIME-WAIT for 10 s: 25 of them at most, each in three lists.
            assert!(world.stack.entries() <= 80, "{}", world.stack.entries());
        }
        world.run(11_000);
        assert!(world.stack.entries() <= slots, "{}", world.stack.entries());
    }
}

#[test]
fn a_new_connection_between_the_same_endpoints_ends_time_wait() {
    let mut world = World::new(Program::Watch, 2, 2048);
    for _ in 0..3 {
        let handle = world.host.connect(40000, (STACK.into(), 80));
        world.until("it is open", |world| {
            world.services[0].connections.len() == 1
        });
        let id = world.services[0].only();
        world.services[0].port.close(id);
        world.services[0].port.flush();
        world.run(10);
        world.host.tcp(handle).close();
        world.until("it is over", |world| {
            world.services[0].connections.is_empty()
        });
        world.host.sockets.remove(handle);
    }
    assert!(world.now < 1_000_000_000);
}

#[test]
fn a_port_without_a_listener_refuses() {
    let mut world = World::new(Program::Echo, 2, 2048);
    let handle = world.host.connect(40000, (STACK.into(), 81));
    world.run(100);
    assert_eq!(world.host.tcp(handle).state(), State::Closed);
}

/// Without a free slot a SYN cookie answers: the newcomer is connected as far as it knows, and is served when a slot is
/// free.
#[test]
fn full_slots_make_newcomers_wait_and_not_fail() {
    let mut world = World::new(Program::Echo, 1, 2048);
    let first = world.host.connect(40000, (STACK.into(), 80));
    world.run(100);
    let second = world.host.connect(40001, (STACK.into(), 80));
    world.run(100);
    assert_eq!(world.host.tcp(second).state(), State::Established);
    world.host.tcp(second).send_slice(b"hello").unwrap();
    world.run(20_000);
    assert_eq!(world.host.tcp(second).state(), State::Established);
    assert_eq!(world.host.tcp(second).recv_queue(), 0);
    assert_eq!(world.stack.counters().connections_open, 1);
    assert!(world.stack.counters().refused_full > 0);
    world.host.tcp(first).close();
    world.until("the second one is served", |world| {
        world.host.tcp(second).recv_queue() == 5
    });
    assert_eq!(world.stack.counters().connections_reset, 0);
    assert!(world.now < 60_000_000_000);
}

#[test]
fn a_consumer_connects_out() {
    let mut world = World::new(Program::Echo, 4, 2048);
    let handle = world.host.listen(7);
    let token = world.services[0]
        .port
        .connect("10.0.0.2:7".parse().unwrap())
        .unwrap();
    world.services[0].port.flush();
    world.run(100);
    let opened = world.services[0]
        .events
        .iter()
        .find_map(|event| match event {
            ConsumerEvent::Opened(_, opened) => Some(*opened),
            _ => None,
        });
    let opened = opened.expect("it is open");
    assert_eq!(opened.token, Some(token));
    assert!(opened.local_port >= 49152, "{}", opened.local_port);
    world.host.tcp(handle).send_slice(b"hello").unwrap();
    world.run(100);
    let mut read = vec![];
    receive(world.host.tcp(handle), &mut read);
    assert_eq!(read, b"hello");
}

#[test]
fn refused_and_forbidden_connections_are_answered() {
    let mut world = World::new(Program::Watch, 4, 2048);
    let ask = |world: &mut World, to: &str| {
        let token = world.services[0].port.connect(to.parse().unwrap()).unwrap();
        world.services[0].port.flush();
        world.run(15_000);
        let answer = world.services[0]
            .events
            .iter()
            .find_map(|event| match event {
                ConsumerEvent::Answer { token: of, result } if *of == token => Some(*result),
                _ => None,
            });
        answer.expect("it is answered")
    };
    assert_eq!(
        ask(&mut world, "10.0.0.2:7"),
        Err(Refusal::Unreachable),
        "refused"
    );
    assert_eq!(
        ask(&mut world, "10.0.0.99:7"),
        Err(Refusal::Unreachable),
        "nobody there"
    );
    assert_eq!(
        ask(&mut world, "192.0.2.1:7"),
        Err(Refusal::Unreachable),
        "no route"
    );
    assert_eq!(
        ask(&mut world, "10.0.0.1:80"),
        Err(Refusal::Unreachable),
        "itself"
    );
    assert_eq!(world.stack.counters().connections_total, 0);

    let token = world.services[0].port.listen(81).unwrap();
    world.services[0].port.flush();
    world.run(10);
    let refused = ConsumerEvent::Answer {
        token,
        result: Err(Refusal::NotAllowed),
    };
    assert!(world.services[0].events.contains(&refused));
}

/// RFC 6528: a number says nothing about the next one, but grows for the same endpoints.
#[test]
fn sequence_numbers_differ_for_each_peer_and_grow_for_the_same() {
    let mut world = World::with(settings(), &[(Program::Sleep, 80, 64, 512)]);
    let number = |world: &mut World, port: u16| {
        world.seen.clear();
        world.inject(&frames::arp_request(crate::testing::PEER_MAC));
        world.inject(&frames::syn(port, 80));
        world.settle();
        let number = world.seen.iter().find_map(|frame| match frame[12..14] {
            [8, 0] if frame[23] == 6 && frame[47] == 0x12 => {
                Some(u32::from_be_bytes(frame[38..42].try_into().unwrap()))
            }
            _ => None,
        });
        // The host knows of no such connection and resets it, so that the port can be used again.
        world.run(10);
        number.expect("the SYN is answered")
    };
    let numbers: Vec<u32> = (0..50)
        .map(|port| number(&mut world, 41000 + port))
        .collect();
    let mut steps: Vec<u32> = numbers
        .windows(2)
        .map(|pair| pair[1].wrapping_sub(pair[0]))
        .collect();
    steps.sort_unstable();
    steps.dedup();
    assert_eq!(steps.len(), 49, "no step repeats");
    let first = number(&mut world, 42000);
    world.run(1000);
    let second = number(&mut world, 42000);
    // 250,000 ticks of 4 µs in a second, and in the hundredths around it.
    assert!(
        (250_000..260_000).contains(&second.wrapping_sub(first)),
        "{first} {second}"
    );
}
