//! Bytes arrive whole and in order, whatever the network does, and not faster than they are read.

use proptest::prelude::*;
use smoltcp::socket::tcp::State;

use super::{converse, pattern, receive};
use crate::testing::STACK;
use crate::testing::world::{Faults, MILLISECOND, Program, World};

#[test]
fn an_echo_comes_back_whole() {
    let mut world = World::new(Program::Echo, 4, 2048);
    let bytes = pattern(100_000);
    assert!(converse(&mut world, 40000, &bytes) == bytes);
    world.run(100);
    let counters = world.stack.counters();
    assert_eq!(
        (counters.payload_received, counters.payload_sent),
        (100_000, 100_000)
    );
    // Pool to private memory, private memory to the ring; ring to the pool.
    assert_eq!(
        (counters.copied_in, counters.copied_out),
        (200_000, 100_000)
    );
}

#[test]
fn one_slot_serves_many_connections_one_after_another() {
    let mut world = World::new(Program::Echo, 1, 1024);
    for number in 0..100 {
        // Sizes at which the rings end everywhere; the next connection begins at their first byte again.
        let bytes = pattern(1 + usize::from(number) * 37);
        assert!(
            converse(&mut world, 40000 + number, &bytes) == bytes,
            "connection {number}"
        );
    }
    assert_eq!(world.stack.counters().connections_total, 100);
    assert_eq!(world.stack.counters().connections_reset, 0);
}

#[test]
fn pauses_let_the_rings_restart() {
    let mut world = World::new(Program::Echo, 1, 1024);
    let handle = world.host.connect(40000, (STACK.into(), 80));
    for round in 0..200 {
        let message = pattern(1 + round * 5);
        let mut sent = 0;
        let mut answer = vec![];
        world.until("the message is back", |world| {
            let socket = world.host.tcp(handle);
            if socket.can_send() {
                sent += socket.send_slice(&message[sent..]).unwrap();
            }
            receive(socket, &mut answer);
            answer.len() == message.len()
        });
        assert!(answer == message, "round {round}");
        world.run(30);
    }
}

/// A consumer that does not read closes the window: the sender waits, nothing is lost, nothing grows.
#[test]
fn a_consumer_that_does_not_read_holds_the_sender_back() {
    let mut world = World::new(Program::Watch, 1, 4096);
    let handle = world.host.connect(40000, (STACK.into(), 80));
    let bytes = pattern(20_000);
    let mut sent = 0;
    world.until("the connection is open", |world| {
        !world.services[0].connections.is_empty()
    });
    for _ in 0..20 {
        let socket = world.host.tcp(handle);
        sent += socket.send_slice(&bytes[sent..]).unwrap();
        world.run(1000);
    }
    let id = world.services[0].only();
    assert_eq!(
        world.services[0].port.readable(id),
        4096,
        "the ring is full"
    );
    assert_eq!(world.host.tcp(handle).send_queue(), bytes.len() - 4096);
    // The sender may only probe the closed window.
    let before = world.stack.counters().frames_received;
    world.run(60_000);
    let probes = world.stack.counters().frames_received - before;
    assert!(
        probes < 20,
        "{probes} frames in a minute against a closed window"
    );

    let mut read = vec![];
    world.until("everything was read", |world| {
        let mut piece = [0; 700];
        let length = world.services[0].port.read(id, &mut piece);
        read.extend_from_slice(&piece[..length]);
        world.services[0].port.flush();
        read.len() == bytes.len()
    });
    assert!(read == bytes);
}

