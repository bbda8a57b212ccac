//! One side of a channel starts over, as a protection domain does after a fault: its memory is zeroed, its end is made
//! anew, and the other end goes on.
#![cfg(not(loom))]

use std::collections::HashMap;

use channel::log::{self, Level};
use channel::memory::{OwnRegion, PeerRegion};
use channel::streams::{
    Busy, ConnectionId, Consumer, ConsumerEvent, Layout, NotFree, Opened, Provider, ProviderEvent,
    Refusal,
};
use channel::testing::{Bell, Shared};
use proptest::prelude::*;

const CONNECTIONS: usize = 3;
const RING: usize = 256;

/// Both ends over memory that either can lose.
struct Pair {
    regions: [Shared; 2],
    provider: Provider,
    consumer: Consumer,
    /// What the provider rings, and the consumer.
    rings: [Bell; 2],
}

fn layout() -> Layout {
    Layout::new(CONNECTIONS, RING).unwrap()
}

impl Pair {
    fn new() -> Self {
        let regions = [layout().provider_size(), layout().consumer_size()].map(Shared::new);
        let rings = [Bell::default(), Bell::default()];
        Self {
            provider: provider(&regions, &rings),
            consumer: consumer(&regions, &rings),
            regions,
            rings,
        }
    }

    /// The provider loses its memory and starts over.
    fn restart_provider(&mut self) {
        self.regions[0].wipe();
        self.provider = provider(&self.regions, &self.rings);
    }

    fn restart_consumer(&mut self) {
        self.regions[1].wipe();
        self.consumer = consumer(&self.regions, &self.rings);
    }

    /// Lets both work until they sleep; the events of each.
    fn settle(&mut self) -> (Vec<ProviderEvent>, Vec<ConsumerEvent>) {
        let mut events = (vec![], vec![]);
        for _ in 0..100 {
            while let Some(event) = self.provider.next_event().unwrap() {
                events.0.push(event);
            }
            while let Some(event) = self.consumer.next_event().unwrap() {
                if let ConsumerEvent::Reset(id) | ConsumerEvent::Closed(id) = event {
                    self.consumer.release(id);
                }
                events.1.push(event);
            }
            let idle = self.provider.sleep() & self.consumer.sleep();
            // A side that sleeps looks again only when it is rung.
            if idle && self.rings.iter().all(|ring| ring.take() == 0) {
                return events;
            }
        }
        panic!("they never sleep: {events:?}");
    }

    /// A connection that has carried bytes both ways: the provider's name for it, and the consumer's.
    fn busy(&mut self) -> (ConnectionId, ConnectionId) {
        let slot = self.provider.free_slot().unwrap();
        let provides = self.provider.open(slot, &opened()).unwrap();
        let (_, events) = self.settle();
        let [ConsumerEvent::Opened(consumes, _)] = events[..] else {
            panic!("{events:?}");
        };
        assert_eq!(self.provider.write(provides, b"down"), 4);
        assert_eq!(self.consumer.write(consumes, b"up"), 2);
        self.settle();
        let mut target = [0; 8];
        assert_eq!(self.provider.read(provides, &mut target), 2);
        assert_eq!(&target[..2], b"up");
        assert_eq!(self.consumer.readable(consumes), 4);
        (provides, consumes)
    }
}

fn regions(regions: &[Shared; 2], own: usize) -> (OwnRegion, PeerRegion) {
    (regions[own].own(), regions[1 - own].peers())
}

fn provider(shared: &[Shared; 2], rings: &[Bell; 2]) -> Provider {
    let (own, peers) = regions(shared, 0);
    Provider::new(layout(), own, peers, rings[0].clone()).unwrap()
}

fn consumer(shared: &[Shared; 2], rings: &[Bell; 2]) -> Consumer {
    let (own, peers) = regions(shared, 1);
    Consumer::new(layout(), own, peers, rings[1].clone()).unwrap()
}

