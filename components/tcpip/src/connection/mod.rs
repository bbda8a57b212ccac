//! One slot of a consumer: its connection, as the consumer and the network see it.
//!
//! The connection's rings are the ones that the consumer shares: the receive ring lies in the stack's own region, which
//! the consumer maps read-only; the transmit ring in the consumer's region, which is mapped read-only here. So the bytes
//! are not copied between the two; this module keeps the positions of both sides in step. Both rings begin at their first
//! place when a connection opens.

mod report;

use channel::streams::{ConnectionId, Provider, SocketMemory};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{IpAddress, IpEndpoint};

use crate::counters::Counters;
use crate::host::Host;
use crate::segment::{Segment, SegmentError};
use crate::tcp::{Limits, Offer, Parameters, Reaction, State, Tcb, Transmitted};
use crate::wire::Wire;

/// How long a handshake may take. A client that lost our SYN|ACK sees it repeated after 1, 3 and 7 s.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// A connection that the consumer closed is reset when no bytes have moved on it for this time.
const LINGER: Duration = Duration::from_secs(30);
/// Segments that one connection may send before others get their turn.
const SEGMENTS_A_TURN: usize = 16;
/// Pause between two confirmations to the host that a peer acknowledges data, and so its neighbour is there.
const CONFIRMATION: Duration = Duration::from_secs(5);

/// Both ends of a connection: local, remote.
pub(crate) type Endpoints = (IpEndpoint, IpEndpoint);

/// The parts of the stack that a connection needs for one turn.
pub(crate) struct Context<'a> {
    pub host: &'a mut Host,
    pub wire: &'a mut Wire,
    pub limits: &'a mut Limits,
    pub provider: &'a mut Provider,
    pub counters: &'a mut Counters,
    pub now: Instant,
}

/// The stage of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The slot is free.
    Idle,
    /// The handshake is in progress; the consumer has not been notified.
    Opening,
    /// The consumer uses it.
    Open,
    /// It is over; the consumer was notified and has not released it.
    Over,
    /// The consumer released it; its reset or TIME-WAIT is still pending.
    Released,
}

/// The origin of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A peer connected to a listening port.
    Accepted,
    /// The consumer requested it with this token.
    Asked(u32),
}

/// One slot of a consumer.
pub(crate) struct Connection {
    slot: usize,
    tcb: Tcb,
    stage: Stage,
    origin: Origin,
    endpoints: Option<Endpoints>,
    id: Option<ConnectionId>,
    /// The consumer was notified that the peer has sent its last byte.
    finished: bool,
    /// The consumer has closed its direction, and TCP knows.
    closing: bool,
    /// Time when the stage began or bytes last moved.
    moved: Instant,
    /// Time when the host last received a confirmation of the peer.
    confirmed: Instant,
    /// It is in the stack's queue of connections with work.
    pub scheduled: bool,
    /// The entry in the stack's list of deadlines.
    pub alarm: Option<Instant>,
    /// The next hop whose link-layer address it waits for.
    pub awaited: Option<IpAddress>,
    /// The entry in the stack's list of connections that wait for a next hop.
    pub listed: Option<IpAddress>,
    /// The category in which the stack counts the slot.
    pub counted: Counted,
}

/// The category of a slot when a new connection needs one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    /// It is free, or in use.
    No,
    /// A peer began a handshake that is not finished.
    HalfOpen,
    /// Both sides are done and only TIME-WAIT is left.
    TimeWait,
}

/// The rest of the work after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nothing until something happens or the deadline passes.
    Done,
    /// More to send at once.
    More,
    /// More to send, but the pool has no free buffer.
    Starved,
}

impl Connection {
    /// Returns an idle connection over a slot's rings.
    pub fn new(slot: usize, memory: SocketMemory) -> Self {
        Self {
            slot,
            tcb: Tcb::new(memory),
            stage: Stage::Idle,
            origin: Origin::Accepted,
            endpoints: None,
            id: None,
            finished: false,
            closing: false,
            moved: Instant::ZERO,
            confirmed: Instant::ZERO,
            scheduled: false,
            alarm: None,
            awaited: None,
            listed: None,
            counted: Counted::No,
        }
    }

    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Returns the consumer's identifier for it, while the consumer holds it.
    pub fn id(&self) -> Option<ConnectionId> {
        self.id
    }

