//! The stack between a network and its consumers, with time that tests move.

use std::collections::BTreeMap;

use channel::packets::{Driver, Link};
use channel::streams::{ConnectionId, Consumer as Streams, ConsumerEvent};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, IpCidr, Ipv4Cidr, Ipv6Cidr};

use super::{Host, PEER, PEER_MAC, STACK, STACK_MAC, pairs};
use crate::settings::{Ipv4Setting, Ipv6Setting, Policy, Settings};
use crate::stack::{Consumer, Keys, Stack};

pub(crate) const MILLISECOND: u64 = 1_000_000;

/// How the network treats frames, in percent, and until when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Faults {
    pub lost: u64,
    pub repeated: u64,
    pub delayed: u64,
    /// Nanoseconds of the world's time; from then on the network is faultless. A network that may lose frames for
    /// ever may also lose every retransmission, and then a connection ends as it must, by its time-out.
    pub end: u64,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            lost: 0,
            repeated: 0,
            delayed: 0,
            end: u64::MAX,
        }
    }
}

/// Everything around the stack.
pub(crate) struct World {
    pub stack: Stack,
    pub driver: Driver,
    pub driver_memory: pairs::Memory,
    pub host: Host,
    pub services: Vec<Service>,
    pub faults: Faults,
    /// Nanoseconds.
    pub now: u64,
    pub alarm: Option<u64>,
    /// Frames that the stack sent, when a test wants to see them.
    pub seen: Vec<Vec<u8>>,
    /// Frames under way, by their time of arrival and a serial number: to the stack or to the host.
    under_way: BTreeMap<(u64, u64), (bool, Vec<u8>)>,
    serial: u64,
    random: u64,
}

/// A consumer of the stack with a simple program.
pub(crate) struct Service {
    pub port: Streams,
    pub memory: pairs::Memory,
    pub program: Program,
    pub connections: BTreeMap<usize, Conversation>,
    pub events: Vec<ConsumerEvent>,
}

/// What a service does with its connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Program {
    /// Sends back what it gets, and closes when its peer does.
    Echo,
    /// Leaves everything to the test, but for releasing what is over.
    Watch,
    /// Looks at nothing.
    Sleep,
}

/// One connection of a service.
pub(crate) struct Conversation {
    pub id: ConnectionId,
    pub over: Option<ConsumerEvent>,
    waiting: Vec<u8>,
}

impl World {
    /// A stack at 10.0.0.1 with one service that listens on port 80, and a host at 10.0.0.2.
    pub fn new(program: Program, connections: usize, buffer: usize) -> Self {
        Self::with(settings(), &[(program, 80, connections, buffer)])
    }

    /// A stack with several services: program, port, connections, bytes of a ring.
    pub fn with(settings: Settings, services: &[(Program, u16, usize, usize)]) -> Self {
        let (mut driver, packets, driver_memory) = pairs::packets(64);
        let mut consumers = vec![];
        let mut ends = vec![];
        for &(program, port, connections, buffer) in services {
            let (provider, consumer, memory) = pairs::streams(connections, buffer);
            let policy = Policy {
                listen: vec![port],
                connect: true,
            };
            consumers.push(Consumer {
                name: format!("service{port}"),
                policy,
                provider,
            });
            ends.push(Service {
                port: consumer,
                memory,
                program,
                connections: BTreeMap::new(),
                events: vec![],
            });
        }
        let keys = Keys {
            sequence: [1; 16],
            ports: [2; 16],
            others: [3; 16],
        };
        let stack = Stack::new(settings, packets, consumers, keys, 0).unwrap();
        driver.set_link(Link {
            address: STACK_MAC.0,
            up: true,
            mtu: 1500,
        });
        let addresses = [
            IpCidr::Ipv4(Ipv4Cidr::new(PEER, 24)),
            IpCidr::Ipv6(link_local(PEER_MAC)),
        ];
        Self {
            stack,
            driver,
            driver_memory,
            host: Host::new(PEER_MAC, &addresses, 4),
            services: ends,
            faults: Faults::default(),
            now: 0,
            alarm: None,
            seen: vec![],
            under_way: BTreeMap::new(),
            serial: 0,
            random: 0x1234_5678_9abc_def1,
        }
    }

    /// Lets everybody work until nobody has anything to do at this time.
    pub fn settle(&mut self) {
        for _ in 0..10_000 {
            if !self.work() {
                return;
            }
        }
        panic!("the world does not come to rest");
    }

    /// Moves time on by `milliseconds`, through everything that happens meanwhile.
    pub fn run(&mut self, milliseconds: u64) {
        let end = self.now + milliseconds * MILLISECOND;
        loop {
            self.settle();
            match self.next() {
                Some(next) if next <= end => self.now = next.max(self.now + 1),
                _ => break,
            }
        }
        self.now = end;
        self.settle();
    }

    /// Runs until the condition holds; panics after 20 simulated minutes.
    pub fn until(&mut self, what: &str, mut condition: impl FnMut(&mut Self) -> bool) {
        let end = self.now + 20 * 60 * 1000 * MILLISECOND;
        loop {
            self.settle();
            if condition(self) {
                return;
            }
            // What the condition did may be answered before anything else happens.
            self.settle();
            let next = self
                .next()
                .unwrap_or_else(|| panic!("everybody sleeps, and not: {what}"));
            assert!(next < end, "it takes too long: {what}");
            self.now = next.max(self.now + 1);
        }
    }

    pub fn instant(&self) -> Instant {
        Instant::from_micros((self.now / 1000) as i64)
    }