fn opened() -> Opened {
    Opened {
        peer: "192.0.2.1:4000".parse().unwrap(),
        local_port: 80,
        token: None,
        identity: None,
        confidential: false,
    }
}

#[test]
fn a_consumer_learns_that_its_provider_started_over() {
    let mut pair = Pair::new();
    pair.settle();
    let (first, second) = (pair.busy().1, pair.busy().1);
    pair.restart_provider();
    assert!(pair.rings[0].take() > 0, "the consumer is woken");
    assert_eq!(
        pair.provider.free_slot(),
        None,
        "not before the consumer has let go"
    );
    assert_eq!(
        pair.consumer.read(first, &mut [0; 8]),
        0,
        "the bytes may be zeros by now"
    );
    let (provider, consumer) = pair.settle();
    assert_eq!(provider, [ProviderEvent::Started]);
    let ends = [first, second].map(ConsumerEvent::Reset);
    assert_eq!(consumer, [&ends[..], &[ConsumerEvent::Started]].concat());
    let next = pair.busy().1;
    assert_ne!(next, first, "an old identifier names nothing");
    assert_eq!(pair.consumer.write(first, b"x"), 0);
}

#[test]
fn a_provider_learns_that_its_consumer_started_over() {
    let mut pair = Pair::new();
    pair.settle();
    let (first, second) = (pair.busy().0, pair.busy().0);
    pair.provider.lend(2).unwrap();
    pair.restart_consumer();
    assert!(pair.rings[1].take() > 0, "the provider is woken");
    let (provider, consumer) = pair.settle();
    let ends = [first, second].map(ProviderEvent::Released);
    assert_eq!(provider, [&ends[..], &[ProviderEvent::Started]].concat());
    assert_eq!(consumer, [ConsumerEvent::Started]);
    assert_eq!(pair.provider.write(first, b"x"), 0);
    pair.busy();
}

#[test]
fn bytes_that_were_looked_at_before_a_restart_are_not_consumed() {
    let mut pair = Pair::new();
    pair.settle();
    let (_, id) = pair.busy();
    assert_eq!(pair.consumer.peek(id), b"down");
    pair.restart_provider();
    assert_eq!(pair.consumer.consume(id, 4), 0);
}

#[test]
fn requests_do_not_survive_either_side() {
    let mut pair = Pair::new();
    assert_eq!(pair.consumer.listen(80), Err(Busy), "nobody is there yet");
    pair.settle();
    let token = pair.consumer.listen(80).unwrap();
    pair.restart_provider();
    let (_, events) = pair.settle();
    let lost = ConsumerEvent::Answer {
        token,
        result: Err(Refusal::Restarted),
    };
    assert!(events.contains(&lost), "{events:?}");
    let token = pair.consumer.listen(81).unwrap();
    let (events, _) = pair.settle();
    assert_eq!(events, [ProviderEvent::Listen { token, port: 81 }]);
    pair.restart_consumer();
    // The answer is for the life before: nobody gets it.
    pair.provider.answer(token, Ok(()));
    let (_, events) = pair.settle();
    assert_eq!(events, [ConsumerEvent::Started]);
}

#[test]
fn a_peer_that_only_went_away_holds_nothing_up() {
    let mut pair = Pair::new();
    pair.settle();
    let (_, id) = pair.busy();
    pair.regions[0].wipe();
    let mut events = vec![];
    while let Some(event) = pair.consumer.next_event().unwrap() {
        events.push(event);
    }
    assert_eq!(events, [ConsumerEvent::Reset(id)]);
    assert!(pair.consumer.sleep(), "it waits for the user's release");
    pair.consumer.release(id);
    assert!(pair.consumer.sleep());
    assert_eq!(pair.consumer.next_event(), Ok(None));
    pair.provider = provider(&pair.regions, &pair.rings);
    pair.settle();
    pair.busy();
}

