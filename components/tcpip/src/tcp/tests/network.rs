//! Two connections and a network between them that loses, repeats and reorders.

use std::collections::BTreeMap;

use smoltcp::time::{Duration, Instant};

use super::script::{local, parameters, pattern, remote};
use crate::segment::{Outgoing, Segment, Sent};
use crate::tcp::{Header, Limits, Parameters, SequenceNumber, State, Tcb};
use crate::testing::pairs::{self, Rings};

/// How the network treats segments, in percent, and how long they take in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Faults {
    pub lost: u64,
    pub repeated: u64,
    pub reordered: u64,
    pub delay: u64,
}

/// One of the two.
pub(crate) struct Side {
    pub tcb: Tcb,
    rings: Rings,
    limits: Limits,
    /// The bytes that it sends.
    pub data: Vec<u8>,
    written: usize,
    pub read: Vec<u8>,
    /// Bytes that its user takes at a time.
    pub appetite: usize,
    acknowledged: usize,
}

type Frame = (Header, Vec<u8>);

pub(crate) struct Network {
    pub sides: [Side; 2],
    pub faults: Faults,
    pub now: Instant,
    /// By time of arrival and serial number: to which side.
    under_way: BTreeMap<(Instant, u64), (usize, Frame)>,
    pub sent: u64,
    random: u64,
}

impl Side {
    pub fn new(size: usize, data: Vec<u8>) -> Self {
        let (memory, rings) = pairs::socket_memory(size);
        Self {
            tcb: Tcb::new(memory),
            rings,
            limits: Limits::new([1; 16]),
            data,
            written: 0,
            read: vec![],
            appetite: usize::MAX,
            acknowledged: 0,
        }
    }

    fn work(&mut self) {
        self.tcb.take_received();
        let bytes = self.rings.read(self.read.len(), self.tcb.unread());
        let taken = bytes.len().min(self.appetite);
        self.read.extend(&bytes[..taken]);
        self.tcb.consume(taken);
        self.acknowledged += self.tcb.take_acknowledged();
        if self.tcb.takes_data() {
            let size = self.written - self.acknowledged;
            let piece = &self.data[self.written..];
            let piece = &piece[..piece.len().min(self.tcb.capacity() - size)];
            self.rings.write(self.written, piece);
            self.written += self.tcb.write(piece.len());
            if self.written == self.data.len() {
                self.tcb.close();
            }
        }
    }
}

impl Network {
    /// The first side connects; the second one answers its first SYN.
    pub fn new(sides: [Side; 2], faults: Faults, seed: u64) -> Self {
        let mut network = Self {
            sides,
            faults,
            now: Instant::from_secs(50),
            under_way: BTreeMap::new(),
            sent: 0,
            random: seed | 1,
        };
        let parameters = Parameters {
            number: SequenceNumber(seed as u32),
            local: remote(),
            remote: local(),
            ..parameters()
        };
        let now = network.now;
        network.sides[0].tcb.connect(&parameters, now);
        network
    }

    /// Runs until both are closed; returns how long it took. Both have sent everything then, unless one gave up.
    pub fn run(&mut self) -> Duration {
        let begin = self.now;
        for _ in 0..1_000_000 {
            self.settle();
            if self
                .sides
                .iter()
                .all(|side| side.tcb.state() == State::Closed)
            {
                while self.sides.iter().any(|side| side.tcb.unread() > 0) {
                    self.sides.iter_mut().for_each(Side::work);
                }
                return self.now - begin;
            }
            let frame = self.under_way.keys().next().map(|(at, _)| *at);
            let deadlines = self.sides.iter().map(|side| side.tcb.deadline());
            let next = deadlines.chain([frame]).flatten().min();
            let next = next.expect("both wait, and nothing is under way");
            self.now = self.now.max(next);
            self.arrive();
            for side in &mut self.sides {
                side.tcb.expire(self.now);
            }
        }
        panic!("it takes too many steps");
    }

    fn settle(&mut self) {
        for index in 0..2 {
            self.sides[index].work();
            let mut frames: Vec<Frame> = vec![];
            self.sides[index]
                .tcb
                .transmit(10_000, self.now, |outgoing: &Outgoing<'_>| {
                    frames.push((outgoing.header, outgoing.payload.concat()));
                    Sent::Done
                });
            self.sent += frames.len() as u64;
            for frame in frames {
                self.send(1 - index, frame);
            }
        }
    }

    fn send(&mut self, to: usize, frame: Frame) {
        let copies = 1 + u64::from(self.dice(100) < self.faults.repeated);
        for _ in 0..copies {
            if self.dice(100) < self.faults.lost {
                continue;
            }
            let mut delay = 1000 * self.faults.delay;
            if self.dice(100) < self.faults.reordered {
                delay += self.dice(1 + 3000 * self.faults.delay);
            }
            let at = self.now + Duration::from_micros(delay);
            let serial = self.under_way.len() as u64 + (self.random << 20);
            let last = self.under_way.range((at, 0)..=(at, u64::MAX)).next_back();
            let serial = last
                .map_or(0, |((_, serial), _)| serial + 1)
                .min(serial | 1 << 60);
            self.under_way.insert((at, serial), (to, frame.clone()));
        }
    }

    fn arrive(&mut self) {
        while let Some(entry) = self.under_way.first_entry()
            && entry.key().0 <= self.now
        {
            let (to, (header, payload)) = entry.remove();
            let (own, peer) = match to {
                0 => (remote(), local()),
                _ => (local(), remote()),
            };
            let segment = Segment {
                local: own,
                remote: peer,
                header,
                payload: &payload,
            };
            let (number, now) = (self.random as u32, self.now);
            let side = &mut self.sides[to];
            if to == 1 && side.tcb.state() == State::Closed && side.tcb.end().is_none() {
                let parameters = Parameters {
                    number: SequenceNumber(number),
                    ..parameters()
                };
                side.tcb.accept(&segment, &parameters, now);
            } else {
                side.tcb.receive(&segment, &mut side.limits, now);
            }
            side.work();
        }
    }

    fn dice(&mut self, sides: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) % sides.max(1)
    }

    /// Whether everything has arrived on both sides.
    pub fn is_complete(&self) -> bool {
        self.sides[0].read == self.sides[1].data && self.sides[1].read == self.sides[0].data
    }
}

/// A network between rings of this size whose sides send this number of bytes.
pub(crate) fn between(size: usize, lengths: [usize; 2], faults: Faults, seed: u64) -> Network {
    let sides = lengths.map(|length| Side::new(size, pattern(length)));
    Network::new(sides, faults, seed)
}
