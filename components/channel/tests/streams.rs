//! Both ends of a `streams` connection against each other.
#![cfg(not(loom))]

use std::net::SocketAddr;

use channel::streams::{
    ConnectionId, Consumer, ConsumerEvent, Layout, NotFree, Opened, Provider, ProviderEvent,
    Refusal,
};
use channel::testing::{Bell, streams_pair};

const SIZE: usize = 512;

struct Pair {
    provider: Provider,
    consumer: Consumer,
    provider_rings: Bell,
    consumer_rings: Bell,
}

impl Pair {
    fn new(connections: usize) -> Self {
        let layout = Layout::new(connections, SIZE).unwrap();
        let (provider, consumer, [provider_rings, consumer_rings]) = streams_pair(layout).unwrap();
        Self {
            provider,
            consumer,
            provider_rings,
            consumer_rings,
        }
    }

    /// A pair whose slot 0 is open at both ends.
    fn opened() -> (Self, ConnectionId) {
        let mut pair = Self::new(1);
        let id = pair.provider.open(0, &opened()).unwrap();
        assert_eq!(
            pair.consumer_events(),
            [ConsumerEvent::Opened(id, opened())]
        );
        (pair, id)
    }

    fn consumer_events(&mut self) -> Vec<ConsumerEvent> {
        self.provider.flush();
        let mut events = vec![];
        loop {
            while let Some(event) = self.consumer.next_event().unwrap() {
                events.push(event);
            }
            if self.consumer.sleep() {
                return events;
            }
        }
    }

    fn provider_events(&mut self) -> Vec<ProviderEvent> {
        self.consumer.flush();
        let mut events = vec![];
        loop {
            while let Some(event) = self.provider.next_event().unwrap() {
                events.push(event);
            }
            if self.provider.sleep() {
                return events;
            }
        }
    }
}

fn opened() -> Opened {
    Opened {
        peer: "[2001:db8::7]:50000".parse().unwrap(),
        local_port: 443,
        token: None,
        identity: None,
        confidential: false,
    }
}

/// Bytes that differ from place to place.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 7 + i / 251) as u8).collect()
}

#[test]
fn a_connection_lives_from_opened_to_released() {
    let (mut pair, id) = Pair::opened();
    assert_eq!(pair.provider.write(id, b"hello"), 5);
    assert_eq!(pair.consumer_events(), [ConsumerEvent::Readable(id)]);
    let mut bytes = [0; 8];
    assert_eq!(pair.consumer.read(id, &mut bytes), 5);
    assert_eq!(&bytes[..5], b"hello");

    pair.provider.write(id, b"end");
    pair.provider.finish(id);
    assert_eq!(
        pair.consumer_events(),
        [ConsumerEvent::Readable(id), ConsumerEvent::HalfClosed(id)]
    );
    assert!(!pair.consumer.at_end(id));
    assert_eq!(pair.consumer.peek(id), b"end");
    assert_eq!(pair.consumer.consume(id, 100), 3);
    assert!(pair.consumer.at_end(id));
    assert_eq!(
        pair.provider.write(id, b"more"),
        0,
        "nothing follows the end"
    );

    assert_eq!(pair.consumer.write(id, b"bye"), 3);
    pair.consumer.close(id);
    assert_eq!(pair.consumer.writable(id), 0);
    assert_eq!(
        pair.provider_events(),
        [ProviderEvent::Readable(id), ProviderEvent::HalfClosed(id)]
    );
    assert_eq!(pair.provider.read(id, &mut bytes), 3);
    assert!(pair.provider.at_end(id));

    pair.provider.closed(id);
    assert_eq!(pair.consumer_events(), [ConsumerEvent::Closed(id)]);
    assert_eq!(pair.provider.open(0, &opened()), Err(NotFree));
    pair.consumer.release(id);
    assert_eq!(pair.provider_events(), [ProviderEvent::Released(id)]);

    let next = pair.provider.open(0, &opened()).unwrap();
    assert_eq!(next.generation(), id.generation() + 1);
    assert_eq!(
        pair.consumer_events(),
        [ConsumerEvent::Opened(next, opened())]
    );
    assert_eq!(pair.consumer.write(id, b"stale"), 0);
    assert_eq!(pair.provider.readable(next), 0);
}