/// A peer that does not read fills the consumer's own ring and nothing else.
#[test]
fn a_peer_that_does_not_read_holds_the_consumer_back() {
    let mut world = World::new(Program::Watch, 1, 4096);
    let handle = world.host.connect(40000, (STACK.into(), 80));
    world.until("the connection is open", |world| {
        !world.services[0].connections.is_empty()
    });
    let id = world.services[0].only();
    let bytes = pattern(200_000);
    let mut written = 0;
    for _ in 0..100 {
        written += world.services[0].port.write(id, &bytes[written..]);
        world.services[0].port.flush();
        world.run(100);
    }
    let held = world.host.tcp(handle).recv_queue();
    assert_eq!(held, world.host.tcp(handle).recv_capacity());
    assert_eq!(
        written,
        held + 4096,
        "the peer's buffer and the ring are full"
    );

    let mut read = vec![];
    world.until("everything was read", |world| {
        receive(world.host.tcp(handle), &mut read);
        written += world.services[0].port.write(id, &bytes[written..]);
        world.services[0].port.flush();
        read.len() == bytes.len()
    });
    assert!(read == bytes);
}

/// The host sends bytes and closes; what the consumer reads until it closes too.
fn upload(world: &mut World, bytes: &[u8]) -> Vec<u8> {
    let handle = world.host.connect(40000, (STACK.into(), 80));
    let (mut sent, mut read) = (0, vec![]);
    world.until("everything was read", |world| {
        let socket = world.host.tcp(handle);
        if socket.can_send() && sent < bytes.len() {
            sent += socket.send_slice(&bytes[sent..]).unwrap();
        }
        if sent == bytes.len() && socket.may_send() {
            socket.close();
        }
        let service = &mut world.services[0];
        let Some(id) = service
            .connections
            .values()
            .next()
            .map(|conversation| conversation.id)
        else {
            return false;
        };
        let mut piece = [0; 999];
        let length = service.port.read(id, &mut piece);
        read.extend_from_slice(&piece[..length]);
        let end = service.port.at_end(id);
        if end {
            service.port.close(id);
        }
        service.port.flush();
        end
    });
    read
}

/// The consumer writes bytes and closes; what the host receives until then.
fn download(world: &mut World, bytes: &[u8]) -> Vec<u8> {
    let handle = world.host.connect(40000, (STACK.into(), 80));
    let (mut written, mut received) = (0, vec![]);
    world.until("everything was received", |world| {
        receive(world.host.tcp(handle), &mut received);
        if world.host.tcp(handle).state() == State::CloseWait {
            return true;
        }
        let service = &mut world.services[0];
        if let Some(conversation) = service.connections.values().next() {
            written += service.port.write(conversation.id, &bytes[written..]);
            if written == bytes.len() {
                service.port.close(conversation.id);
            }
            service.port.flush();
        }
        false
    });
    received
}

/// Nanoseconds after which the network loses nothing more. A handshake is given up after 10 s; its last retransmission,
/// 7 s after its first segment, is not lost. So every connection must come to its end, however unlucky it was before.
const HEALED: u64 = 6_000 * MILLISECOND;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn bytes_survive_loss_repetition_and_disorder(
        length in 0usize..30_000,
        size in 8u32..15,
        lost in 0u64..15,
        repeated in 0u64..15,
        delayed in 0u64..30,
        seed: u64,
    ) {
        let bytes = pattern(length);
        for direction in [upload, download] {
            let mut world = World::new(Program::Watch, 2, 1 << size);
            world.faults = Faults { lost, repeated, delayed, end: HEALED };
            world.shuffle(seed);
            let arrived = direction(&mut world, &bytes);
            prop_assert!(arrived == bytes, "{} of {} bytes", arrived.len(), bytes.len());
        }
    }

    /// Both directions at once.
    #[test]
    fn echoes_survive_loss_repetition_and_disorder(
        length in 0usize..20_000,
        size in 8u32..15,
        lost in 0u64..15,
        repeated in 0u64..15,
        delayed in 0u64..30,
        seed: u64,
    ) {
        let bytes = pattern(length);
        let mut world = World::new(Program::Echo, 2, 1 << size);
        world.faults = Faults { lost, repeated, delayed, end: HEALED };
        world.shuffle(seed);
        let echo = converse(&mut world, 40000, &bytes);
        prop_assert!(echo == bytes, "{} of {} bytes", echo.len(), bytes.len());
    }
}
