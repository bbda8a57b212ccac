//! The order of turns: which connections run, and when.

use alloc::vec::Vec;

use smoltcp::time::Instant;
use smoltcp::wire::IpAddress;

use super::{Place, Stack};
use crate::connection::{Connection, Context, Counted, Turn};
use crate::host::Resolution;

/// Turns given before frames are taken in again.
const TURNS_A_ROUND: usize = 64;

impl Stack {
    /// Lets the host do what is due, and its news take effect.
    pub(super) fn maintain(&mut self, now: Instant) {
        if self.host.deadline(now).is_some_and(|at| at <= now)
            && self.host.maintain(&mut self.wire, now)
        {
            self.notice_addresses();
            self.reset_strangers(now);
        }
        while let Some(resolution) = self.host.resolution() {
            let (hop, found) = match resolution {
                Resolution::Found(hop) => (hop, true),
                Resolution::Failed(hop) => (hop, false),
            };
            self.resolved(hop, found, now);
        }
    }

    pub(super) fn take_deadlines(&mut self, now: Instant) {
        while let Some(&(at, place)) = self.deadlines.first()
            && at <= now
        {
            self.deadlines.pop_first();
            if let Some(connection) = self.connection(place) {
                connection.alarm = None;
            }
            self.schedule(place);
        }
    }

    /// Resets the connections whose local address this host has lost.
    fn reset_strangers(&mut self, now: Instant) {
        let strangers: Vec<Place> = self
            .table
            .iter()
            .filter(|((local, _), _)| !self.host.is_own(local.addr))
            .map(|(_, place)| *place)
            .collect();
        for place in strangers {
            self.with(place, now, |connection, cx| connection.abort(cx.counters));
            self.schedule(place);
        }
    }

    fn resolved(&mut self, hop: IpAddress, found: bool, now: Instant) {
        let first = Place { client: 0, slot: 0 };
        let waiting: Vec<Place> = self
            .resolving
            .range((hop, first)..)
            .take_while(|(address, _)| *address == hop)
            .map(|(_, place)| *place)
            .collect();
        for place in waiting {
            self.with(place, now, |connection, cx| connection.resolved(found, cx));
            self.schedule(place);
        }
    }

    pub(super) fn take_turns(&mut self, now: Instant) {
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
    pub(super) fn with<R>(
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
                host: &mut self.host,
                wire: &mut self.wire,
                limits: &mut self.limits,
                provider: &mut client.provider,
                counters: &mut self.counters,
                now,
            },
        );
        self.settle(place);
        Some(result)
    }

    /// Forgets the endpoints of a connection that ended, frees its slot, and notes what the connection waits for.
    pub(super) fn settle(&mut self, place: Place) {
        let client = &mut self.clients[place.client];
        let Some(connection) = client.connections[place.slot].as_mut() else {
            return;
        };
        if let Some(endpoints) = connection.take_silent()
            && self.table.get(&endpoints) == Some(&place)
        {
            self.table.remove(&endpoints);
        }
        let counted = connection.count();
        let before = core::mem::replace(&mut connection.counted, counted);
        if before != counted {
            client.half_open -= usize::from(before == Counted::HalfOpen);
            client.half_open += usize::from(counted == Counted::HalfOpen);
            let entry = (connection.moved(), place.slot);
            if before == Counted::TimeWait {
                client.time_wait.remove(&entry);
            }
            if counted == Counted::TimeWait {
                client.time_wait.insert(entry);
            }
        }
        if connection.retire() {
            client.idle.push(place.slot);
        }
        self.list(place);
    }

    /// Puts a connection into the lists of those that wait for a neighbour or a time, and takes it out of them.
    fn list(&mut self, place: Place) {
        let client = &mut self.clients[place.client];
        let Some(connection) = client.connections[place.slot].as_mut() else {
            return;
        };
        let awaited = connection.awaited;
        let listed = core::mem::replace(&mut connection.listed, awaited);
        if awaited != listed {
            if let Some(hop) = listed {
                self.resolving.remove(&(hop, place));
            }
            if let Some(hop) = awaited {
                self.resolving.insert((hop, place));
            }
        }
        // An entry that comes too early costs one turn; moving it with each segment would cost more.
        if let Some(at) = connection.deadline()
            && connection.alarm.is_none_or(|alarm| at < alarm)
        {
            if let Some(alarm) = connection.alarm.replace(at) {
                self.deadlines.remove(&(alarm, place));
            }
            self.deadlines.insert((at, place));
        }
    }

    pub(super) fn schedule(&mut self, place: Place) {
        if let Some(connection) = self.connection(place)
            && !core::mem::replace(&mut connection.scheduled, true)
        {
            self.ready.push_back(place);
        }
    }

    pub(super) fn connection(&mut self, place: Place) -> Option<&mut Connection> {
        let client = self.clients.get_mut(place.client)?;
        client.connections.get_mut(place.slot)?.as_deref_mut()
    }
}
