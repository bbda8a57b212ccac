//! The provider's end.

use alloc::boxed::Box;
use core::net::SocketAddr;

use super::layout::{OPENED_WORDS, REQUESTS, State, Word};
use super::opened::{Opened, Refusal, Request, answer_to_words};
use super::port::{Port, Side, news};
use super::{ConnectionId, Layout};
use crate::epoch::Epoch;
use crate::memory::{OwnRegion, OwnWords, PeerRegion};
use crate::read::Read;
use crate::{LayoutError, Notify, PeerMisbehaved};

/// The provider's end of a `streams` connection.
pub struct Provider {
    port: Port,
    opened: OwnWords,
    /// Requests without an answer.
    unanswered: usize,
}

/// What a provider learns of its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderEvent {
    /// The consumer has written.
    Readable(ConnectionId),
    /// The room that was waited for is there.
    Writable(ConnectionId),
    /// The consumer writes nothing behind what it has written so far: see [`Provider::at_end`].
    HalfClosed(ConnectionId),
    /// The consumer wants the connection cut. It has still to release it.
    Aborted(ConnectionId),
    /// The consumer has released the connection, and its slot is free. If it is not over, it is to be cut.
    Released(ConnectionId),
    /// The consumer has started, or started over: then every connection was released before, and what it asked for is to
    /// be forgotten.
    Started,
    /// The consumer asks for a connection: open a slot with this token, or [`answer`](Provider::answer) why not.
    Connect {
        /// Goes into the description, or into the answer.
        token: u32,
        /// Where to.
        remote: SocketAddr,
    },
    /// The consumer asks for connections that come in at a port.
    Listen {
        /// Goes into the answer.
        token: u32,
        /// The local port.
        port: u16,
    },
}

/// The memory of one slot's rings, for a stack that keeps its socket buffers there.
#[derive(Debug)]
pub struct SocketMemory {
    /// For bytes from the network: this side's own region.
    pub receive: &'static mut [u8],
    /// Bytes for the network: the consumer's region, mapped read-only. Never write to it, and read it as
    /// [`memory`](crate::memory) says.
    pub transmit: &'static mut [u8],
}

/// The slot holds a connection already, or there is no such slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotFree;

impl Provider {
    /// Joins the regions.
    ///
    /// # Errors
    /// When a region is too small or not aligned.
    pub fn new(
        layout: Layout,
        mut own: OwnRegion,
        mut peers: PeerRegion,
        notify: impl Notify + 'static,
    ) -> Result<Self, LayoutError> {
        let epoch = Epoch::new(&mut own, &mut peers)?;
        let opened = own.words(OPENED_WORDS * layout.connections())?;
        let notify = Box::new(notify);
        Ok(Self {
            port: Port::new(Side::Provider, layout, epoch, &mut own, &mut peers, notify)?,
            opened,
            unanswered: 0,
        })
    }

    /// The layout of the regions.
    pub fn layout(&self) -> Layout {
        self.port.layout()
    }

    /// The next of the events that there were when the round began, or `None`: then call [`Provider::sleep`].
    ///
    /// # Errors
    /// What the consumer did wrong, now or before.
    pub fn next_event(&mut self) -> Result<Option<ProviderEvent>, PeerMisbehaved> {
        let Some((slot, news)) = self.port.next_news(look)? else {
            return self.next_request();
        };
        let id = self.port.id(slot);
        Ok(Some(match news {
            news::READABLE => ProviderEvent::Readable(id),
            news::HALF_CLOSED => ProviderEvent::HalfClosed(id),
            news::RESET => ProviderEvent::Aborted(id),
            news::RELEASED => ProviderEvent::Released(id),
            news::STARTED => {
                self.unanswered = 0;
                ProviderEvent::Started
            }
            _ => ProviderEvent::Writable(id),
        }))
    }

    fn next_request(&mut self) -> Result<Option<ProviderEvent>, PeerMisbehaved> {
        let Read::Value(Some(message)) = self.port.next_message()? else {
            return Ok(None);
        };
        let request = self.check_request(message);
        let Read::Value((token, request)) = self.port.judge(request)? else {
            return Ok(None);
        };
        self.unanswered += 1;
        Ok(Some(match request {
            Request::Connect(remote) => ProviderEvent::Connect { token, remote },
            Request::Listen(port) => ProviderEvent::Listen { token, port },
        }))
    }

    /// A consumer has at most as many requests open as there is room for answers.
    fn check_request(&mut self, message: [u64; 4]) -> Result<(u32, Request), PeerMisbehaved> {
        if self.unanswered + self.port.outbox.used()? >= REQUESTS {
            return Err(PeerMisbehaved::UnknownMessage);
        }
        Request::from_words(message).ok_or(PeerMisbehaved::UnknownMessage)
    }

