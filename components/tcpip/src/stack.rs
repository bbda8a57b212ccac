//! The stack: which frame belongs to which connection, whose turn it is, and when to wake.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use channel::packets::{self, Link};
use channel::streams::{ConnectionId, Provider, ProviderEvent, Refusal};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, IpEndpoint};

use crate::connection::{Connection, Context, Endpoints, Stage, Turn};
use crate::counters::Counters;
use crate::inspect::{self, Drop, Frame, Segment};
use crate::network::Network;
use crate::ports::EphemeralPorts;
use crate::sequence::{KEY_LENGTH, initial_sequence_number, seed_for};
use crate::settings::{Policy, Settings, SettingsError};
use crate::wire::{MIN_FRAME, Wire};

/// Frames taken in before connections get their turns: as many as one publication should cover.
const FRAMES_A_ROUND: usize = 64;
/// Turns given before frames are taken in again.
const TURNS_A_ROUND: usize = 64;
/// Rounds of one wake-up; then others may run.
const ROUNDS: usize = 16;
/// Stands in for the card's address until the driver tells it; a locally administered one.
const NO_HARDWARE: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 0]);
/// The alarm is never set to go off sooner.
const SHORTEST_ALARM: Duration = Duration::from_millis(1);

/// Randomness that the stack needs at its start, from the entropy protection domain.
#[derive(Clone)]
pub struct Keys {
    /// Keys the initial sequence numbers.
    pub sequence: [u8; KEY_LENGTH],
    /// Keys the ephemeral ports.
    pub ports: [u8; KEY_LENGTH],
    /// Seeds what need not be secret: identifiers of DHCP transactions, delays.
    pub seed: u64,
}

impl Keys {
    /// Random bytes that make the keys.
    pub const LENGTH: usize = 2 * KEY_LENGTH + 8;
}

impl From<[u8; Self::LENGTH]> for Keys {
    fn from(random: [u8; Self::LENGTH]) -> Self {
        let mut keys = Self {
            sequence: [0; KEY_LENGTH],
            ports: [0; KEY_LENGTH],
            seed: 0,
        };
        let (sequence, rest) = random.split_at(KEY_LENGTH);
        let (ports, seed) = rest.split_at(KEY_LENGTH);
        keys.sequence.copy_from_slice(sequence);
        keys.ports.copy_from_slice(ports);
        keys.seed = seed
            .iter()
            .fold(0, |seed, byte| seed << 8 | u64::from(*byte));
        keys
    }
}

/// Why a stack cannot start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StackError {
    /// The pool's frames are shorter than IPv6 allows: their size in bytes.
    FrameSize(usize),
    /// The consumers' parameters contradict each other.
    Settings(SettingsError),
}

impl fmt::Display for StackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FrameSize(size) => {
                write!(
                    f,
                    "frames of {size} bytes are too short; at least {MIN_FRAME} are needed"
                )
            }
            Self::Settings(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for StackError {}

/// Something that an operator may want to read in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The host's addresses, comma-separated, after a change.
    Addresses(String),
    /// A consumer broke the protocol; its connections were reset.
    ConsumerMisbehaved(String),
    /// The driver broke the protocol; the network is gone.
    DriverMisbehaved,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addresses(addresses) if addresses.is_empty() => f.write_str("no address"),
            Self::Addresses(addresses) => write!(f, "addresses: {addresses}"),
            Self::ConsumerMisbehaved(name) => {
                write!(
                    f,
                    "`{name}` broke the streams protocol; its connections were reset"
                )
            }
            Self::DriverMisbehaved => {
                f.write_str("the driver broke the packets protocol; no network")
            }
        }
    }
}

/// What the protection domain does after [`Stack::run`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    /// Set the alarm to this time, in nanoseconds since the start; `None`: leave it as it is.
    pub alarm: Option<u64>,
}