    /// Puts a frame on the wire to the stack, now.
    pub fn inject(&mut self, frame: &[u8]) {
        if !pairs::deliver(&mut self.driver, frame) {
            self.settle();
            assert!(
                pairs::deliver(&mut self.driver, frame),
                "the stack returns no buffers"
            );
        }
    }

    /// The next time at which something happens by itself.
    fn next(&mut self) -> Option<u64> {
        let now = self.instant();
        let host = self
            .host
            .deadline(now)
            .map(|at| at.total_micros() as u64 * 1000);
        let frame = self.under_way.keys().next().map(|(at, _)| *at);
        [self.alarm, host, frame].into_iter().flatten().min()
    }

    fn work(&mut self) -> bool {
        let mut worked = false;
        if self.alarm.is_some_and(|alarm| alarm <= self.now) {
            self.alarm = None;
            worked = true;
        }
        if let Some(alarm) = self.stack.run(self.now).alarm {
            self.alarm = Some(alarm);
        }
        while let Some(frame) = pairs::sent(&mut self.driver) {
            worked = true;
            self.seen.push(frame.clone());
            self.send(false, frame);
        }
        let now = self.instant();
        self.host.poll(now);
        while let Some(frame) = self.host.sent() {
            worked = true;
            self.send(true, frame);
        }
        for service in &mut self.services {
            worked |= service.work();
        }
        worked | self.arrive()
    }

    fn arrive(&mut self) -> bool {
        let mut arrived = false;
        while let Some(entry) = self.under_way.first_entry()
            && entry.key().0 <= self.now
        {
            let (to_stack, frame) = entry.remove();
            if to_stack {
                // Without a free buffer the card loses the frame.
                pairs::deliver(&mut self.driver, &frame);
            } else {
                self.host.deliver(frame);
            }
            arrived = true;
        }
        arrived
    }

    /// The network takes 100 µs, and what the faults add.
    fn send(&mut self, to_stack: bool, frame: Vec<u8>) {
        let copies = 1 + u64::from(self.happens(self.faults.repeated));
        for _ in 0..copies {
            if self.happens(self.faults.lost) {
                continue;
            }
            let delay = match self.happens(self.faults.delayed) {
                true => MILLISECOND * (1 + self.dice() % 20),
                false => MILLISECOND / 10,
            };
            self.serial += 1;
            self.under_way
                .insert((self.now + delay, self.serial), (to_stack, frame.clone()));
        }
    }

    fn happens(&mut self, percent: u64) -> bool {
        percent > 0 && self.now < self.faults.end && self.dice() % 100 < percent
    }

    /// Xorshift: the same world runs the same way.
    fn dice(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random >> 11
    }

    /// Makes the world's chances other ones.
    pub fn shuffle(&mut self, seed: u64) {
        self.random ^= seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    }
}

impl Service {
    /// The one connection that there is.
    pub fn only(&self) -> ConnectionId {
        assert_eq!(self.connections.len(), 1);
        self.connections.values().next().unwrap().id
    }

    fn work(&mut self) -> bool {
        if self.program == Program::Sleep {
            return false;
        }
        let mut worked = false;
        loop {
            while let Some(event) = self.port.next_event().unwrap() {
                worked = true;
                self.take(event);
            }
            if self.program == Program::Echo {
                for conversation in self.connections.values_mut() {
                    worked |= conversation.echo(&mut self.port);
                }
            }
            self.release();
            if self.port.sleep() {
                return worked;
            }
        }
    }

    fn take(&mut self, event: ConsumerEvent) {
        self.events.push(event);
        match event {
            ConsumerEvent::Opened(id, _) => {
                let conversation = Conversation {
                    id,
                    over: None,
                    waiting: vec![],
                };
                self.connections.insert(id.slot(), conversation);
            }
            ConsumerEvent::Closed(id) | ConsumerEvent::Reset(id) => {
                if let Some(conversation) = self.connections.get_mut(&id.slot()) {
                    conversation.over = Some(event);
                }
            }
            _ => {}
        }
    }

    fn release(&mut self) {
        let port = &mut self.port;
        self.connections.retain(|_, conversation| {
            let over = conversation.over.is_some() && port.readable(conversation.id) == 0;
            if over {
                port.release(conversation.id);
            }
            !over
        });
    }
}

impl Conversation {
    fn echo(&mut self, port: &mut Streams) -> bool {
        let mut moved = false;
        loop {
            if self.waiting.is_empty() {
                self.waiting = vec![0; port.readable(self.id).min(1000)];
                let read = port.read(self.id, &mut self.waiting);
                self.waiting.truncate(read);
            }
            let written = port.write(self.id, &self.waiting);
            self.waiting.drain(..written);
            moved |= written > 0;
            if written == 0 {
                break;
            }
        }
        if self.waiting.is_empty() && port.at_end(self.id) && self.over.is_none() {
            port.close(self.id);
        }
        moved
    }
}

/// A fixed IPv4 address and a link-local IPv6 one, without solicitations.
pub(crate) fn settings() -> Settings {
    Settings {
        ipv4: Ipv4Setting::Fixed {
            address: Ipv4Cidr::new(STACK, 24),
            gateway: None,
        },
        ipv6: Ipv6Setting::Fixed {
            address: "fd00::1/64".parse().unwrap(),
            gateway: None,
        },
        ..Settings::NONE
    }
}

pub(crate) fn link_local(hardware: EthernetAddress) -> Ipv6Cidr {
    let prefix = "fe80::/64".parse().unwrap();
    Ipv6Cidr::from_link_prefix(&prefix, hardware.into()).unwrap()
}
