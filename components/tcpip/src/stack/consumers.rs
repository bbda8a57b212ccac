//! The consumers: their requests, their slots, and what happens to one that misbehaves.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use channel::streams::{ConnectionId, Provider, ProviderEvent, Refusal};
use smoltcp::time::Instant;
use smoltcp::wire::IpEndpoint;

use super::{Consumer, Notice, Place, Stack};
use crate::connection::{Connection, Stage};
use crate::counters::Counters;
use crate::settings::{Policy, SettingsError};

/// One consumer as the stack sees it.
pub(super) struct Client {
    pub(super) name: String,
    pub(super) provider: Provider,
    pub(super) policy: Policy,
    /// By slot; made when a slot is used for the first time.
    pub(super) connections: Vec<Option<Box<Connection>>>,
    /// Slots without a connection.
    pub(super) idle: Vec<usize>,
    /// Number of peers whose handshake is not finished.
    pub(super) half_open: usize,
    /// Slots whose connections the consumer has released and that only wait out TIME-WAIT, the longest first.
    pub(super) time_wait: BTreeSet<(Instant, usize)>,
    pub(super) lost: bool,
}

impl Stack {
    pub(super) fn take_events(&mut self, now: Instant) {
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
            ProviderEvent::Started => self.forget_requests(client),
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

    /// Gives up the connections that a consumer requested before it restarted.
    fn forget_requests(&mut self, client: usize) {
        for slot in 0..self.clients[client].connections.len() {
            let place = Place { client, slot };
            let connection = self.connection(place);
            if let Some(connection) = connection.filter(|connection| connection.is_asked_for()) {
                connection.discard();
                self.counters.handshakes_failed += 1;
                self.settle(place);
            }
        }
    }

    /// Resets the connections of a consumer that violated the protocol. Those of other consumers
    /// continue.
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
            .host
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
        let parameters = self.parameters(local, remote, now);
        self.with(place, now, |connection, _| {
            connection.connect(&parameters, token, now);
        });
        self.table.insert((local, remote), place);
        self.schedule(place);
        Ok(())
    }

    /// Returns a slot for a new connection: an idle one, or the one that was longest in TIME-WAIT. An established connection
    /// or a handshake never loses its slot.
    pub(super) fn claim(&mut self, client: usize) -> Option<usize> {
        if self.clients[client].idle.is_empty() {
            let (_, slot) = *self.clients[client].time_wait.first()?;
            let place = Place { client, slot };
            self.connection(place)?.discard();
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
}

impl Client {
    pub(super) fn new(consumer: Consumer) -> Self {
        let slots = consumer.provider.layout().connections();
        Self {
            name: consumer.name,
            provider: consumer.provider,
            policy: consumer.policy,
            connections: (0..slots).map(|_| None).collect(),
            idle: (0..slots).rev().collect(),
            half_open: 0,
            time_wait: BTreeSet::new(),
            lost: false,
        }
    }

    /// Whether one more handshake may take a slot before it is finished: as many as are unfinished then stay free for
    /// those that finish theirs. Otherwise a SYN cookie answers.
    pub(super) fn may_hold_handshake(&self) -> bool {
        let free = self.idle.len() + self.time_wait.len();
        free > self.half_open + 1
    }
}

/// Which consumer gets the connections of which port.
pub(super) fn listeners(consumers: &[Consumer]) -> Result<BTreeMap<u16, usize>, SettingsError> {
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