    /// Returns when it needs a turn.
    pub fn deadline(&self) -> Option<Instant> {
        self.tcb.deadline().into_iter().chain(self.expiry()).min()
    }

    /// Returns when the stage began or bytes last moved. That does not change in TIME-WAIT.
    pub fn moved(&self) -> Instant {
        self.moved
    }

    /// Returns its category when a new connection needs a slot.
    pub fn count(&self) -> Counted {
        match (self.stage, self.origin) {
            (Stage::Opening, Origin::Accepted) => Counted::HalfOpen,
            (Stage::Released, _) if self.tcb.state() == State::TimeWait => Counted::TimeWait,
            _ => Counted::No,
        }
    }

    /// Whether the consumer waits for it.
    pub fn is_asked_for(&self) -> bool {
        self.stage == Stage::Opening && matches!(self.origin, Origin::Asked(_))
    }

    /// Returns the TCP connection.
    pub fn tcb(&self) -> &Tcb {
        &self.tcb
    }

    /// Takes a peer's SYN.
    pub fn accept(&mut self, syn: &Segment<'_>, parameters: &Parameters, now: Instant) {
        self.begin(parameters, Origin::Accepted, now);
        self.tcb.accept(syn, parameters, now);
    }

    /// Takes the segment with which a peer answers a SYN cookie.
    pub fn accept_cookie(
        &mut self,
        ack: &Segment<'_>,
        offer: &Offer,
        parameters: &Parameters,
        cx: &mut Context<'_>,
    ) {
        self.begin(parameters, Origin::Accepted, cx.now);
        self.tcb
            .accept_cookie(ack, offer, parameters, cx.limits, cx.now);
        if self.tcb.state() == State::SynReceived {
            // The cookie is right and the segment is not: its timestamp is missing.
            self.tcb.forget();
        }
        self.report(cx);
    }

    /// Begins a connection that the consumer requested.
    pub fn connect(&mut self, parameters: &Parameters, token: u32, now: Instant) {
        self.begin(parameters, Origin::Asked(token), now);
        self.tcb.connect(parameters, now);
    }

    /// Takes a segment between its endpoints.
    pub fn receive(&mut self, segment: &Segment<'_>, cx: &mut Context<'_>) -> Reaction {
        let tried = self.tcb.is_trying();
        let reaction = self.tcb.receive(segment, cx.limits, cx.now);
        if tried && !self.tcb.is_trying() {
            cx.host.confirm(segment.remote.addr, cx.now);
        }
        self.report(cx);
        reaction
    }

    /// Takes an ICMP error about a segment of its own.
    pub fn take_error(&mut self, error: &SegmentError, cx: &mut Context<'_>) {
        if let Some(mtu) = self.tcb.take_error(error) {
            cx.host.reduce_path_mtu(error.remote.addr, mtu, cx.now);
        }
        self.report(cx);
    }

    /// Resumes after an interruption of the link.
    pub fn resume(&mut self, now: Instant) {
        self.tcb.resume(now);
    }

    /// Takes the end of a resolution: the next hop was found, or it does not answer. In the second
    /// case a requested connection fails at once.
    pub fn resolved(&mut self, found: bool, cx: &mut Context<'_>) {
        self.tcb.resolved();
        if !found && self.is_asked_for() {
            self.fail(cx);
        }
    }

    /// Moves bytes and events between TCP and the consumer, and sends the segments that may be
    /// sent.
    pub fn turn(&mut self, cx: &mut Context<'_>) -> Turn {
        if let Some(id) = self.id.filter(|_| self.stage == Stage::Open) {
            self.consume(id, cx);
            self.write(id, cx);
        }
        self.expire(cx);
        let turn = self.send(cx);
        self.report(cx);
        turn
    }

    /// Aborts the connection for the consumer: the peer receives a reset.
    pub fn abort(&mut self, _: &mut Counters) {
        self.tcb.abort();
    }

    /// Releases the slot for the consumer: the connection is reset, except in TIME-WAIT.
    pub fn release(&mut self, counters: &mut Counters) {
        if self.stage == Stage::Open {
            counters.connections_open -= 1;
            counters.connections_reset += 1;
        }
        if self.tcb.state() != State::TimeWait {
            self.tcb.abort();
        }
        self.id = None;
        self.stage = Stage::Released;
    }

