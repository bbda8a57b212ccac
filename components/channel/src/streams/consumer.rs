//! The consumer's end.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::SocketAddr;

use super::layout::{OPENED_WORDS, REQUESTS, State, Word};
use super::opened::{Opened, Refusal, Request, answer_from_words};
use super::port::{Port, Side, news};
use super::{Busy, ConnectionId, Layout};
use crate::epoch::Epoch;
use crate::memory::{OwnRegion, PeerRegion, PeerWords};
use crate::read::Read;
use crate::{LayoutError, Notify, PeerMisbehaved};

/// The consumer's end of a `streams` connection.
pub struct Consumer {
    port: Port,
    opened: PeerWords,
    /// Requests without an answer.
    asked: Vec<u32>,
    /// Requests that the provider had not answered when it started over.
    lost: Vec<u32>,
    /// The session that `asked` belongs to.
    session: u32,
    next_token: u32,
    /// The description that goes with the news of an opened slot.
    description: Option<Opened>,
}

/// What a consumer learns of its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsumerEvent {
    /// A connection came in, or one that was asked for came about.
    Opened(ConnectionId, Opened),
    /// Bytes have come.
    Readable(ConnectionId),
    /// The room that was waited for is there.
    Writable(ConnectionId),
    /// The other end sends nothing behind what it has sent so far: see [`Consumer::at_end`].
    HalfClosed(ConnectionId),
    /// Both directions have ended in order. What was received can still be read until the release.
    Closed(ConnectionId),
    /// The connection was cut.
    Reset(ConnectionId),
    /// The provider has started, or started over: then every connection was reset and every request answered before, and
    /// ports that were asked for have to be asked for again.
    Started,
    /// The answer to a request; a connection that was asked for and came about is `Opened` instead.
    Answer {
        /// What the request gave.
        token: u32,
        /// The answer.
        result: Result<(), Refusal>,
    },
}

impl Consumer {
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
        let opened = peers.words(OPENED_WORDS * layout.connections())?;
        let notify = Box::new(notify);
        Ok(Self {
            port: Port::new(Side::Consumer, layout, epoch, &mut own, &mut peers, notify)?,
            opened,
            asked: Vec::with_capacity(REQUESTS),
            lost: Vec::new(),
            session: 0,
            next_token: 0,
            description: None,
        })
    }

    /// The layout of the regions.
    pub fn layout(&self) -> Layout {
        self.port.layout()
    }

    /// The next of the events that there were when the round began, or `None`: then call [`Consumer::sleep`].
    ///
    /// # Errors
    /// What the provider did wrong, now or before.
    pub fn next_event(&mut self) -> Result<Option<ConsumerEvent>, PeerMisbehaved> {
        let (opened, asked) = (&self.opened, &mut self.asked);
        let description = &mut self.description;
        let found = self.port.next_news(|port, slot| {
            look(port, slot, || {
                let opened = describe(opened, asked, slot)?;
                *description = Some(opened);
                Ok(opened.confidential)
            })
        })?;
        let found = match found {
            Some((_, news::STARTED)) => None,
            Some(found) => Some(found),
            None => return self.next_answer(),
        };
        self.follow_session();
        let Some((slot, news)) = found else {
            return Ok(Some(ConsumerEvent::Started));
        };
        let id = self.port.id(slot);
        Ok(match news {
            news::OPENED => self
                .description
                .take()
                .map(|opened| ConsumerEvent::Opened(id, opened)),
            news::READABLE => Some(ConsumerEvent::Readable(id)),
            news::HALF_CLOSED => Some(ConsumerEvent::HalfClosed(id)),
            news::CLOSED => Some(ConsumerEvent::Closed(id)),
            news::RESET => Some(ConsumerEvent::Reset(id)),
            _ => Some(ConsumerEvent::Writable(id)),
        })
    }

    /// Requests of an earlier session get no answer.
    fn follow_session(&mut self) {
        if core::mem::replace(&mut self.session, self.port.session) != self.port.session {
            self.lost.append(&mut self.asked);
        }
    }

    fn next_answer(&mut self) -> Result<Option<ConsumerEvent>, PeerMisbehaved> {
        self.follow_session();
        if let Some(token) = self.lost.pop() {
            let result = Err(Refusal::Restarted);
            return Ok(Some(ConsumerEvent::Answer { token, result }));
        }
        let Read::Value(Some(message)) = self.port.next_message()? else {
            return Ok(None);
        };
        let answer = answer_from_words(message)
            .filter(|(token, _)| take_token(&mut self.asked, *token))
            .ok_or(PeerMisbehaved::UnknownMessage);
        Ok(match self.port.judge(answer)? {
            Read::Value((token, result)) => Some(ConsumerEvent::Answer { token, result }),
            Read::Restarted => None,
        })
    }

    /// Asks for a connection to `remote`. Then comes [`ConsumerEvent::Opened`] with the token that this gives, or an
    /// answer that says why not.
    ///
    /// # Errors
    /// [`Busy`] when 16 requests have no answer yet, or before [`ConsumerEvent::Started`].
    pub fn connect(&mut self, remote: SocketAddr) -> Result<u32, Busy> {
        self.ask(Request::Connect(remote))
    }

    /// Asks for connections that come in at `port`, besides those that the description has the provider listen
    /// for. Then comes an answer with the token that this gives.
    ///
    /// # Errors
    /// [`Busy`] when 16 requests have no answer yet, or before [`ConsumerEvent::Started`].
    pub fn listen(&mut self, port: u16) -> Result<u32, Busy> {
        self.ask(Request::Listen(port))
    }

    fn ask(&mut self, request: Request) -> Result<u32, Busy> {
        self.follow_session();
        let token = self.next_token;
        if self.asked.len() == REQUESTS || !self.port.post(request.to_words(token)) {
            return Err(Busy);
        }
        self.asked.push(token);
        self.next_token = token.wrapping_add(1);
        Ok(token)
    }

    /// Ends the sending direction behind what was written; receiving goes on.
    pub fn close(&mut self, id: ConnectionId) {
        if let Some(slot) = self.port.slot_of(id) {
            self.port.add_flags(slot, State::END);
        }
    }

    /// Cuts the connection; it still has to be released.
    pub fn abort(&mut self, id: ConnectionId) {
        if let Some(slot) = self.port.slot_of(id) {
            self.port.add_flags(slot, State::END | State::RESET);
        }
    }

    /// Gives the slot back to the provider; the identifier means nothing from then on. A connection that is neither
    /// closed nor reset is cut.
    pub fn release(&mut self, id: ConnectionId) {
        if let Some(slot) = self.port.slot_of(id) {
            let over = self.port.slots[slot].peer_flags & State::OVER != 0;
            let cut = if over { 0 } else { State::RESET };
            self.port
                .add_flags(slot, State::END | State::RELEASED | cut);
            self.port.retire(slot);
            if over {
                // Otherwise the provider may be about to read; it says when it is done.
                self.port.slots[slot].outgoing.wipe_rest();
            }
            if self.port.ending.is_none() {
                self.port.join_if_free();
            }
        }
    }
}