#[test]
fn a_connection_that_is_over_before_it_is_seen_tells_all_at_once() {
    let mut pair = Pair::new(1);
    let id = pair.provider.open(0, &opened()).unwrap();
    pair.provider.write(id, b"x");
    pair.provider.reset(id);
    assert_eq!(
        pair.consumer_events(),
        [
            ConsumerEvent::Opened(id, opened()),
            ConsumerEvent::Readable(id),
            ConsumerEvent::HalfClosed(id),
            ConsumerEvent::Reset(id),
        ]
    );
}

#[test]
fn releasing_what_still_lives_cuts_it() {
    let (mut pair, id) = Pair::opened();
    pair.consumer.release(id);
    assert_eq!(pair.provider_events(), [ProviderEvent::Released(id)]);
    assert_eq!(pair.provider.free_slot(), Some(0));

    let (mut pair, id) = Pair::opened();
    pair.consumer.abort(id);
    assert_eq!(
        pair.provider_events(),
        [ProviderEvent::HalfClosed(id), ProviderEvent::Aborted(id)]
    );
    assert_eq!(pair.provider.free_slot(), None);
}

#[test]
fn bytes_arrive_in_order_whatever_the_pieces() {
    let (mut pair, id) = Pair::opened();
    let sent = pattern(10_000);
    let mut got: Vec<u8> = vec![];
    let (mut at, mut step) = (0, 1);
    while got.len() < sent.len() {
        step = step * 5 % 613;
        at += pair
            .provider
            .write(id, &sent[at..sent.len().min(at + step)]);
        let mut piece = vec![0; step * 3 % 400];
        let length = pair.consumer.read(id, &mut piece);
        got.extend(&piece[..length]);
    }
    assert_eq!(got, sent);
}

#[test]
fn a_writer_waits_for_room_and_is_woken_once() {
    let (mut pair, id) = Pair::opened();
    assert_eq!(pair.provider.write(id, &[1; SIZE + 100]), SIZE);
    assert_eq!(pair.provider_events(), []);
    pair.consumer_events();
    pair.consumer_rings.take();

    pair.consumer.consume(id, 99);
    assert_eq!(pair.provider_events(), []);
    assert_eq!(pair.consumer_rings.take(), 0, "too little to be woken for");
    pair.consumer.consume(id, 1);
    assert_eq!(pair.provider_events(), [ProviderEvent::Writable(id)]);
    assert_eq!(pair.consumer_rings.take(), 1);
    pair.consumer.consume(id, 300);
    assert_eq!(pair.provider_events(), []);
    assert_eq!(pair.consumer_rings.take(), 0, "nobody waits");
    assert_eq!(pair.provider.writable(id), 400);
}

#[test]
fn room_that_is_there_already_is_told_at_the_end_of_the_round() {
    let (mut pair, id) = Pair::opened();
    pair.provider.write(id, &[1; SIZE]);
    pair.consumer_events();
    pair.consumer.consume(id, SIZE);
    pair.consumer.flush();
    pair.provider.wait_for_room(id, SIZE);
    assert_eq!(pair.provider_events(), [ProviderEvent::Writable(id)]);
}

#[test]
fn only_a_sleeping_peer_is_notified_and_only_once() {
    let (mut pair, id) = Pair::opened();
    pair.provider_rings.take();
    for _ in 0..5 {
        pair.provider.write(id, b"x");
        pair.provider.flush();
    }
    assert_eq!(pair.provider_rings.take(), 1);
    assert!(pair.consumer.next_event().unwrap().is_some());
    pair.provider.write(id, b"x");
    pair.provider.flush();
    assert_eq!(pair.provider_rings.take(), 0, "the consumer is awake");
    assert!(
        !pair.consumer.sleep(),
        "it finds the news when it looks again"
    );
}

#[test]
fn requests_are_answered() {
    let mut pair = Pair::new(2);
    let remote: SocketAddr = "192.0.2.1:80".parse().unwrap();
    let first = pair.consumer.connect(remote).unwrap();
    let second = pair.consumer.listen(8080).unwrap();
    assert_eq!(
        pair.provider_events(),
        [
            ProviderEvent::Connect {
                token: first,
                remote
            },
            ProviderEvent::Listen {
                token: second,
                port: 8080
            },
        ]
    );
    let description = Opened {
        peer: remote,
        local_port: 50_001,
        token: Some(first),
        identity: None,
        confidential: false,
    };
    let id = pair.provider.open(1, &description).unwrap();
    pair.provider.answer(second, Err(Refusal::NotAllowed));
    assert_eq!(
        pair.consumer_events(),
        [
            ConsumerEvent::Opened(id, description),
            ConsumerEvent::Answer {
                token: second,
                result: Err(Refusal::NotAllowed)
            },
        ]
    );
}