#[test]
fn a_slot_is_not_used_before_the_peer_is_there() {
    let regions = [layout().provider_size(), layout().consumer_size()].map(Shared::new);
    let mut provider = provider(&regions, &[Bell::default(), Bell::default()]);
    assert_eq!(provider.open(0, &opened()), Err(NotFree));
    assert!(provider.sleep());
}

/// What its peer wrote for the life before is no work.
#[test]
fn a_side_that_waits_for_its_peer_sleeps() {
    let mut pair = Pair::new();
    pair.settle();
    let (provides, consumes) = pair.busy();
    pair.provider.write(provides, b"more");
    pair.provider.flush();
    pair.consumer.write(consumes, b"more");
    pair.consumer.flush();
    pair.restart_consumer();
    assert_eq!(pair.consumer.next_event(), Ok(None));
    assert!(pair.consumer.sleep());
    pair.restart_provider();
    pair.settle();
    pair.busy();
    pair.restart_provider();
    assert_eq!(pair.provider.next_event(), Ok(None));
    assert!(pair.provider.sleep());
}

#[test]
fn log_lines_go_on_after_either_side_started_over() {
    let regions = [log::CONSUMER_SIZE, log::PROVIDER_SIZE].map(Shared::new);
    let bell = Bell::default();
    let writer = || log::Writer::new(regions[0].own(), regions[1].peers(), bell.clone()).unwrap();
    let reader = || log::Reader::new(regions[1].own(), regions[0].peers()).unwrap();
    let (mut writes, mut reads) = (writer(), reader());
    let mut text = String::new();
    let mut next = |reads: &mut log::Reader| {
        let found = reads.next(&mut text).unwrap();
        found.map(|_| text.clone())
    };
    for _ in 0..40 {
        writes.write(Level::Information, 0, &"a line".repeat(20));
        assert!(next(&mut reads).is_some());
    }
    assert!(reads.sleep());
    regions[0].wipe();
    writes = writer();
    bell.take();
    writes.write(Level::Error, 0, "a new life");
    assert_eq!(bell.take(), 1);
    assert!(next(&mut reads).is_none_or(|line| line == "a new life"));
    while next(&mut reads).is_some() {}
    writes.write(Level::Error, 0, "and on");
    assert_eq!(next(&mut reads).as_deref(), Some("and on"));
    regions[1].wipe();
    reads = reader();
    assert_eq!(
        next(&mut reads),
        None,
        "what is there was for the reader before"
    );
    writes.write(Level::Error, 0, "to a new reader");
    assert_eq!(next(&mut reads).as_deref(), Some("to a new reader"));
}

#[test]
fn what_is_written_over_a_dead_log_reader_is_read_by_the_next() {
    let regions = [log::CONSUMER_SIZE, log::PROVIDER_SIZE].map(Shared::new);
    let bell = Bell::default();
    let reader = || log::Reader::new(regions[1].own(), regions[0].peers()).unwrap();
    let mut writes = log::Writer::new(regions[0].own(), regions[1].peers(), bell.clone()).unwrap();
    let mut reads = reader();
    let mut text = String::new();
    let mut next = |reads: &mut log::Reader| {
        let found = reads.next(&mut text).unwrap();
        found.map(|_| text.clone())
    };
    for life in ["first", "second", "third"] {
        writes.write(Level::Information, 0, life);
        assert_eq!(next(&mut reads).as_deref(), Some(life));
        assert!(reads.sleep());
        bell.take();
        // It has faulted; its memory is wiped only after this line.
        writes.reset_for_next_reader();
        writes.write(Level::Error, 0, "it has faulted");
        assert_eq!(bell.take(), 1);
        regions[1].wipe();
        reads = reader();
        assert_eq!(next(&mut reads).as_deref(), Some("it has faulted"));
        assert_eq!(next(&mut reads), None);
    }
    assert_eq!(writes.misbehaved(), None);
}