super::both_roles!(Consumer);

/// Checks a slot for events. `describe` reads a new connection's description, and returns whether
/// it is confidential.
fn look(
    port: &mut Port,
    slot: usize,
    describe: impl FnOnce() -> Result<bool, PeerMisbehaved>,
) -> Result<u32, PeerMisbehaved> {
    let peer = State::from_word(port.peers.load(slot, Word::State));
    let Port { slots, .. } = &mut *port;
    let (live, generation) = (slots[slot].live, slots[slot].generation);
    let mut found = 0;
    if !live {
        if peer.generation == generation {
            // The end of a connection that was released, or none yet.
            if peer.flags & State::OVER != 0 {
                slots[slot].outgoing.wipe_rest();
            }
            return Ok(0);
        }
        if peer.generation != generation.wrapping_add(1) {
            return Err(PeerMisbehaved::WrongGeneration);
        }
        let confidential = describe()?;
        if port.detect_restart() {
            return Ok(0); // the description may have been wiped while it was read
        }
        port.open(slot, confidential);
        found |= news::OPENED;
    } else if peer.generation != generation {
        return Err(PeerMisbehaved::WrongGeneration);
    }
    let new = port.update_flags(slot, peer)?;
    for (flag, bit) in [
        (State::END, news::HALF_CLOSED),
        (State::CLOSED, news::CLOSED),
        (State::RESET, news::RESET),
    ] {
        if new & flag != 0 {
            found |= bit;
        }
    }
    Ok(found | port.look_at_rings(slot)?)
}

fn describe(
    opened: &PeerWords,
    asked: &mut Vec<u32>,
    slot: usize,
) -> Result<Opened, PeerMisbehaved> {
    let description = Opened::read(|offset| opened.load(slot * OPENED_WORDS + offset))
        .ok_or(PeerMisbehaved::MalformedIdentity)?;
    match description.token {
        Some(token) if !take_token(asked, token) => Err(PeerMisbehaved::UnknownMessage),
        _ => Ok(description),
    }
}

/// Takes a token off the list of requests without an answer.
fn take_token(asked: &mut Vec<u32>, token: u32) -> bool {
    let position = asked.iter().position(|&other| other == token);
    position.is_some_and(|position| {
        asked.swap_remove(position);
        true
    })
}
