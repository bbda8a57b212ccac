//! One TCP connection: a smoltcp socket whose buffers are the rings that the consumer shares.
//!
//! The socket's receive buffer is the ring in the stack's own region, which the consumer maps read-only;
//! its transmit buffer is the ring in the consumer's region, which is mapped read-only here. So the bytes
//! are not copied between the two; this module only keeps the positions of the two sides in step. Both
//! start at offset 0 when a connection opens. smoltcp moves the receive ring only by dequeueing. The
//! transmit ring it restarts at offset 0 whenever it enqueues into an empty queue, which is why
//! [`Connection::enqueue`] restarts the shared ring then.

use alloc::vec::Vec;

use channel::streams::{ConnectionId, Opened, Provider, Refusal, SocketMemory};
use smoltcp::iface::{Interface, PollResult, SocketHandle, SocketSet};
use smoltcp::socket::tcp::{CongestionControl, Socket, SocketBuffer, State};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::IpEndpoint;

use crate::counters::Counters;
use crate::inspect::Segment;
use crate::network::Network;
use crate::wire::Wire;

/// How long a handshake may take. A client that lost our SYN|ACK sees it repeated after 1, 3 and 7 s.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// An idle connection is probed this often (RFC 9293, section 3.8.4) …
const KEEP_ALIVE: Duration = Duration::from_secs(45);
/// … and given up when its peer has been silent for so long: two probes and some.
const USER_TIMEOUT: Duration = Duration::from_secs(120);
/// A connection that the consumer closed is reset when nothing has moved on it for so long.
const LINGER: Duration = Duration::from_secs(30);
/// Segments that one connection may send before others get their turn.
const SEGMENTS_A_TURN: usize = 16;
/// Pause before trying again what smoltcp wanted to do at once and then did not do.
const RETRY: Duration = Duration::from_millis(100);

/// Both ends of a connection: local, remote.
pub(crate) type Endpoints = (IpEndpoint, IpEndpoint);

/// What a connection needs of the stack for one turn.
pub(crate) struct Context<'a> {
    pub network: &'a mut Network,
    pub wire: &'a mut Wire,
    pub provider: &'a mut Provider,
    pub counters: &'a mut Counters,
    pub now: Instant,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The slot is free.
    Idle,
    /// The handshake runs; the consumer does not know of it.
    Opening,
    /// The consumer uses it.
    Open,
    /// The consumer was told that it is over and has not released it.
    Over,
    /// The consumer released it; it has still to send its reset or to wait out TIME-WAIT.
    Released,
}

/// How a connection comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A peer connected to a listening port.
    Accepted,
    /// The consumer asked for it with this token.
    Asked(u32),
}

/// One slot of a consumer.
pub(crate) struct Connection {
    slot: usize,
    /// Holds this one socket, so that smoltcp looks at no other.
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    stage: Stage,
    origin: Origin,
    endpoints: Option<Endpoints>,
    id: Option<ConnectionId>,
    /// The socket's state when it was last looked at.
    state: State,
    /// Bytes in the receive buffer that the consumer knows of.
    unread: usize,
    /// Bytes in the transmit buffer.
    unacknowledged: usize,
    /// The consumer was told that the peer sends no more.
    finished: bool,
    /// The consumer sends no more, and the socket knows.
    closing: bool,
    /// What the last segment acknowledged, if it did nothing else.
    acknowledgement: Option<u32>,
    /// When the stage began or bytes last moved.
    moved: Instant,
    deadline: Option<Instant>,
    /// It has something to send and did not; perhaps an address has to be resolved.
    waiting: bool,
    /// It is in the stack's queue of connections with work.
    pub scheduled: bool,
}

