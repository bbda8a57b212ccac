//! Nothing of a confidential connection stays in either ring.
#![cfg(not(loom))]

use channel::PeerMisbehaved;
use channel::streams::{
    ConnectionId, Consumer, ConsumerEvent, Layout, Opened, Provider, ProviderEvent,
};
use channel::testing::{Bell, Shared, meet};

const SIZE: usize = 256;
const DOWN: u8 = 0xd0;
const UP: u8 = 0x0b;

struct Pair {
    provider: Provider,
    consumer: Consumer,
    shared: [Shared; 2],
    rings: [Bell; 2],
}

impl Pair {
    fn new() -> Self {
        let layout = Layout::new(2, SIZE).unwrap();
        let shared = [
            Shared::new(layout.provider_size()),
            Shared::new(layout.consumer_size()),
        ];
        let rings = [Bell::default(), Bell::default()];
        let (own, peers) = (shared[0].own(), shared[1].peers());
        let mut provider = Provider::new(layout, own, peers, rings[0].clone()).unwrap();
        let (own, peers) = (shared[1].own(), shared[0].peers());
        let mut consumer = Consumer::new(layout, own, peers, rings[1].clone()).unwrap();
        meet(&mut provider, &mut consumer);
        Self {
            provider,
            consumer,
            shared,
            rings,
        }
    }

    /// Each side takes events until both sleep and neither is rung.
    fn settle(&mut self) -> (Vec<ProviderEvent>, Vec<ConsumerEvent>) {
        let mut events = (vec![], vec![]);
        loop {
            while let Some(event) = self.provider.next_event().unwrap() {
                events.0.push(event);
            }
            while let Some(event) = self.consumer.next_event().unwrap() {
                events.1.push(event);
            }
            let idle = self.provider.sleep() & self.consumer.sleep();
            if idle && self.rings.iter().all(|ring| ring.take() == 0) {
                return events;
            }
        }
    }

    /// A connection in which each side has written and the other one has read half of it.
    fn half_read(&mut self, confidential: bool) -> (ConnectionId, ConnectionId) {
        let opened = Opened {
            peer: "192.0.2.1:4000".parse().unwrap(),
            local_port: 443,
            token: None,
            identity: None,
            confidential,
        };
        let slot = self.provider.free_slot().unwrap();
        let above = self.provider.open(slot, &opened).unwrap();
        let (_, events) = self.settle();
        let [ConsumerEvent::Opened(below, seen)] = events[..] else {
            panic!("{events:?}");
        };
        assert_eq!(seen, opened);
        assert_eq!(self.provider.write(above, &[DOWN; 200]), 200);
        assert_eq!(self.consumer.write(below, &[UP; 200]), 200);
        self.settle();
        assert_eq!(self.provider.read(above, &mut [0; 100]), 100);
        assert_eq!(self.consumer.read(below, &mut [0; 100]), 100);
        (above, below)
    }

    /// What is left in both rings: bytes that the provider wrote, bytes that the consumer wrote.
    fn left(&self) -> [usize; 2] {
        let count = |region: usize, wanted| {
            let content = self.shared[region].content();
            content.iter().filter(|byte| **byte == wanted).count()
        };
        [count(0, DOWN), count(1, UP)]
    }
}

#[test]
fn what_was_read_goes_at_the_next_look() {
    let mut pair = Pair::new();
    let (above, below) = pair.half_read(true);
    assert_eq!(pair.left(), [200, 200]);
    assert_eq!(pair.provider.writable(above), SIZE - 100);
    assert_eq!(pair.consumer.writable(below), SIZE - 100);
    assert_eq!(pair.left(), [100, 100]);
    // What is left arrives as it was written.
    let mut target = [0; 100];
    assert_eq!(pair.consumer.read(below, &mut target), 100);
    assert_eq!(target, [DOWN; 100]);
}

#[test]
fn nothing_stays_behind_the_end_in_order_or_not() {
    for reset in [false, true] {
        let mut pair = Pair::new();
        let (above, below) = pair.half_read(true);
        match reset {
            true => pair.provider.reset(above),
            false => pair.provider.closed(above),
        }
        let (_, events) = pair.settle();
        assert!(
            matches!(
                events.last(),
                Some(ConsumerEvent::Closed(_) | ConsumerEvent::Reset(_))
            ),
            "{events:?}"
        );
        // The consumer may still read.
        let mut target = [0; 100];
        assert_eq!(pair.consumer.read(below, &mut target), 100);
        assert_eq!(target, [DOWN; 100]);
        pair.consumer.release(below);
        assert_eq!(pair.left()[1], 0, "the provider reads no more");
        assert_eq!(pair.settle().0, [ProviderEvent::Released(above)]);
        assert_eq!(pair.left(), [0, 0]);
    }
}

#[test]
fn a_consumer_that_cuts_wipes_once_the_provider_is_done() {
    let mut pair = Pair::new();
    let (above, below) = pair.half_read(true);
    pair.consumer.release(below);
    // The provider does not know yet: what it reads now must be what was written.
    let mut target = [0; 50];
    assert_eq!(pair.provider.read(above, &mut target), 50);
    assert_eq!(target, [UP; 50]);
    let (provider, consumer) = pair.settle();
    assert_eq!(provider, [ProviderEvent::Released(above)]);
    assert_eq!(consumer, [], "that it wipes is nobody's news");
    assert_eq!(pair.left(), [0, 0]);
    pair.half_read(true);
}

#[test]
fn nothing_stays_when_the_peer_goes_away() {
    let mut pair = Pair::new();
    let (_, below) = pair.half_read(true);
    pair.shared[1].wipe();
    pair.provider.next_event().unwrap();
    assert_eq!(pair.left(), [0, 0], "the provider wipes");
    let mut pair = Pair::new();
    let (..) = pair.half_read(true);
    pair.shared[0].wipe();
    let reset = pair.consumer.next_event().unwrap();
    assert_eq!(reset, Some(ConsumerEvent::Reset(below)));
    pair.consumer.release(below);
    assert_eq!(pair.left(), [0, 0], "the consumer wipes");
}

#[test]
fn a_peer_that_misbehaves_is_left_nothing() {
    let mut pair = Pair::new();
    pair.half_read(true);
    // The consumer's region is all ones from here on: no state and no count is possible.
    let ones = pair.shared[1].own().bytes(1024).map(|mut bytes| {
        bytes.slice_mut(64, 960).fill(0xff);
    });
    ones.unwrap();
    let misbehaved: Result<_, PeerMisbehaved> = (0..8).try_for_each(|_| {
        pair.provider.sleep();
        pair.provider.next_event().map(drop)
    });
    assert!(misbehaved.is_err());
    assert_eq!(pair.left()[0], 0);
}

/// The control: all of this finds bytes where nobody wipes.
#[test]
fn other_connections_leave_what_they_carried() {
    let mut pair = Pair::new();
    let (above, below) = pair.half_read(false);
    pair.provider.reset(above);
    pair.settle();
    pair.consumer.release(below);
    pair.settle();
    assert_eq!(pair.left(), [200, 200]);
}