    /// Answers a request. A connection that came about is opened instead, with the request's token.
    pub fn answer(&mut self, token: u32, result: Result<(), Refusal>) {
        self.unanswered = self.unanswered.saturating_sub(1);
        self.port.post(answer_to_words(token, result));
    }

    /// A slot without a connection; none while the consumer is not there.
    pub fn free_slot(&mut self) -> Option<usize> {
        if !self.port.is_joined() {
            return None;
        }
        self.port.slots.iter().position(|slot| !slot.live)
    }

    /// The connection in a slot.
    pub fn id(&self, slot: usize) -> Option<ConnectionId> {
        let live = self.port.slots.get(slot)?.live;
        live.then(|| self.port.id(slot))
    }

    /// Opens a connection in a slot; both rings begin at their first byte.
    ///
    /// # Errors
    /// [`NotFree`] until the consumer has released the slot's last connection, and while it is not there.
    pub fn open(&mut self, slot: usize, opened: &Opened) -> Result<ConnectionId, NotFree> {
        if !self.port.is_joined() || self.port.slots.get(slot).is_none_or(|slot| slot.live) {
            return Err(NotFree);
        }
        if opened.token.is_some() {
            self.unanswered = self.unanswered.saturating_sub(1);
        }
        opened.write(|offset, word| self.opened.set(slot * OPENED_WORDS + offset, word));
        self.port.open(slot, opened.confidential);
        Ok(self.port.id(slot))
    }

    /// Ends the direction towards the consumer, behind what was written: the other end has sent its last byte.
    pub fn finish(&mut self, id: ConnectionId) {
        self.end(id, State::END);
    }

    /// Both directions have ended in order.
    pub fn closed(&mut self, id: ConnectionId) {
        self.end(id, State::END | State::CLOSED);
    }

    /// The connection was cut, by the other end, by a time-out or by this side.
    pub fn reset(&mut self, id: ConnectionId) {
        self.end(id, State::END | State::RESET);
    }

    fn end(&mut self, id: ConnectionId, flags: u32) {
        if let Some(slot) = self.port.slot_of(id) {
            self.port.add_flags(slot, flags);
        }
    }

    /// Lends the memory of a slot's rings, once and for ever: from then on [`Provider::write`] and
    /// [`Provider::free_slice_mut`] find no room in this slot, and [`Provider::commit`] tells how much was written.
    pub fn lend(&mut self, slot: usize) -> Option<SocketMemory> {
        let slot = self.port.slots.get_mut(slot)?;
        let receive = slot.outgoing.lend()?.into_slice();
        let transmit = slot.incoming.lend();
        Some(SocketMemory { receive, transmit })
    }

    /// How many of the written bytes the consumer has consumed since the last call: what a lent receive buffer
    /// can drop from its front.
    pub fn freed(&mut self, id: ConnectionId) -> usize {
        self.port.freed(id)
    }

    /// Moves the reading position by at most `bytes` without giving their place back; says by how many. They are in
    /// the hands of whoever the memory is lent to.
    pub fn take(&mut self, id: ConnectionId, bytes: usize) -> usize {
        self.port.take(id, bytes)
    }

    /// Lets the consumer overwrite the oldest taken bytes, at most `bytes`; says how many.
    pub fn free(&mut self, id: ConnectionId, bytes: usize) -> usize {
        self.port.free(id, bytes)
    }

    /// Has the next byte that the consumer writes begin at the ring's first place, as smoltcp's buffers do when they
    /// have become empty. Does nothing while bytes are taken and not freed. Until the consumer has moved what it
    /// wrote meanwhile, nothing is readable.
    pub fn restart(&mut self, id: ConnectionId) {
        self.port.restart(id);
    }
}

super::both_roles!(Provider);

/// A slot's news.
fn look(port: &mut Port, slot: usize) -> Result<u32, PeerMisbehaved> {
    let state = &port.slots[slot];
    if !state.live {
        return Ok(0);
    }
    let peer = State::from_word(port.peers.load(slot, Word::State));
    if peer.generation == state.generation.wrapping_sub(1) && state.peer_flags == 0 {
        return Ok(0); // the consumer has not taken note of the connection yet
    }
    if peer.generation != state.generation {
        return Err(PeerMisbehaved::WrongGeneration);
    }
    let new = port.update_flags(slot, peer)?;
    if new & State::RELEASED != 0 {
        port.retire(slot);
        let state = &mut port.slots[slot];
        state.outgoing.wipe_rest();
        if state.outgoing.is_confidential() && state.own_flags & State::OVER == 0 {
            // The consumer can now wipe what it wrote and this side has not read.
            port.add_flags(slot, State::RESET);
        }
        return Ok(news::RELEASED);
    }
    let mut found = 0;
    for (flag, bit) in [(State::END, news::HALF_CLOSED), (State::RESET, news::RESET)] {
        if new & flag != 0 {
            found |= bit;
        }
    }
    Ok(found | port.look_at_rings(slot)?)
}
