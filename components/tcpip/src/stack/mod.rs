//! The stack: which frame belongs to which connection, whose turn it is, and when to wake.

mod consumers;
mod frames;
mod keys;
mod notice;
mod turns;

pub use keys::Keys;
pub use notice::{Notice, StackError};

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use channel::packets::{self, Link};
use channel::status::Publisher;
use channel::streams::Provider;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, IpAddress};

use self::consumers::{Client, listeners};
use self::keys::Purpose;
use crate::connection::Endpoints;
use crate::counters::{Counters, Published};
use crate::host::Host;
use crate::ports::EphemeralPorts;
use crate::sequence::KEY_LENGTH;
use crate::settings::{Policy, Settings};
use crate::tcp::{Cookies, Limits};
use crate::wire::{MIN_FRAME, Wire};

/// Rounds of one wake-up; then others may run.
const ROUNDS: usize = 16;
/// Stands in for the card's address until the driver tells it; a locally administered one.
const NO_HARDWARE: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 0]);
/// The alarm is never set to go off sooner.
const SHORTEST_ALARM: Duration = Duration::from_millis(1);

/// What the protection domain does after [`Stack::run`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    /// Set the alarm to this time, in nanoseconds since the start; `None`: leave it as it is.
    pub alarm: Option<u64>,
}

/// The stack of one network device.
pub struct Stack {
    settings: Settings,
    keys: Keys,
    /// The link, as last reported by the driver.
    link: Option<Link>,
    up: bool,
    host: Host,
    wire: Wire,
    /// Private copy of a received frame: the driver could change the pool's while it is parsed.
    frame: Box<[u8]>,
    clients: Vec<Client>,
    /// The connections that exist, by their endpoints.
    table: BTreeMap<Endpoints, Place>,
    listeners: BTreeMap<u16, usize>,
    /// Connections with work.
    ready: VecDeque<Place>,
    /// Connections that wait for a free buffer of the pool.
    starved: Vec<Place>,
    /// When connections want their turns, one entry each at most.
    deadlines: BTreeSet<(Instant, Place)>,
    /// Connections that wait for the link-layer address of a next hop.
    resolving: BTreeSet<(IpAddress, Place)>,
    ports: EphemeralPorts,
    timestamp_key: [u8; KEY_LENGTH],
    cookies: Cookies,
    limits: Limits,
    counters: Counters,
    published: Published,
    notices: VecDeque<Notice>,
    /// As in the last notice of them.
    addresses: String,
    armed: Option<Instant>,
    driver_lost: bool,
}

/// One consumer of byte streams.
pub struct Consumer {
    /// Its name, for notices.
    pub name: String,
    /// What it may do.
    pub policy: Policy,
    /// This side of its connection.
    pub provider: Provider,
}

/// A slot of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    client: usize,
    slot: usize,
}

impl Stack {
    /// A stack that sends and receives through `packets` and serves `consumers`; it takes its addresses
    /// when the driver has told of the link. `now` is in nanoseconds since the start.
    ///
    /// # Errors
    /// [`StackError`] if the pool or the consumers' parameters cannot be used.
    pub fn new(
        settings: Settings,
        packets: packets::Stack,
        consumers: Vec<Consumer>,
        keys: Keys,
        now: u64,
    ) -> Result<Self, StackError> {
        let frame_size = packets.layout().frame_size();
        if frame_size < MIN_FRAME {
            return Err(StackError::FrameSize(frame_size));
        }
        let now = instant(now);
        let listeners = listeners(&consumers).map_err(StackError::Settings)?;
        Ok(Self {
            // Until the driver tells of a link: no addresses, so nothing is for this host.
            host: Host::new(
                &Settings::NONE,
                NO_HARDWARE,
                keys.derive(Purpose::Host),
                now,
            ),
            settings,
            link: None,
            up: false,
            wire: Wire::new(packets),
            frame: vec![0; frame_size].into(),
            clients: consumers.into_iter().map(Client::new).collect(),
            table: BTreeMap::new(),
            listeners,
            ready: VecDeque::new(),
            starved: Vec::new(),
            deadlines: BTreeSet::new(),
            resolving: BTreeSet::new(),
            ports: EphemeralPorts::new(keys.ports),
            timestamp_key: keys.derive(Purpose::Timestamps),
            cookies: Cookies::new(keys.derive(Purpose::Cookies)),
            limits: Limits::new(keys.derive(Purpose::Limits)),
            keys,
            counters: Counters::default(),
            published: Published::default(),
            notices: VecDeque::new(),
            addresses: String::new(),
            armed: None,
            driver_lost: false,
        })
    }

    /// Has the counters published after every [`Stack::run`].
    pub fn publish(&mut self, publisher: Publisher) {
        self.published = Published::new(publisher);
    }

