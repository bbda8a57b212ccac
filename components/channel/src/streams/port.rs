//! What both roles do alike.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::incoming::{self, Incoming};
use super::layout::{MESSAGE, OwnSlots, PeerSlots, Position, REQUESTS, State, Word};
use super::outgoing::{self, Outgoing};
use super::{ConnectionId, Layout};
use crate::copies::{self, Direction};
use crate::doorbell::Doorbell;
use crate::memory::{OwnBytes, OwnRegion, PeerBytes, PeerRegion};
use crate::ready::Ready;
use crate::ring::{Consumer, Producer};
use crate::{LayoutError, Notify, PeerMisbehaved};

/// Which side a port is on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Provider,
    Consumer,
}

/// News of one slot, as bits in the order in which the user gets them.
pub(super) mod news {
    pub(in super::super) const OPENED: u32 = 1;
    pub(in super::super) const READABLE: u32 = 2;
    pub(in super::super) const HALF_CLOSED: u32 = 4;
    pub(in super::super) const CLOSED: u32 = 8;
    pub(in super::super) const RESET: u32 = 16;
    pub(in super::super) const RELEASED: u32 = 32;
    pub(in super::super) const WRITABLE: u32 = 64;
}

pub(super) struct Slot {
    pub(super) generation: u32,
    /// Opened and, as far as this side knows, not released.
    pub(super) live: bool,
    pub(super) own_flags: u32,
    /// The peer's flags in this generation, as last seen; none before it has taken note of the connection.
    pub(super) peer_flags: u32,
    pub(super) outgoing: Outgoing,
    pub(super) incoming: Incoming,
    /// Among the port's touched slots.
    pub(super) touched: bool,
}

pub(super) struct Port {
    side: Side,
    layout: Layout,
    pub(super) bell: Doorbell,
    pub(super) ready: Ready,
    pub(super) own: OwnSlots,
    pub(super) peers: PeerSlots,
    pub(super) outbox: Producer<MESSAGE>,
    pub(super) inbox: Consumer<MESSAGE>,
    pub(super) slots: Box<[Slot]>,
    /// Slots to look at in the next flush, because bytes were freed or room is waited for.
    pub(super) touched: Vec<u16>,
    /// The slot whose news is being given to the user, and what is left of it.
    pub(super) current: Option<(usize, u32)>,
    /// The peer's ready bits were taken over in this round.
    pub(super) collected: bool,
    /// Messages taken in this round.
    pub(super) messages: usize,
    pub(super) posted: bool,
    pub(super) failed: Option<PeerMisbehaved>,
}

impl Port {
    pub(super) fn new(
        side: Side,
        layout: Layout,
        own: &mut OwnRegion,
        peers: &mut PeerRegion,
        notify: Box<dyn Notify>,
    ) -> Result<Self, LayoutError> {
        let count = layout.connections();
        let bell = Doorbell::new(own, peers, notify)?;
        let ready = Ready::new(count, own, peers)?;
        let own_slots = OwnSlots::new(&layout, own)?;
        let peer_slots = PeerSlots::new(&layout, peers)?;
        // The order is the same in each region: what the provider posts, then what the consumer posts.
        let (outbox, inbox) = match side {
            Side::Provider => {
                let outbox = Producer::new(REQUESTS, own, peers)?;
                (outbox, Consumer::new(REQUESTS, own, peers)?)
            }
            Side::Consumer => {
                let inbox = Consumer::new(REQUESTS, own, peers)?;
                (Producer::new(REQUESTS, own, peers)?, inbox)
            }
        };
        own.skip(layout.padding(side == Side::Provider))?;
        peers.skip(layout.padding(side == Side::Consumer))?;
        let slots = (0..count)
            .map(|_| {
                Ok(Slot::new(
                    own.bytes(layout.buffer())?,
                    peers.bytes(layout.buffer())?,
                ))
            })
            .collect::<Result<_, LayoutError>>()?;
        Ok(Self {
            side,
            layout,
            bell,
            ready,
            own: own_slots,
            peers: peer_slots,
            outbox,
            inbox,
            slots,
            touched: Vec::with_capacity(count),
            current: None,
            collected: false,
            messages: 0,
            posted: false,
            failed: None,
        })
    }

    pub(super) fn layout(&self) -> Layout {
        self.layout
    }

    /// The slot of a connection that lives.
    pub(super) fn slot_of(&self, id: ConnectionId) -> Option<usize> {
        let slot = self.slots.get(id.slot())?;
        (slot.live && slot.generation == id.generation).then_some(id.slot())
    }

    pub(super) fn id(&self, slot: usize) -> ConnectionId {
        ConnectionId {
            slot: slot as u16,
            generation: self.slots[slot].generation,
        }
    }

    /// Begins a connection of the next generation in the slot, as the side's own words tell the peer.
    pub(super) fn open(&mut self, slot: usize) {
        let state = &mut self.slots[slot];
        state.generation = state.generation.wrapping_add(1);
        state.live = true;
        state.own_flags = State::OPEN;
        state.peer_flags = 0;
        state.outgoing.open();
        state.incoming.open();
        for word in [Word::Produced, Word::Consumed, Word::WakeAt] {
            self.own.publish(slot, word, 0);
        }
        self.publish_state(slot);
        // That the consumer has taken note is no news in itself: the provider sees it with the first that is.
        if self.side == Side::Provider {
            self.ready.mark(slot);
        }
    }