/// The stack of one network device.
pub struct Stack {
    settings: Settings,
    seed: u64,
    link: Option<Link>,
    network: Network,
    wire: Wire,
    clients: Vec<Client>,
    /// The connections that exist, by their endpoints.
    table: BTreeMap<Endpoints, Place>,
    listeners: BTreeMap<u16, usize>,
    /// Connections with work.
    ready: VecDeque<Place>,
    /// Connections that wait for a free buffer of the pool.
    starved: Vec<Place>,
    ports: EphemeralPorts,
    sequence_key: [u8; KEY_LENGTH],
    counters: Counters,
    notices: VecDeque<Notice>,
    /// No connection's deadline is earlier; found anew when it passes.
    earliest: Option<Instant>,
    /// When the host's own protocols want to run.
    host_deadline: Option<Instant>,
    armed: Option<Instant>,
    driver_lost: bool,
    /// An address may have been resolved.
    resolved: bool,
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

struct Client {
    name: String,
    provider: Provider,
    policy: Policy,
    /// By slot; made when a slot is used for the first time.
    connections: Vec<Option<Box<Connection>>>,
    /// Slots without a connection.
    idle: Vec<usize>,
    lost: bool,
}

/// A slot of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
        let mut wire = Wire::new(packets);
        let listeners = listeners(&consumers).map_err(StackError::Settings)?;
        Ok(Self {
            // Until the driver tells of a link: no addresses, so nothing is for this host.
            network: Network::new(&Settings::NONE, NO_HARDWARE, keys.seed, &mut wire, now),
            settings,
            seed: keys.seed,
            link: None,
            wire,
            clients: consumers.into_iter().map(Client::new).collect(),
            table: BTreeMap::new(),
            listeners,
            ready: VecDeque::new(),
            starved: Vec::new(),
            ports: EphemeralPorts::new(keys.ports),
            sequence_key: keys.sequence,
            counters: Counters::default(),
            notices: VecDeque::new(),
            earliest: None,
            host_deadline: None,
            armed: None,
            driver_lost: false,
            resolved: false,
        })
    }

    /// Does what is ready, in bounded work, and prepares to sleep. `now` is in nanoseconds since the start.
    pub fn run(&mut self, now: u64) -> Next {
        self.counters.wakeups += 1;
        let now = instant(now);
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

    /// What happened since the last call that an operator may want to read.
    pub fn notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    /// The counters as they are now.
    pub fn counters(&mut self) -> Counters {
        self.wire.count(&mut self.counters);
        self.counters
    }

    /// One round over everything that may be ready.
    fn round(&mut self, now: Instant) {
        self.take_events(now);
        self.take_frames(now);
        self.take_deadlines(now);
        self.take_turns(now);
    }

    /// Begins with the addresses when the driver tells of a card, or of another one.
    fn look_at_link(&mut self, now: Instant) {
        let Some(link) = self.wire.link() else {
            return;
        };
        let known = self.link.replace(link);
        if known.is_some_and(|known| known.address == link.address) {
            return;
        }
        let hardware = EthernetAddress(link.address);
        if !hardware.is_unicast() {
            return self.lose_driver();
        }
        self.network = Network::new(&self.settings, hardware, self.seed, &mut self.wire, now);
        self.notice_addresses(true);
        self.host_deadline = Some(now);
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
        let next = self.earliest.into_iter().chain(self.host_deadline).min()?;
        let next = next.max(now + SHORTEST_ALARM);
        if self.armed.is_some_and(|armed| armed <= next) {
            return None;
        }
        self.armed = Some(next);
        Some(nanoseconds(next))
    }

    fn take_events(&mut self, now: Instant) {
        for index in 0..self.clients.len() {
            while !self.clients[index].lost {
                match self.clients[index].provider.next_event() {
                    Ok(None) => break,
                    Ok(Some(event)) => self.handle(index, event, now),
                    Err(_) => self.lose(index, now),
                }
            }
        }
    }

    fn handle(&mut self, client: usize, event: ProviderEvent, now: Instant) {
        match event {
            ProviderEvent::Readable(id)
            | ProviderEvent::Writable(id)
            | ProviderEvent::HalfClosed(id) => {
                self.schedule(Place {
                    client,
                    slot: id.slot(),
                });
            }
            ProviderEvent::Aborted(id) => self.end(client, id, now, Connection::abort),
            ProviderEvent::Released(id) => self.end(client, id, now, Connection::release),
            ProviderEvent::Connect { token, remote } => {
                if let Err(refusal) = self.connect(client, token, remote.into(), now) {
                    self.clients[client].provider.answer(token, Err(refusal));
                }
            }
            ProviderEvent::Listen { token, port } => {
                // Which ports it gets is the description's decision, not the consumer's.
                let client = &mut self.clients[client];
                let granted = client.policy.listen.contains(&port);
                client
                    .provider
                    .answer(token, granted.then_some(()).ok_or(Refusal::NotAllowed));
            }
        }
    }

    fn end(
        &mut self,
        client: usize,
        id: ConnectionId,
        now: Instant,
        how: fn(&mut Connection, &mut Counters),
    ) {
        let place = Place {
            client,
            slot: id.slot(),
        };
        if self
            .connection(place)
            .is_some_and(|connection| connection.id() == Some(id))
        {
            self.with(place, now, |connection, cx| how(connection, cx.counters));
            self.schedule(place);
        }
    }

    /// A consumer broke the protocol: it has no connections any more. The others go on.
    fn lose(&mut self, client: usize, now: Instant) {
        self.counters.misbehaved += 1;
        self.listeners.retain(|_, listener| *listener != client);
        let lost = &mut self.clients[client];
        lost.lost = true;
        self.notices
            .push_back(Notice::ConsumerMisbehaved(lost.name.clone()));
        for slot in 0..self.clients[client].connections.len() {
            let place = Place { client, slot };
            if self
                .connection(place)
                .is_some_and(|connection| connection.stage() != Stage::Idle)
            {
                self.with(place, now, |connection, cx| connection.release(cx.counters));
                self.schedule(place);
            }
        }
    }

    fn take_frames(&mut self, now: Instant) {
        for _ in 0..FRAMES_A_ROUND {
            let frame = match self.wire.receive() {
                _ if self.driver_lost => return,
                Ok(None) => return,
                Ok(Some(frame)) => {
                    self.counters.frames_received += 1;
                    self.counters.bytes_received += frame.len() as u64;
                    inspect::inspect(frame)
                }
                Err(_) => return self.lose_driver(),
            };
            self.take_frame(frame, now);
        }
    }

    fn take_frame(&mut self, frame: Frame, now: Instant) {
        match frame {
            Frame::Segment(segment) => self.take_segment(segment, now),
            Frame::Resolution | Frame::Other | Frame::ListenerQuery { .. } => {
                if let Frame::ListenerQuery { delay } = frame {
                    self.network.expect_report(now, delay);
                }
                self.resolved |= frame == Frame::Resolution;
                self.network.receive(&mut self.wire, now);
                self.host_deadline = Some(now);
            }
            Frame::Dropped(Drop::Malformed) => self.counters.dropped_malformed += 1,
            Frame::Dropped(Drop::Fragment) => self.counters.dropped_fragment += 1,
            Frame::Dropped(Drop::Martian) => self.counters.dropped_martian += 1,
        }
    }

    fn take_segment(&mut self, segment: Segment, now: Instant) {
        if !self.network.is_own(segment.local.addr) || self.network.is_own(segment.remote.addr) {
            self.counters.dropped_martian += 1;
            return;
        }
        self.counters.copied_in += segment.payload as u64;
        let endpoints = (segment.local, segment.remote);
        match self.table.get(&endpoints).copied() {
            // RFC 9293, section 3.6.1: a new connection between the same endpoints may end TIME-WAIT.
            Some(place) if segment.opens && self.is_time_wait(place) => {
                self.with(place, now, |connection, _| connection.silence());
                self.open(endpoints, now);
            }
            Some(place) => {
                self.with(place, now, Connection::receive);
                self.schedule(place);
            }
            None if segment.opens => self.open(endpoints, now),
            None => self.network.refuse(&mut self.wire, now),
        }
    }

    /// A peer asks for a connection.
    fn open(&mut self, endpoints: Endpoints, now: Instant) {
        let (local, remote) = endpoints;
        let Some(&client) = self.listeners.get(&local.port) else {
            return self.network.refuse(&mut self.wire, now);
        };
        self.counters.handshakes += 1;
        let Some(slot) = self.claim(client) else {
            // The peer repeats its SYN; perhaps a slot is free by then.
            self.counters.refused_full += 1;
            return;
        };
        let place = Place { client, slot };
        let number = initial_sequence_number(&self.sequence_key, local, remote, now);
        let mut seeded = self
            .network
            .with_seed(seed_for(number), &mut self.wire, now);
        let accepted = self.with(place, now, |connection, cx| {
            connection.accept(endpoints, &mut seeded, cx.wire, now)
        });
        if accepted == Some(true) {
            self.table.insert(endpoints, place);
            self.schedule(place);
        }
    }

    /// A consumer asks for a connection.
    fn connect(
        &mut self,
        client: usize,
        token: u32,
        remote: IpEndpoint,
        now: Instant,
    ) -> Result<(), Refusal> {
        if !self.clients[client].policy.connect {
            return Err(Refusal::NotAllowed);
        }
        let local = self
            .network
            .source_for(remote.addr)
            .ok_or(Refusal::Unreachable)?;
        let (table, listeners) = (&self.table, &self.listeners);
        let port = self.ports.choose(local, remote, |port| {
            let endpoints = (IpEndpoint::new(local, port), remote);
            !listeners.contains_key(&port) && !table.contains_key(&endpoints)
        });
        let local = IpEndpoint::new(local, port.ok_or(Refusal::NoRoom)?);
        let slot = self.claim(client).ok_or(Refusal::NoRoom)?;
        let place = Place { client, slot };
        let number = initial_sequence_number(&self.sequence_key, local, remote, now);
        let mut seeded = self
            .network
            .with_seed(seed_for(number), &mut self.wire, now);
        let begun = self.with(place, now, |connection, _| {
            connection.connect((local, remote), token, &mut seeded, now)
        });
        if begun != Some(true) {
            return Err(Refusal::Unreachable);
        }
        self.table.insert((local, remote), place);
        self.schedule(place);
        Ok(())
    }

    /// A slot for a new connection: an idle one, or the one that was longest in TIME-WAIT, or the oldest
    /// handshake that a peer began and did not finish. An established connection never loses its slot.
    fn claim(&mut self, client: usize) -> Option<usize> {
        if self.clients[client].idle.is_empty() {
            let slot = self.clients[client].reclaimable()?;
            let place = Place { client, slot };
            let connection = self.connection(place)?;
            let half_open = connection.is_half_open();
            connection.discard();
            self.counters.handshakes_failed += u64::from(half_open);
            self.settle(place);
        }
        let client = &mut self.clients[client];
        let slot = *client.idle.last()?;
        if client.connections[slot].is_none() {
            let memory = client.provider.lend(slot)?;
            client.connections[slot] = Some(Box::new(Connection::new(slot, memory)));
        }
        client.idle.pop()
    }

    fn take_deadlines(&mut self, now: Instant) {
        if core::mem::take(&mut self.resolved) {
            self.schedule_where(|connection| connection.is_waiting());
        }
        if self.earliest.is_some_and(|earliest| earliest <= now) {
            let due = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
            self.schedule_where(|connection| due(connection.deadline()));
            let connections = self
                .clients
                .iter()
                .flat_map(|client| &client.connections)
                .flatten();
            self.earliest = connections
                .filter_map(|connection| connection.deadline().filter(|deadline| *deadline > now))
                .min();
        }
        if self.host_deadline.is_some_and(|deadline| deadline <= now) {
            let changed = self.network.maintain(&mut self.wire, now);
            self.notice_addresses(changed);
            self.host_deadline = self.network.deadline(now);
        }
    }

    fn take_turns(&mut self, now: Instant) {
        if !self.starved.is_empty() && self.wire.has_room() {
            self.ready.extend(self.starved.drain(..));
        }
        for _ in 0..self.ready.len().min(TURNS_A_ROUND) {
            let Some(place) = self.ready.pop_front() else {
                return;
            };
            match self.with(place, now, Connection::turn) {
                Some(Turn::More) => self.ready.push_back(place),
                Some(Turn::Starved) => self.starved.push(place),
                Some(Turn::Done) | None => {
                    if let Some(connection) = self.connection(place) {
                        connection.scheduled = false;
                    }
                }
            }
        }
    }

    /// Calls a connection with its surroundings and draws the consequences.
    fn with<R>(
        &mut self,
        place: Place,
        now: Instant,
        call: impl FnOnce(&mut Connection, &mut Context<'_>) -> R,
    ) -> Option<R> {
        let client = self.clients.get_mut(place.client)?;
        let connection = client.connections.get_mut(place.slot)?.as_mut()?;
        let result = call(
            connection,
            &mut Context {
                network: &mut self.network,
                wire: &mut self.wire,
                provider: &mut client.provider,
                counters: &mut self.counters,
                now,
            },
        );
        self.settle(place);
        Some(result)
    }

    /// Forgets the endpoints of a connection that ended, notes its deadline, and frees its slot.
    fn settle(&mut self, place: Place) {
        let client = &mut self.clients[place.client];
        let Some(connection) = client.connections[place.slot].as_mut() else {
            return;
        };
        if let Some(endpoints) = connection.take_silent()
            && self.table.get(&endpoints) == Some(&place)
        {
            self.table.remove(&endpoints);
        }
        if connection.retire() {
            client.idle.push(place.slot);
        }
        self.earliest = self.earliest.into_iter().chain(connection.deadline()).min();
    }

    fn schedule(&mut self, place: Place) {
        if let Some(connection) = self.connection(place)
            && !core::mem::replace(&mut connection.scheduled, true)
        {
            self.ready.push_back(place);
        }
    }

    fn schedule_where(&mut self, chosen: impl Fn(&Connection) -> bool) {
        for (client, of_client) in self.clients.iter_mut().enumerate() {
            for (slot, connection) in of_client.connections.iter_mut().enumerate() {
                if let Some(connection) = connection
                    && chosen(connection)
                    && !core::mem::replace(&mut connection.scheduled, true)
                {
                    self.ready.push_back(Place { client, slot });
                }
            }
        }
    }

    fn connection(&mut self, place: Place) -> Option<&mut Connection> {
        let client = self.clients.get_mut(place.client)?;
        client.connections.get_mut(place.slot)?.as_deref_mut()
    }

    fn is_time_wait(&mut self, place: Place) -> bool {
        self.connection(place)
            .is_some_and(|connection| connection.is_time_wait())
    }

    fn notice_addresses(&mut self, changed: bool) {
        if changed {
            let addresses: Vec<String> = self
                .network
                .addresses()
                .iter()
                .map(ToString::to_string)
                .collect();
            self.notices
                .push_back(Notice::Addresses(addresses.join(", ")));
        }
    }
}

impl Client {
    fn new(consumer: Consumer) -> Self {
        let slots = consumer.provider.layout().connections();
        Self {
            name: consumer.name,
            provider: consumer.provider,
            policy: consumer.policy,
            connections: (0..slots).map(|_| None).collect(),
            idle: (0..slots).rev().collect(),
            lost: false,
        }
    }

    /// The slot whose connection is missed least.
    fn reclaimable(&self) -> Option<usize> {
        let oldest = |chosen: fn(&Connection) -> bool| {
            self.connections
                .iter()
                .enumerate()
                .filter_map(|(slot, connection)| Some((slot, connection.as_deref()?)))
                .filter(|(_, connection)| chosen(connection))
                .min_by_key(|(_, connection)| connection.moved())
                .map(|(slot, _)| slot)
        };
        oldest(|connection| connection.stage() == Stage::Released && connection.is_time_wait())
            .or_else(|| oldest(Connection::is_half_open))
    }
}

/// Which consumer gets the connections of which port.
fn listeners(consumers: &[Consumer]) -> Result<BTreeMap<u16, usize>, SettingsError> {
    let mut listeners = BTreeMap::new();
    for (index, consumer) in consumers.iter().enumerate() {
        for port in &consumer.policy.listen {
            if listeners
                .insert(*port, index)
                .is_some_and(|other| other != index)
            {
                return Err(SettingsError::PortTaken(*port));
            }
        }
    }
    Ok(listeners)
}

/// smoltcp counts microseconds.
fn instant(nanoseconds: u64) -> Instant {
    Instant::from_micros((nanoseconds / 1000) as i64)
}

fn nanoseconds(instant: Instant) -> u64 {
    instant.total_micros() as u64 * 1000
}
