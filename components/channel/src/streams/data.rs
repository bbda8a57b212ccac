//! The bytes of a port's connections.

use super::ConnectionId;
use super::layout::{State, Word};
use super::port::{Port, Side};
use crate::copies::{self, Direction};

impl Port {
    /// The slot of a living connection, its produced bytes taken over from the peer.
    fn fresh_incoming(&mut self, id: ConnectionId) -> Option<usize> {
        let slot = self.slot_of(id).filter(|_| !self.gone)?;
        if self.failed.is_none() {
            let updated = self.update_incoming(slot);
            self.usable(updated)?;
        }
        (!self.gone).then_some(slot)
    }

    /// The slot of a connection that may be written, its consumed bytes taken over from the peer.
    fn fresh_outgoing(&mut self, id: ConnectionId) -> Option<usize> {
        self.writable_slot(id)?;
        self.consumed_by_peer(id)
    }

    fn writable_slot(&self, id: ConnectionId) -> Option<usize> {
        const OVER: u32 = State::END | State::CLOSED | State::RESET;
        self.slot_of(id)
            .filter(|&slot| self.slots[slot].own_flags & OVER == 0)
    }

    /// The slot of a living connection, its consumed bytes taken over from the peer.
    fn consumed_by_peer(&mut self, id: ConnectionId) -> Option<usize> {
        let usable = self.failed.is_none() && !self.gone;
        let slot = self.slot_of(id).filter(|_| usable)?;
        let updated = self.update_outgoing(slot);
        self.usable(updated)?;
        Some(slot)
    }

    pub(super) fn readable(&mut self, id: ConnectionId) -> usize {
        self.fresh_incoming(id)
            .map_or(0, |slot| self.slots[slot].incoming.available() as usize)
    }

    pub(super) fn at_end(&mut self, id: ConnectionId) -> bool {
        self.fresh_incoming(id)
            .is_some_and(|slot| self.slots[slot].incoming.at_end())
    }

    pub(super) fn peek(&mut self, id: ConnectionId) -> &[u8] {
        match self.fresh_incoming(id) {
            Some(slot) => self.slots[slot].incoming.peek(),
            None => &[],
        }
    }

    pub(super) fn read(&mut self, id: ConnectionId, target: &mut [u8]) -> usize {
        let Some(slot) = self.fresh_incoming(id) else {
            return 0;
        };
        let bytes = self.slots[slot].incoming.read(target) as usize;
        if bytes > 0 && self.detect_restart() {
            return 0; // they may have been wiped before they were copied
        }
        self.slots[slot].incoming.free(bytes);
        copies::add(self.direction_of_incoming(), bytes);
        self.publish_consumed(slot);
        bytes
    }

    pub(super) fn consume(&mut self, id: ConnectionId, bytes: usize) -> usize {
        if self.detect_restart() {
            return 0; // what was looked at may have been wiped before
        }
        let taken = self.take(id, bytes);
        self.free(id, taken)
    }

    pub(super) fn take(&mut self, id: ConnectionId, bytes: usize) -> usize {
        self.slot_of(id)
            .map_or(0, |slot| self.slots[slot].incoming.take(bytes) as usize)
    }

    pub(super) fn free(&mut self, id: ConnectionId, bytes: usize) -> usize {
        let Some(slot) = self.slot_of(id) else {
            return 0;
        };
        let freed = self.slots[slot].incoming.free(bytes);
        self.publish_consumed(slot);
        freed as usize
    }

    pub(super) fn freed(&mut self, id: ConnectionId) -> usize {
        self.consumed_by_peer(id)
            .map_or(0, |slot| self.slots[slot].outgoing.take_untold() as usize)
    }

    pub(super) fn restart(&mut self, id: ConnectionId) {
        let Some(slot) = self.slot_of(id) else {
            return;
        };
        if self.slots[slot].incoming.restart() {
            self.publish_consumed(slot);
            // What the peer has written meanwhile it must move, and so be told.
            self.fresh_incoming(id);
        }
    }

    pub(super) fn writable(&mut self, id: ConnectionId) -> usize {
        self.fresh_outgoing(id)
            .map_or(0, |slot| self.slots[slot].outgoing.free() as usize)
    }

    pub(super) fn free_slice_mut(&mut self, id: ConnectionId) -> &mut [u8] {
        match self.fresh_outgoing(id) {
            Some(slot) => self.slots[slot].outgoing.free_slice(),
            None => &mut [],
        }
    }

    pub(super) fn commit(&mut self, id: ConnectionId, bytes: usize) -> usize {
        // No look at the peer's count here: a restart would move the room that was just filled.
        let Some(slot) = self.writable_slot(id) else {
            return 0;
        };
        let bytes = self.slots[slot].outgoing.advance(bytes);
        if bytes > 0 {
            self.publish_produced(slot);
        }
        bytes as usize
    }

    pub(super) fn write(&mut self, id: ConnectionId, bytes: &[u8]) -> usize {
        let Some(slot) = self.fresh_outgoing(id) else {
            return 0;
        };
        let outgoing = &mut self.slots[slot].outgoing;
        let mut written = 0;
        // At most two pieces: up to the ring's end, and from its beginning.
        for _ in 0..2 {
            let place = outgoing.free_slice();
            let piece = &bytes[written..];
            let length = piece.len().min(place.len());
            place[..length].copy_from_slice(&piece[..length]);
            written += outgoing.advance(length) as usize;
        }
        if written > 0 {
            self.publish_produced(slot);
            copies::add(self.direction_of_outgoing(), written);
        }
        if written < bytes.len() {
            let half = self.layout.buffer() / 2;
            self.wait_for_room(id, half.min(bytes.len() - written));
        }
        written
    }

    /// A direction that was ended has no room and will have none: there is nothing to wait for.
    pub(super) fn wait_for_room(&mut self, id: ConnectionId, bytes: usize) {
        if let Some(slot) = self.writable_slot(id) {
            let at = self.slots[slot].outgoing.want(bytes);
            self.own.publish(slot, Word::WakeAt, at.into());
            self.touch(slot);
        }
    }

    fn direction_of_incoming(&self) -> Direction {
        match self.side {
            Side::Provider => Direction::Sent,
            Side::Consumer => Direction::Received,
        }
    }

    fn direction_of_outgoing(&self) -> Direction {
        match self.side {
            Side::Provider => Direction::Received,
            Side::Consumer => Direction::Sent,
        }
    }
}