/// What remains after a turn.
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
    /// An idle connection over a slot's rings.
    pub fn new(slot: usize, memory: SocketMemory) -> Self {
        let receive = SocketBuffer::new(memory.receive);
        let transmit = SocketBuffer::new(memory.transmit);
        let mut socket = Socket::new(receive, transmit);
        // A consumer writes whole answers; waiting to fill a segment would only delay their ends.
        socket.set_nagle_enabled(false);
        socket.set_keep_alive(Some(KEEP_ALIVE));
        socket.set_timeout(Some(USER_TIMEOUT));
        let mut sockets = SocketSet::new(Vec::with_capacity(1));
        let handle = sockets.add(socket);
        Self {
            slot,
            sockets,
            handle,
            stage: Stage::Idle,
            origin: Origin::Accepted,
            endpoints: None,
            id: None,
            state: State::Closed,
            unread: 0,
            unacknowledged: 0,
            finished: false,
            closing: false,
            acknowledgement: None,
            moved: Instant::ZERO,
            deadline: None,
            waiting: false,
            scheduled: false,
        }
    }

    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// The consumer's name for it, while the consumer holds it.
    pub fn id(&self) -> Option<ConnectionId> {
        self.id
    }

    /// When it wants a turn.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Whether a newly resolved address may let it go on.
    pub fn is_waiting(&self) -> bool {
        self.waiting
    }

    /// When the stage began or bytes last moved.
    pub fn moved(&self) -> Instant {
        self.moved
    }

    /// Whether both sides are done and only TIME-WAIT is left.
    pub fn is_time_wait(&self) -> bool {
        self.state == State::TimeWait
    }

    /// Whether a peer began a handshake that is not finished.
    pub fn is_half_open(&self) -> bool {
        self.stage == Stage::Opening && self.origin == Origin::Accepted
    }

    /// Whether the consumer waits for it.
    pub fn is_asked_for(&self) -> bool {
        self.stage == Stage::Opening && matches!(self.origin, Origin::Asked(_))
    }

    /// Answers the SYN that `wire` holds. `seeded` is an interface whose next connection gets the right
    /// initial sequence number. Returns whether a handshake began.
    pub fn accept(
        &mut self,
        endpoints: Endpoints,
        seeded: &mut Interface,
        wire: &mut Wire,
        now: Instant,
    ) -> bool {
        self.begin(endpoints, Origin::Accepted, now);
        let listening = self.socket().listen(endpoints.0).is_ok();
        seeded.poll_ingress_single(now, wire, &mut self.sockets);
        let accepted = listening && self.socket().state() == State::SynReceived;
        if !accepted {
            self.discard();
        }
        accepted
    }

    /// Begins a connection that the consumer asked for.
    pub fn connect(
        &mut self,
        endpoints: Endpoints,
        token: u32,
        seeded: &mut Interface,
        now: Instant,
    ) -> bool {
        self.begin(endpoints, Origin::Asked(token), now);
        let (local, remote) = endpoints;
        let connecting = self
            .socket()
            .connect(seeded.context(), remote, local)
            .is_ok();
        if !connecting {
            self.discard();
        }
        connecting
    }

    /// Hands the socket the segment that `wire` holds.
    pub fn receive(&mut self, segment: &Segment, cx: &mut Context<'_>) {
        if self.is_useless(segment) {
            return;
        }
        self.acknowledgement = segment.bare;
        // See `fin`: smoltcp gets data and FIN one after the other.
        let separate = segment.ends && segment.payload > 0 && cx.wire.take_fin_off();
        self.process(cx);
        if separate && cx.wire.leave_fin() {
            self.process(cx);
        }
    }

    /// Whether a segment only repeats an acknowledgement while nothing but our FIN is under way. smoltcp 0.14 would
    /// begin a fast retransmission at the third such segment, which sends data only; with none to send it would
    /// forget the FIN.
    fn is_useless(&mut self, segment: &Segment) -> bool {
        segment.bare.is_some()
            && segment.bare == self.acknowledgement
            && matches!(
                self.state,
                State::FinWait1 | State::Closing | State::LastAck
            )
            && self.socket().send_queue() == 0
    }

    fn process(&mut self, cx: &mut Context<'_>) {
        cx.network
            .interface()
            .poll_ingress_single(cx.now, cx.wire, &mut self.sockets);
        self.report(cx);
    }

    /// Moves bytes and news between the socket and the consumer, and sends what may be sent.
    pub fn turn(&mut self, cx: &mut Context<'_>) -> Turn {
        if let Some(id) = self.id.filter(|_| self.stage == Stage::Open) {
            self.dequeue(id, cx);
            self.enqueue(id, cx);
        }
        self.expire(cx);
        let turn = self.send(cx);
        self.report(cx);
        self.deadline = self.deadline.into_iter().chain(self.expiry()).min();
        turn
    }

    /// The consumer gives the connection up: the peer gets a reset.
    pub fn abort(&mut self, _: &mut Counters) {
        self.socket().abort();
    }

    /// The consumer has released the slot: what lives is reset, except in TIME-WAIT.
    pub fn release(&mut self, counters: &mut Counters) {
        if self.stage == Stage::Open {
            counters.connections_open -= 1;
            counters.connections_reset += 1;
        }
        if self.state != State::TimeWait {
            self.socket().abort();
        }
        self.id = None;
        self.stage = Stage::Released;
    }

    /// Gives the slot up without a word to the peer.
    pub fn discard(&mut self) {
        self.silence();
        self.id = None;
        self.stage = Stage::Released;
    }

    /// Forgets the peer without a word to it.
    pub fn silence(&mut self) {
        let socket = self.socket();
        socket.abort();
        // Listening is what clears a socket; aborted then, it has no peer to send a reset to.
        let _ = socket.listen(1);
        socket.abort();
        self.state = State::Closed;
        self.waiting = false;
        self.deadline = None;
    }

    /// The endpoints, once the socket no longer talks to anybody; after that, nothing.
    pub fn take_silent(&mut self) -> Option<Endpoints> {
        match self.socket().remote_endpoint() {
            None => self.endpoints.take(),
            Some(_) => None,
        }
    }

    /// Makes the slot idle if the consumer released it and the socket is silent. Returns whether it became so.
    pub fn retire(&mut self) -> bool {
        let over = self.stage == Stage::Released && self.endpoints.is_none();
        if over {
            self.stage = Stage::Idle;
            self.deadline = None;
        }
        over
    }

    fn begin(&mut self, endpoints: Endpoints, origin: Origin, now: Instant) {
        // smoltcp keeps two things of the connection before: that it waited for an address …
        let mut socket: Socket<'static> = match self.sockets.remove(self.handle) {
            smoltcp::socket::Socket::Tcp(socket) => socket,
            _ => unreachable!("the set holds one TCP socket"),
        };
        // … and its congestion window.
        socket.set_congestion_control(CongestionControl::Reno);
        socket.abort();
        self.handle = self.sockets.add(socket);
        self.stage = Stage::Opening;
        self.origin = origin;
        self.endpoints = Some(endpoints);
        self.id = None;
        self.state = State::Closed;
        self.unread = 0;
        self.unacknowledged = 0;
        self.finished = false;
        self.closing = false;
        self.acknowledgement = None;
        self.moved = now;
        self.deadline = None;
        self.waiting = false;
    }

    fn socket(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.handle)
    }

    /// Frees what the consumer has read, which opens the window.
    fn dequeue(&mut self, id: ConnectionId, cx: &mut Context<'_>) {
        let mut freed = cx.provider.freed(id);
        while freed > 0 {
            let taken = self.socket().recv(|bytes| {
                let taken = freed.min(bytes.len());
                (taken, taken)
            });
            match taken {
                Ok(taken @ 1..) => {
                    freed -= taken;
                    self.unread = self.unread.saturating_sub(taken);
                }
                _ => break,
            }
        }
        let capacity = self.socket().recv_capacity();
        // One wake-up for most of a window: a consumer that takes half of it at a time (a TLS record
        // of 16 KiB out of 32) would cause two. Whatever was freed before is seen at any other wake-up.
        if self.unread > capacity / 2 {
            cx.provider.wait_for_room(id, capacity / 4 * 3);
        }
    }

    /// Tells the socket of what the consumer has written, and of its end.
    fn enqueue(&mut self, id: ConnectionId, cx: &mut Context<'_>) {
        while self.socket().may_send() {
            if self.socket().send_queue() == 0 {
                cx.provider.restart(id);
            }
            let written = cx.provider.readable(id);
            // The bytes are in the buffer already: it is the ring that the consumer wrote.
            let taken = self.socket().send(|buffer| {
                let taken = written.min(buffer.len());
                (taken, taken)
            });
            match taken {
                Ok(taken @ 1..) => {
                    cx.provider.take(id, taken);
                    self.unacknowledged += taken;
                }
                _ => break,
            }
        }
        if !self.closing && cx.provider.at_end(id) {
            self.socket().close();
            self.closing = true;
            self.moved = cx.now;
        }
    }

    /// The time at which patience ends.
    fn expiry(&self) -> Option<Instant> {
        match self.stage {
            Stage::Opening => Some(self.moved + HANDSHAKE),
            Stage::Open if self.closing => Some(self.moved + LINGER),
            _ => None,
        }
    }

    fn expire(&mut self, cx: &mut Context<'_>) {
        if self.expiry().is_some_and(|expiry| expiry <= cx.now) {
            match self.stage {
                Stage::Opening => self.fail(cx),
                _ => self.abort(cx.counters),
            }
        }
    }

    fn send(&mut self, cx: &mut Context<'_>) -> Turn {
        // What waits for an address has a deadline in the future even if the address is known by now.
        let mut retry = core::mem::take(&mut self.waiting);
        for _ in 0..SEGMENTS_A_TURN {
            self.deadline = cx.network.deadline_of(&self.sockets, cx.now);
            if self.deadline.is_none_or(|deadline| deadline > cx.now) && !retry {
                return Turn::Done;
            }
            retry = false;
            let sent = cx
                .network
                .interface()
                .poll_egress(cx.now, cx.wire, &mut self.sockets);
            if sent == PollResult::None {
                return self.unsent(cx);
            }
        }
        Turn::More
    }

    /// smoltcp wanted a turn and sent nothing: a time-out passed, an address is unknown, or the pool is empty.
    fn unsent(&mut self, cx: &mut Context<'_>) -> Turn {
        if cx.wire.take_starved() {
            self.deadline = None;
            return Turn::Starved;
        }
        self.waiting = true;
        let deadline = cx.network.deadline_of(&self.sockets, cx.now);
        self.deadline = deadline.map(|deadline| match deadline > cx.now {
            true => deadline,
            false => cx.now + RETRY,
        });
        Turn::Done
    }

    /// Tells the consumer what has become of the socket.
    fn report(&mut self, cx: &mut Context<'_>) {
        let before = self.state;
        self.state = self.socket().state();
        match self.stage {
            Stage::Opening => self.report_opening(cx),
            Stage::Open => self.report_open(before, cx),
            Stage::Idle | Stage::Over | Stage::Released => {}
        }
    }

    fn report_opening(&mut self, cx: &mut Context<'_>) {
        match self.state {
            State::SynSent | State::SynReceived => {}
            State::Closed | State::Listen => self.fail(cx),
            _ => self.open(cx),
        }
    }

    fn open(&mut self, cx: &mut Context<'_>) {
        let Some((local, remote)) = self.endpoints else {
            return;
        };
        let opened = Opened {
            peer: (core::net::IpAddr::from(remote.addr), remote.port).into(),
            local_port: local.port,
            token: match self.origin {
                Origin::Accepted => None,
                Origin::Asked(token) => Some(token),
            },
            identity: None,
            // Who wants secrecy on the network seals what it sends.
            confidential: false,
        };
        let Ok(id) = cx.provider.open(self.slot, &opened) else {
            // The consumer is starting over; or it holds a slot that it released, which its port calls by name.
            return self.abort(cx.counters);
        };
        self.id = Some(id);
        self.stage = Stage::Open;
        self.moved = cx.now;
        cx.counters.connections_open += 1;
        cx.counters.connections_total += 1;
        self.report_open(self.state, cx);
    }

    fn fail(&mut self, cx: &mut Context<'_>) {
        if let Origin::Asked(token) = self.origin {
            cx.provider.answer(token, Err(Refusal::Unreachable));
        }
        cx.counters.handshakes_failed += 1;
        self.discard();
    }

    fn report_open(&mut self, before: State, cx: &mut Context<'_>) {
        let Some(id) = self.id else {
            return;
        };
        self.report_bytes(id, cx);
        let received_fin = matches!(
            self.state,
            State::CloseWait | State::LastAck | State::Closing | State::TimeWait
        );
        if received_fin && !self.finished {
            self.finished = true;
            cx.provider.finish(id);
        }
        match self.state {
            State::TimeWait => self.over(true, id, cx),
            State::Closed => {
                let all_sent = before == State::LastAck && self.unacknowledged == 0;
                self.over(all_sent || before == State::TimeWait, id, cx);
            }
            _ => {}
        }
    }

    fn report_bytes(&mut self, id: ConnectionId, cx: &mut Context<'_>) {
        // smoltcp empties the buffers of a connection whose local address is gone.
        let received = self.socket().recv_queue().saturating_sub(self.unread);
        let acknowledged = self
            .unacknowledged
            .saturating_sub(self.socket().send_queue());
        if received > 0 {
            cx.provider.commit(id, received);
            cx.counters.payload_received += received as u64;
            cx.counters.copied_in += received as u64;
            self.unread += received;
        }
        if acknowledged > 0 {
            cx.provider.free(id, acknowledged);
            cx.counters.payload_sent += acknowledged as u64;
            self.unacknowledged -= acknowledged;
        }
        if received + acknowledged > 0 {
            self.moved = cx.now;
        }
    }

    fn over(&mut self, orderly: bool, id: ConnectionId, cx: &mut Context<'_>) {
        if orderly {
            cx.provider.closed(id);
        } else {
            cx.provider.reset(id);
            cx.counters.connections_reset += 1;
        }
        cx.counters.connections_open -= 1;
        self.stage = Stage::Over;
    }
}

#[cfg(test)]
mod tests {
    use smoltcp::iface::SocketStorage;

    use super::*;

    /// `docs/memory.md` counts 1 KiB of the heap for each slot that was ever used.
    #[test]
    fn a_slot_costs_a_kibibyte_of_heap() {
        let bytes = size_of::<Connection>() + size_of::<SocketStorage<'_>>();
        assert!(bytes <= 1024, "{bytes} bytes");
    }
}