    fn publish_state(&mut self, slot: usize) {
        let state = &self.slots[slot];
        let word = State {
            generation: state.generation,
            flags: state.own_flags,
        };
        self.own.publish(slot, Word::State, word.to_word());
    }

    /// Publishes further flags of the slot's own state.
    pub(super) fn add_flags(&mut self, slot: usize, flags: u32) {
        self.slots[slot].own_flags |= flags;
        self.publish_state(slot);
        self.ready.mark(slot);
    }

    /// Takes over the peer's flags of this generation; gives those that are new.
    pub(super) fn update_flags(&mut self, slot: usize, peer: State) -> Result<u32, PeerMisbehaved> {
        let state = &mut self.slots[slot];
        let lost = state.peer_flags & !peer.flags;
        if lost != 0 || !peer.has(State::OPEN) {
            return Err(PeerMisbehaved::WrongState);
        }
        let new = peer.flags & !state.peer_flags;
        state.peer_flags = peer.flags;
        Ok(new)
    }

    /// Looks at the counts of a slot whose flags were looked at before, and gives the news.
    pub(super) fn look_at_rings(&mut self, slot: usize) -> Result<u32, PeerMisbehaved> {
        self.update_incoming(slot)?;
        self.update_outgoing(slot)?;
        let state = &mut self.slots[slot];
        let mut news = 0;
        if state.incoming.available() > 0 {
            news |= news::READABLE;
        }
        if state.outgoing.take_granted() {
            news |= news::WRITABLE;
        }
        Ok(news)
    }

    /// Whether the peer's counts are of this connection, and not of the one before it in the slot.
    fn is_known_to_peer(&mut self, slot: usize) -> bool {
        let state = &mut self.slots[slot];
        if state.peer_flags & State::OPEN == 0 {
            let peer = State::from_word(self.peers.load(slot, Word::State));
            if peer.generation == state.generation {
                state.peer_flags |= peer.flags & State::OPEN;
            }
        }
        state.peer_flags & State::OPEN != 0
    }

    fn update_incoming(&mut self, slot: usize) -> Result<(), PeerMisbehaved> {
        if !self.is_known_to_peer(slot) {
            return Ok(());
        }
        let state = &mut self.slots[slot];
        let position = Position::from_word(self.peers.load(slot, Word::Produced));
        let ended = state.peer_flags & State::END != 0;
        if state.incoming.update(position, ended)? == incoming::Seen::Unmoved {
            self.ready.mark(slot);
        }
        Ok(())
    }

    pub(super) fn update_outgoing(&mut self, slot: usize) -> Result<(), PeerMisbehaved> {
        if !self.is_known_to_peer(slot) {
            return Ok(());
        }
        let state = &mut self.slots[slot];
        let position = Position::from_word(self.peers.load(slot, Word::Consumed));
        if state.outgoing.update(position)? == outgoing::Seen::Moved {
            self.publish_produced(slot);
        }
        Ok(())
    }

    fn publish_produced(&mut self, slot: usize) {
        let position = self.slots[slot].outgoing.position();
        self.own.publish(slot, Word::Produced, position.to_word());
        self.ready.mark(slot);
    }

    fn publish_consumed(&mut self, slot: usize) {
        let position = self.slots[slot].incoming.position();
        self.own.publish(slot, Word::Consumed, position.to_word());
        self.touch(slot);
    }

    /// Has the next flush look at the slot's counts.
    fn touch(&mut self, slot: usize) {
        if !core::mem::replace(&mut self.slots[slot].touched, true) {
            self.touched.push(slot as u16);
        }
    }

    /// Fails the port, if the result says so.
    pub(super) fn note<T>(&mut self, result: Result<T, PeerMisbehaved>) -> Option<T> {
        result
            .inspect_err(|misbehaved| _ = self.failed.get_or_insert(*misbehaved))
            .ok()
    }

    /// The slot of a living connection, its produced bytes taken over from the peer.
    fn fresh_incoming(&mut self, id: ConnectionId) -> Option<usize> {
        let slot = self.slot_of(id)?;
        if self.failed.is_none() {
            let updated = self.update_incoming(slot);
            self.note(updated)?;
        }
        Some(slot)
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
        let slot = self.slot_of(id).filter(|_| self.failed.is_none())?;
        let updated = self.update_outgoing(slot);
        self.note(updated)?;
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
        let incoming = &mut self.slots[slot].incoming;
        let bytes = incoming.read(target) as usize;
        incoming.free(bytes);
        copies::add(self.direction_of_incoming(), bytes);
        self.publish_consumed(slot);
        bytes
    }

    pub(super) fn consume(&mut self, id: ConnectionId, bytes: usize) -> usize {
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

impl Slot {
    fn new(own: OwnBytes, peers: PeerBytes) -> Self {
        Self {
            generation: 0,
            live: false,
            own_flags: 0,
            peer_flags: 0,
            outgoing: Outgoing::new(own),
            incoming: Incoming::new(peers),
            touched: false,
        }
    }
}