    /// Does what is ready, in bounded work, and prepares to sleep. `now` is in nanoseconds since the start.
    pub fn run(&mut self, now: u64) -> Next {
        self.counters.wakeups += 1;
        let next = self.work(instant(now));
        self.wire.count(&mut self.counters);
        self.counters.challenges = self.limits.challenges_sent;
        self.published.update(&self.counters);
        next
    }

    /// What happened since the last call that an operator may want to read.
    pub fn notice(&mut self) -> Option<Notice> {
        self.notices
            .pop_front()
            .or_else(|| self.host.notice().map(Notice::Host))
    }

    /// The counters as they were after the last [`Stack::run`].
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Returns the number of entries in everything that grows with connections.
    #[cfg(test)]
    pub(crate) fn entries(&self) -> usize {
        let waiting: usize = self
            .clients
            .iter()
            .map(|client| client.time_wait.len())
            .sum();
        let queues = self.ready.len() + self.starved.len() + self.notices.len();
        waiting + queues + self.table.len() + self.deadlines.len() + self.resolving.len()
    }

    fn work(&mut self, now: Instant) -> Next {
        if self.armed.is_some_and(|armed| armed <= now) {
            self.armed = None;
        }
        self.look_at_link(now);
        for _ in 0..ROUNDS {
            self.round(now);
            // Sleeping is what ends a round of every port; it flushes too.
            if self.sleep() && self.ready.is_empty() {
                let alarm = self.rearm(now);
                return Next { alarm };
            }
        }
        // Others get the processor; the alarm comes at once.
        self.armed = Some(now);
        Next {
            alarm: Some(nanoseconds(now)),
        }
    }

    /// One round over everything that may be ready.
    fn round(&mut self, now: Instant) {
        self.take_events(now);
        self.take_frames(now);
        self.maintain(now);
        self.take_deadlines(now);
        self.take_turns(now);
    }

    /// Configures the host when the driver reports a card, or another one. When the link is back, because the cable was plugged
    /// in or the driver has restarted, connections continue.
    fn look_at_link(&mut self, now: Instant) {
        let link = self.wire.link();
        let up = link.is_some_and(|link| link.up);
        let was_up = core::mem::replace(&mut self.up, up);
        let Some(link) = link else {
            return;
        };
        let known = self.link.replace(link);
        if known.is_none_or(|known| known.address != link.address) {
            let hardware = EthernetAddress(link.address);
            if !hardware.is_unicast() {
                return self.lose_driver();
            }
            let key = self.keys.derive(Purpose::Host);
            self.host = Host::new(&self.settings, hardware, key, now);
            self.host.link(up, link.mtu, now);
        } else if known != Some(link) || up != was_up {
            self.host.link(up, link.mtu, now);
        }
        if known.is_some() && up && !was_up {
            self.resume(now);
        }
    }

    /// Lets every connection retransmit the segments that were lost while the link was down.
    fn resume(&mut self, now: Instant) {
        let places: Vec<Place> = self.table.values().copied().collect();
        for place in places {
            self.with(place, now, |connection, _| connection.resume(now));
            self.schedule(place);
        }
    }

    fn lose_driver(&mut self) {
        self.driver_lost = true;
        self.counters.misbehaved += 1;
        self.notices.push_back(Notice::DriverMisbehaved);
    }

    fn sleep(&mut self) -> bool {
        let mut asleep = self.driver_lost || self.wire.sleep(!self.starved.is_empty());
        for client in &mut self.clients {
            asleep &= client.lost || client.provider.sleep();
        }
        asleep
    }

    /// The alarm to set, if the one that is set comes too late.
    fn rearm(&mut self, now: Instant) -> Option<u64> {
        let connections = self.deadlines.first().map(|(at, _)| *at);
        let next = connections
            .into_iter()
            .chain(self.host.deadline(now))
            .min()?;
        let next = next.max(now + SHORTEST_ALARM);
        if self.armed.is_some_and(|armed| armed <= next) {
            return None;
        }
        self.armed = Some(next);
        Some(nanoseconds(next))
    }

    fn notice_addresses(&mut self) {
        let addresses: Vec<String> = self
            .host
            .addresses()
            .iter()
            .map(ToString::to_string)
            .collect();
        let addresses = addresses.join(", ");
        if addresses != self.addresses {
            self.addresses.clone_from(&addresses);
            self.notices.push_back(Notice::Addresses(addresses));
        }
    }
}

/// Converts a time to microseconds, the unit of the network components.
fn instant(nanoseconds: u64) -> Instant {
    Instant::from_micros((nanoseconds / 1000) as i64)
}

fn nanoseconds(instant: Instant) -> u64 {
    instant.total_micros() as u64 * 1000
}