#[test]
fn requests_beyond_the_limit_are_refused_until_one_is_answered() {
    let mut pair = Pair::new(1);
    let tokens: Vec<u32> = (0..16)
        .map(|port| pair.consumer.listen(port).unwrap())
        .collect();
    assert!(pair.consumer.listen(99).is_err());
    assert_eq!(pair.provider_events().len(), 16);
    for token in tokens {
        pair.provider.answer(token, Ok(()));
    }
    assert_eq!(pair.consumer_events().len(), 16);
    assert!(pair.consumer.listen(99).is_ok());
    assert_eq!(pair.provider_events().len(), 1);
}

#[test]
fn lent_memory_carries_what_a_stack_puts_there() {
    let mut pair = Pair::new(1);
    let memory = pair.provider.lend(0).unwrap();
    assert!(pair.provider.lend(0).is_none());
    assert_eq!((memory.receive.len(), memory.transmit.len()), (SIZE, SIZE));
    memory.receive[..3].copy_from_slice(b"abc");
    let id = pair.provider.open(0, &opened()).unwrap();
    assert_eq!(pair.provider.write(id, b"x"), 0);
    assert_eq!(pair.provider.commit(id, 3), 3);
    pair.consumer_events();
    assert_eq!(pair.consumer.peek(id), b"abc");
    pair.consumer.consume(id, 2);
    assert_eq!(pair.provider.freed(id), 2);
    assert_eq!(pair.provider.freed(id), 0);
    pair.consumer.write(id, b"out");
    assert_eq!(pair.provider.readable(id), 3);
    assert_eq!(&memory.transmit[..3], b"out");
}

/// The transmit ring of a stack whose buffer begins at its first place whenever it was empty.
#[test]
fn a_restarted_ring_begins_at_its_first_place() {
    let mut pair = Pair::new(1);
    let memory = pair.provider.lend(0).unwrap();
    let id = pair.provider.open(0, &opened()).unwrap();
    pair.consumer_events();
    pair.consumer.write(id, b"first");
    pair.provider_events();
    assert_eq!(pair.provider.take(id, 5), 5);
    pair.provider.restart(id);
    assert_eq!(pair.provider.free(id, 5), 5);

    // The consumer writes before it learns of the restart.
    pair.consumer.write(id, b"second");
    pair.provider.restart(id);
    pair.consumer.flush();
    assert_eq!(pair.provider_events(), []);
    assert_eq!(pair.provider.readable(id), 0);
    assert_eq!(pair.consumer_events(), []);
    assert_eq!(pair.provider_events(), [ProviderEvent::Readable(id)]);
    assert_eq!(pair.provider.readable(id), 6);
    assert_eq!(&memory.transmit[..6], b"second");
}

#[test]
fn every_slot_is_told_apart() {
    let mut pair = Pair::new(200);
    let ids: Vec<ConnectionId> = (0..200)
        .map(|slot| pair.provider.open(slot, &opened()).unwrap())
        .collect();
    assert_eq!(pair.provider.free_slot(), None);
    assert_eq!(pair.consumer_events().len(), 200);
    for &id in [ids[199], ids[64], ids[63]].iter() {
        pair.provider.write(id, b"x");
    }
    assert_eq!(
        pair.consumer_events(),
        [ids[63], ids[64], ids[199]].map(ConsumerEvent::Readable)
    );
}

#[test]
fn layouts_out_of_range_are_refused() {
    for (connections, buffer) in [(0, 512), (1025, 512), (1, 500), (1, 128), (1, 1 << 21)] {
        assert!(Layout::new(connections, buffer).is_err());
    }
    let layout = Layout::new(256, 8192).unwrap();
    assert_eq!(layout.consumer_size() % 4096, 0);
    assert_eq!(layout.provider_size() % 4096, 0);
}
