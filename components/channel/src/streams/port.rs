//! What both roles do alike.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::incoming::{self, Incoming};
use super::layout::{MESSAGE, OwnSlots, PeerSlots, Position, REQUESTS, State, Word};
use super::outgoing::{self, Outgoing};
use super::{ConnectionId, Layout};
use crate::doorbell::Doorbell;
use crate::epoch::Epoch;
use crate::memory::{OwnBytes, OwnRegion, PeerBytes, PeerRegion};
use crate::read::Read;
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
    pub(in super::super) const STARTED: u32 = 128;
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
    pub(super) side: Side,
    pub(super) layout: Layout,
    pub(super) epoch: Epoch,
    pub(super) bell: Doorbell,
    pub(super) ready: Ready,
    pub(super) own: OwnSlots,
    pub(super) peers: PeerSlots,
    pub(super) outbox: Producer<MESSAGE>,
    pub(super) inbox: Consumer<MESSAGE>,
    pub(super) slots: Box<[Slot]>,
    /// How many of them are live.
    pub(super) live: usize,
    /// How many sessions there have been: lives of the peer that were joined.
    pub(super) session: u32,
    /// The peer has gone or started over, and was not joined yet.
    pub(super) gone: bool,
    /// Then: the first slot whose end the user has not been told of.
    pub(super) ending: Option<usize>,
    /// The user has been told that both sides have joined each other.
    pub(super) greeted: bool,
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
        epoch: Epoch,
        own: &mut OwnRegion,
        peers: &mut PeerRegion,
        notify: Box<dyn Notify>,
    ) -> Result<Self, LayoutError> {
        let count = layout.connections();
        let mut bell = Doorbell::new(own, peers, notify)?;
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
        bell.ring_anyway();
        Ok(Self {
            side,
            layout,
            epoch,
            bell,
            ready,
            own: own_slots,
            peers: peer_slots,
            outbox,
            inbox,
            slots,
            live: 0,
            session: 0,
            gone: false,
            ending: None,
            greeted: false,
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
        let same = slot.generation == id.generation && self.session == id.session;
        (slot.live && same).then_some(id.slot())
    }

    pub(super) fn id(&self, slot: usize) -> ConnectionId {
        ConnectionId {
            slot: slot as u16,
            generation: self.slots[slot].generation,
            session: self.session,
        }
    }

    /// Begins a connection of the next generation in the slot, as the side's own words tell the peer.
    pub(super) fn open(&mut self, slot: usize, confidential: bool) {
        let state = &mut self.slots[slot];
        state.generation = state.generation.wrapping_add(1);
        state.live = true;
        self.live += 1;
        state.own_flags = State::OPEN;
        state.peer_flags = 0;
        state.outgoing.open(confidential);
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

    /// The connection in the slot is no more, as far as this side knows.
    pub(super) fn retire(&mut self, slot: usize) {
        self.slots[slot].live = false;
        self.live -= 1;
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
        if self.gone {
            return false;
        }
        let state = &mut self.slots[slot];
        if state.peer_flags & State::OPEN == 0 {
            let peer = State::from_word(self.peers.load(slot, Word::State));
            if peer.generation == state.generation {
                state.peer_flags |= peer.flags & State::OPEN;
            }
        }
        state.peer_flags & State::OPEN != 0
    }

    pub(super) fn update_incoming(&mut self, slot: usize) -> Result<(), PeerMisbehaved> {
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

    pub(super) fn publish_produced(&mut self, slot: usize) {
        let position = self.slots[slot].outgoing.position();
        self.own.publish(slot, Word::Produced, position.to_word());
        self.ready.mark(slot);
    }

    pub(super) fn publish_consumed(&mut self, slot: usize) {
        let position = self.slots[slot].incoming.position();
        self.own.publish(slot, Word::Consumed, position.to_word());
        self.touch(slot);
    }

    /// Has the next flush look at the slot's counts.
    pub(super) fn touch(&mut self, slot: usize) {
        if !core::mem::replace(&mut self.slots[slot].touched, true) {
            self.touched.push(slot as u16);
        }
    }

    /// Judges a read of the peer's words. Words that violate the protocol fail the port, unless the peer has restarted.
    pub(super) fn judge<T>(
        &mut self,
        read: Result<T, PeerMisbehaved>,
    ) -> Result<Read<T>, PeerMisbehaved> {
        match read {
            Ok(value) => Ok(Read::Value(value)),
            Err(_) if self.detect_restart() => Ok(Read::Restarted),
            Err(misbehaved) => Err(self.fail(misbehaved)),
        }
    }

    /// Judges a read for a caller that only needs to know whether it can continue with a
    /// connection. If it cannot, `next_event` reports the reason: the connection has ended with the
    /// peer's incarnation, or the port has failed.
    pub(super) fn usable<T>(&mut self, read: Result<T, PeerMisbehaved>) -> Option<T> {
        match self.judge(read) {
            Ok(Read::Value(value)) => Some(value),
            Ok(Read::Restarted) | Err(_) => None,
        }
    }

    /// Fails the port permanently. Returns the violation that failed it first, which every later call reports.
    fn fail(&mut self, misbehaved: PeerMisbehaved) -> PeerMisbehaved {
        if self.failed.is_none() {
            // Nothing more is sent to the peer.
            let slots = self.slots.iter_mut();
            slots.for_each(|slot| slot.outgoing.wipe_rest());
        }
        *self.failed.get_or_insert(misbehaved)
    }
}

impl Slot {
    /// As it was at first.
    pub(super) fn reset(&mut self) {
        self.generation = 0;
        self.live = false;
        self.own_flags = 0;
        self.peer_flags = 0;
        self.outgoing.open(false);
        self.incoming.open();
        self.touched = false;
    }

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
