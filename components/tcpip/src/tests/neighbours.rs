//! Connections of neighbours whose link-layer addresses are not known yet.

use smoltcp::wire::*;

use crate::testing::frames;
use crate::testing::world::{Program, World};

/// Clients that never ask for the stack's address themselves.
fn client(number: u8) -> Ipv4Address {
    Ipv4Address::new(10, 0, 0, 50 + number)
}

fn hardware(number: u8) -> EthernetAddress {
    EthernetAddress([2, 9, 0, 0, 0, number])
}

fn syn(number: u8) -> Vec<u8> {
    frames::segment(client(number), &frames::syn_repr(40000, 80))
}

/// The client's answer to an ARP request of the stack.
fn reply(number: u8) -> Vec<u8> {
    let mut frame = frames::arp_reply(hardware(number));
    frame[28..32].copy_from_slice(&client(number).octets());
    frame
}

/// How many ARP requests there are for the client's address.
fn requests(seen: &[Vec<u8>], number: u8) -> usize {
    let asks = |frame: &&Vec<u8>| {
        frame[12..14] == [8, 6]
            && frame[20..22] == [0, 1]
            && frame[38..42] == client(number).octets()
    };
    seen.iter().filter(asks).count()
}

/// Whether a SYN-ACK was sent to the client.
fn is_answered(seen: &[Vec<u8>], number: u8) -> bool {
    seen.iter().any(|frame| {
        frame[..6] == hardware(number).0
            && frames::tcp(frame).is_some_and(|segment| segment.syn() && segment.ack())
    })
}

#[test]
fn forty_new_neighbours_are_answered_without_delay() {
    let mut world = World::new(Program::Echo, 64, 1024);
    world.run(5000);
    world.seen.clear();
    for number in 0..40 {
        world.inject(&syn(number));
    }
    world.settle();
    assert!((0..40).all(|number| requests(&world.seen, number) == 1));
    for number in 0..40 {
        world.inject(&reply(number));
    }
    world.settle();
    assert!((0..40).all(|number| is_answered(&world.seen, number)));
}

/// With fewer slots than clients the stack answers by SYN cookies, which the host keeps for the neighbour.
#[test]
fn answers_of_no_connection_wait_for_the_neighbour() {
    let mut world = World::new(Program::Echo, 2, 1024);
    world.run(5000);
    world.seen.clear();
    for number in 0..40 {
        world.inject(&syn(number));
    }
    world.settle();
    for number in 0..40 {
        world.inject(&reply(number));
    }
    world.settle();
    assert!((0..40).all(|number| is_answered(&world.seen, number)));
}

#[test]
fn forged_neighbours_do_not_delay_a_real_one() {
    let mut world = World::new(Program::Echo, 64, 1024);
    world.run(5000);
    for round in 0..40 {
        // Twenty a second from fifty addresses that no host has.
        world.inject(&syn(round % 50));
        world.run(50);
        if round % 10 == 9 {
            let real = 100 + round / 10;
            world.seen.clear();
            world.inject(&syn(real));
            world.settle();
            assert_eq!(requests(&world.seen, real), 1);
            world.inject(&reply(real));
            world.settle();
            assert!(is_answered(&world.seen, real));
        }
    }
}