    /// Gives the slot up without a segment to the peer.
    pub fn discard(&mut self) {
        self.tcb.forget();
        self.id = None;
        self.stage = Stage::Released;
    }

    /// Forgets the connection without a segment to the peer.
    pub fn silence(&mut self) {
        self.tcb.forget();
    }

    /// Takes the endpoints out once there is nothing left to send to the peer; later calls return
    /// `None`.
    pub fn take_silent(&mut self) -> Option<Endpoints> {
        match self.tcb.is_silent() {
            true => self.endpoints.take(),
            false => None,
        }
    }

    /// Makes the slot idle if the consumer released it and TCP is silent. Returns whether it is
    /// idle now.
    pub fn retire(&mut self) -> bool {
        let over = self.stage == Stage::Released && self.endpoints.is_none();
        if over {
            self.stage = Stage::Idle;
        }
        over
    }

    fn begin(&mut self, parameters: &Parameters, origin: Origin, now: Instant) {
        self.stage = Stage::Opening;
        self.origin = origin;
        self.endpoints = Some((parameters.local, parameters.remote));
        self.id = None;
        self.finished = false;
        self.closing = false;
        self.moved = now;
        self.confirmed = now;
    }

    /// Frees the space of the bytes that the consumer has read, which opens the window.
    fn consume(&mut self, id: ConnectionId, cx: &mut Context<'_>) {
        let freed = cx.provider.freed(id);
        if freed > 0 {
            self.tcb.consume(freed);
        }
        let capacity = self.tcb.capacity();
        // One wake-up for most of a window: a consumer that takes half of it at a time (a TLS record
        // of 16 KiB out of 32) would cause two. Whatever was freed before is seen at any other wake-up.
        if self.tcb.unread() > capacity / 2 {
            cx.provider.wait_for_room(id, capacity / 4 * 3);
        }
    }

    /// Passes the bytes that the consumer has written to TCP, and the end of its stream.
    fn write(&mut self, id: ConnectionId, cx: &mut Context<'_>) {
        if self.tcb.takes_data() {
            // A ring that is empty begins again, so that the next bytes lie together.
            if self.tcb.restart_ring() {
                cx.provider.restart(id);
            }
            let taken = self.tcb.write(cx.provider.readable(id));
            cx.provider.take(id, taken);
        }
        if !self.closing && cx.provider.at_end(id) {
            self.tcb.close();
            self.closing = true;
            self.moved = cx.now;
        }
    }

    /// Returns the time at which the connection is given up in its present stage.
    fn expiry(&self) -> Option<Instant> {
        match self.stage {
            Stage::Opening => Some(self.moved + HANDSHAKE),
            Stage::Open if self.closing => Some(self.moved + LINGER),
            _ => None,
        }
    }

    fn expire(&mut self, cx: &mut Context<'_>) {
        self.tcb.expire(cx.now);
        if self.expiry().is_some_and(|expiry| expiry <= cx.now) {
            match self.stage {
                Stage::Opening => self.fail(cx),
                _ => self.abort(cx.counters),
            }
        }
    }

    fn send(&mut self, cx: &mut Context<'_>) -> Turn {
        let (host, wire, now) = (&mut *cx.host, &mut *cx.wire, cx.now);
        let transmitted = self.tcb.transmit(SEGMENTS_A_TURN, now, |segment| {
            host.send(wire, segment, now)
        });
        self.awaited = match (self.tcb.is_resolving(), self.endpoints) {
            (true, Some((_, remote))) => cx.host.next_hop(remote.addr),
            _ => None,
        };
        cx.counters.retransmissions += self.tcb.take_retransmissions();
        match transmitted {
            Transmitted::Done => Turn::Done,
            Transmitted::More => Turn::More,
            Transmitted::NoBuffer => Turn::Starved,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `docs/memory.md` counts 1 KiB of the heap for each slot that was ever used.
    #[test]
    fn a_slot_costs_a_kibibyte_of_heap() {
        let bytes = size_of::<Connection>();
        assert!(bytes <= 1024, "{bytes} bytes");
    }
}