/// What a test does next.
#[derive(Clone, Copy, Debug)]
enum Step {
    RestartProvider,
    RestartConsumer,
    WipeProvider,
    WipeConsumer,
    ProviderLooks,
    ConsumerLooks,
    Open,
    Write,
    Answer,
    Ask,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::RestartProvider),
        Just(Step::RestartConsumer),
        Just(Step::WipeProvider),
        Just(Step::WipeConsumer),
        Just(Step::ProviderLooks),
        Just(Step::ConsumerLooks),
        Just(Step::Open),
        Just(Step::Write),
        Just(Step::Answer),
        Just(Step::Ask),
    ]
}

proptest! {
    /// Whatever happens in whatever order, no honest side is taken for a hostile one, no byte of one connection is read
    /// in another, and in the end the two work together.
    #[test]
    fn honest_sides_always_come_together_again(steps in prop::collection::vec(step(), 0..60)) {
        let mut pair = Pair::new();
        let mut tokens = vec![];
        let mut opened_ids: Vec<(ConnectionId, u8)> = vec![];
        let mut next = 0_u8;
        let mut bytes = HashMap::new();
        let (mut wiped_provider, mut wiped_consumer) = (false, false);
        for step in steps {
            match step {
                Step::WipeProvider => { pair.regions[0].wipe(); wiped_provider = true; }
                Step::WipeConsumer => { pair.regions[1].wipe(); wiped_consumer = true; }
                Step::RestartProvider => { pair.restart_provider(); wiped_provider = false; tokens.clear(); }
                Step::RestartConsumer => { pair.restart_consumer(); wiped_consumer = false; }
                Step::ProviderLooks if !wiped_provider => {
                    while let Some(event) = pair.provider.next_event().unwrap() {
                        if let ProviderEvent::Listen { token, .. } = event { tokens.push(token); }
                        if event == ProviderEvent::Started { tokens.clear(); }
                    }
                    pair.provider.sleep();
                }
                Step::ConsumerLooks if !wiped_consumer => {
                    while let Some(event) = pair.consumer.next_event().unwrap() {
                        match event {
                            ConsumerEvent::Reset(id) => pair.consumer.release(id),
                            ConsumerEvent::Readable(id) if pair.consumer.readable(id) > 0 => {
                                let mut target = [0; RING];
                                let read = pair.consumer.read(id, &mut target);
                                // Each connection carries a byte of its own.
                                let first = *bytes.entry(id).or_insert(target[0]);
                                prop_assert!(target[..read].iter().all(|byte| *byte == first && first != 0));
                            }
                            _ => {}
                        }
                    }
                    pair.consumer.sleep();
                }
                Step::Open if !wiped_provider => {
                    if let Some(slot) = pair.provider.free_slot() {
                        next = next.wrapping_add(1).max(1);
                        let id = pair.provider.open(slot, &opened()).unwrap();
                        opened_ids.push((id, next));
                    }
                }
                Step::Write if !wiped_provider => {
                    for slot in 0..CONNECTIONS {
                        if let Some(id) = pair.provider.id(slot) {
                            let byte = opened_ids.iter().rev().find(|(other, _)| *other == id).unwrap().1;
                            pair.provider.write(id, &[byte; 7]);
                        }
                    }
                }
                Step::Answer if !wiped_provider => {
                    if let Some(token) = tokens.pop() { pair.provider.answer(token, Ok(())); }
                }
                Step::Ask if !wiped_consumer => _ = pair.consumer.listen(1),
                _ => {}
            }
        }
        if wiped_provider { pair.restart_provider(); }
        if wiped_consumer { pair.restart_consumer(); }
        pair.settle();
        for slot in 0..CONNECTIONS {
            if let Some(id) = pair.provider.id(slot) { pair.provider.reset(id); }
        }
        pair.settle();
        pair.busy();
    }
}
