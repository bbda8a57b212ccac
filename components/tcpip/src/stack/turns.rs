//! Whose turn it is.

use smoltcp::time::Instant;

use super::{Place, Stack};
use crate::connection::{Connection, Context, Turn};

/// Turns given before frames are taken in again.
const TURNS_A_ROUND: usize = 64;

impl Stack {
    pub(super) fn take_deadlines(&mut self, now: Instant) {
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
            if self.network.maintain(&mut self.wire, now) {
                self.notice_addresses();
            }
            self.host_deadline = self.network.deadline(now);
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
        if connection.retire() {
            client.idle.push(place.slot);
        }
        self.earliest = self.earliest.into_iter().chain(connection.deadline()).min();
    }

    pub(super) fn schedule(&mut self, place: Place) {
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

    pub(super) fn connection(&mut self, place: Place) -> Option<&mut Connection> {
        let client = self.clients.get_mut(place.client)?;
        client.connections.get_mut(place.slot)?.as_deref_mut()
    }

    pub(super) fn is_time_wait(&mut self, place: Place) -> bool {
        self.connection(place)
            .is_some_and(|connection| connection.is_time_wait())
    }
}
