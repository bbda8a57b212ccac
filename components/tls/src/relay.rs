//! All sessions of a TLS protection domain: a stream from the TCP stack below, a stream to the service above.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::SocketAddr;

use channel::PeerMisbehaved;
use channel::streams::{
    Busy, ConnectionId, Consumer, ConsumerEvent, Opened, Provider, ProviderEvent, Refusal,
};

use crate::ends::{Lower, Upper};
use crate::{Client, Copies, Error, Established, Server, Session, Stage, TicketCounters};

/// Time for a client to complete its handshake, in nanoseconds. A full handshake over a bad mobile link takes
/// about 2 s; whoever needs five times that holds a slot that others want.
const HANDSHAKE_TIME: u64 = 10_000_000_000;

/// Time for the last bytes (`close_notify` or an alert, then FIN) to be sent and answered, in nanoseconds.
const CLOSING_TIME: u64 = 10_000_000_000;

/// Bytes of memory that must be free before a step of a handshake, and before a session begins:
/// more than a step allocates. The largest parts are a client's incomplete messages and the copy
/// that rustls makes of one (80 KiB and 64 KiB), and the server's certificates, of which up to
/// three copies exist while they are encoded (64 KiB each).
pub(crate) const HANDSHAKE_ROOM: usize = 512 * 1024;

/// Bytes of memory that must be free before a step of an open session: more than a step allocates.
/// It allocates up to four records of 16 KiB: one received, one held for the service, one
/// encrypted, and one waiting to be sent.
const OPEN_ROOM: usize = 96 * 1024;

/// Events taken from either side in one [`Relay::poll`], so that it ends.
const MAX_EVENTS: usize = 256;

/// What happened to a session, for the log.
pub enum Report<'a> {
    /// The handshake is complete.
    Opened(&'a Session),
    /// The session failed.
    Failed(&'a Error),
    /// The handshake took too long.
    TimedOut,
    /// The client ended the TCP connection without `close_notify`.
    Truncated,
}

/// Counters since start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Sessions that now exist.
    pub sessions: u64,
    /// Completed handshakes.
    pub handshakes: u64,
    /// How many of them resumed an earlier session.
    pub resumed: u64,
    /// Handshakes that failed or took too long.
    pub failed_handshakes: u64,
    /// Connections that were refused, and sessions that were ended, because no memory was left for
    /// them.
    pub refused: u64,
    /// Open sessions that ended with an error.
    pub failed_sessions: u64,
    /// Tickets for resumption and their keys.
    pub tickets: TicketCounters,
    /// Application data and the bytes copied for it.
    pub copies: Copies,
}

/// What [`Relay::poll`] leaves to its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// There is more to do: poll again before waiting.
    pub more: bool,
    /// When to poll at the latest (monotonic nanoseconds), if anything is due.
    pub deadline: Option<u64>,
    /// A handshake or a session ended or a key was made: secrets may lie on the stack that ran this.
    pub wipe: bool,
}

/// The sessions and the two streams that they join.
pub struct Relay {
    server: Server,
    /// For connections that the service asks for, where it may.
    client: Option<Client>,
    /// Connections that were asked for and have not come about.
    asked: Vec<Asked>,
    below: Consumer,
    above: Provider,
    /// By the slot of the connection below.
    entries: Vec<Option<Box<Entry>>>,
    /// By the slot of the connection above: the slot below.
    owners: Vec<Option<usize>>,
    /// Slots below with something to do.
    ready: Vec<usize>,
    /// When a session is due, at the earliest.
    deadline: Option<u64>,
    /// When the next ticket key is due.
    next_key: Option<u64>,
    wipe: bool,
    counters: Counters,
    /// Check for whether so many bytes of memory are free.
    has_room: Box<dyn Fn(usize) -> bool>,
}

/// A connection that the service wants.
struct Asked {
    /// The request below.
    below: u32,
    /// The service's request.
    above: u32,
}

struct Entry {
    id: ConnectionId,
    /// The service's request that is to be answered with this connection.
    asked: Option<u32>,
    opened: Opened,
    session: Session,
    above: Option<ConnectionId>,
    /// The service has nothing more to send once its ring is empty.
    service_finished: bool,
    input_ended: bool,
    output_ended: bool,
    counted: Copies,
    deadline: Option<u64>,
    queued: bool,
}

impl Relay {
    /// Joins two streams. Both should have the same number of connections.
    pub fn new(server: Server, below: Consumer, above: Provider) -> Self {
        Self {
            server,
            client: None,
            asked: Vec::new(),
            below,
            above,
            entries: Vec::new(),
            owners: Vec::new(),
            ready: Vec::new(),
            deadline: None,
            next_key: None,
            wipe: false,
            counters: Counters::default(),
            has_room: Box::new(|_| true),
        }
    }

    /// Makes the relay check that so many bytes of memory are free before it does work that
    /// allocates. If they are not, a new connection is closed, and a session is ended with the
    /// alert `internal_error`.
    #[must_use]
    pub fn with_memory(self, has_room: impl Fn(usize) -> bool + 'static) -> Self {
        let has_room = Box::new(has_room);
        Self { has_room, ..self }
    }

    /// Lets the service connect to servers, as this client.
    #[must_use]
    pub fn with_client(self, client: Option<Client>) -> Self {
        Self { client, ..self }
    }

    /// From here on handshakes are made as these say, in both roles. Tickets stay good.
    pub fn replace(&mut self, server: Server, client: Option<Client>) {
        self.server = server.with_tickets_of(&self.server);
        self.client = client;
    }

    /// Takes events and moves data; bounded work. `now` is monotonic time in nanoseconds.
    ///
    /// # Errors
    /// [`PeerMisbehaved`] when the stack or the service breaks the streams protocol. Its stream is dead from then
    /// on, and all sessions are ended, since each needs both.
    pub fn poll(
        &mut self,
        now: u64,
        report: &mut dyn FnMut(SocketAddr, Report<'_>),
    ) -> Result<Turn, PeerMisbehaved> {
        let events = self.take_events_below(now).and_then(|below| {
            let above = self.take_events_above()?;
            Ok(below || above)
        });
        let more = match events {
            Ok(more) => more,
            Err(peer) => {
                (0..self.entries.len()).for_each(|slot| self.abort(slot));
                return Err(peer);
            }
        };
        self.change_ticket_keys(now);
        self.expire(now, report);
        let ready = core::mem::take(&mut self.ready);
        for slot in ready {
            self.advance(slot, now, report);
        }
        Ok(Turn {
            more: more || !self.ready.is_empty(),
            deadline: [self.deadline, self.next_key].into_iter().flatten().min(),
            wipe: core::mem::take(&mut self.wipe),
        })
    }

    /// Publishes what was written and prepares to wait; false when there is something to do after all.
    pub fn sleep(&mut self) -> bool {
        let below = self.below.sleep();
        let above = self.above.sleep();
        below && above
    }

    /// Counters since start.
    pub fn counters(&self) -> Counters {
        let tickets = self.server.tickets.as_ref();
        Counters {
            tickets: tickets.map_or_else(TicketCounters::default, |tickets| tickets.counters()),
            ..self.counters
        }
    }

    #[cfg(test)]
    pub(crate) fn established(&mut self, slot: usize) -> &mut Established {
        let entry = self.entries[slot].as_mut().expect("the slot is in use");
        entry.session.established_mut()
    }

    fn take_events_below(&mut self, now: u64) -> Result<bool, PeerMisbehaved> {
        for _ in 0..MAX_EVENTS {
            match self.below.next_event()? {
                None => return Ok(false),
                Some(ConsumerEvent::Opened(id, opened)) => self.begin(id, opened, now),
                Some(
                    ConsumerEvent::Readable(id)
                    | ConsumerEvent::Writable(id)
                    | ConsumerEvent::HalfClosed(id),
                ) => self.queue(id.slot()),
                Some(ConsumerEvent::Closed(id) | ConsumerEvent::Reset(id)) => self.remove(id),
                Some(ConsumerEvent::Started) => {}
                Some(ConsumerEvent::Answer { token, result }) => {
                    if let Some(above) = self.take_asked(token) {
                        let refusal = result.err().unwrap_or(Refusal::Unreachable);
                        self.above.answer(above, Err(refusal));
                    }
                }
            }
        }
        Ok(true)
    }

    fn take_events_above(&mut self) -> Result<bool, PeerMisbehaved> {
        for _ in 0..MAX_EVENTS {
            match self.above.next_event()? {
                None => return Ok(false),
                Some(ProviderEvent::Readable(id) | ProviderEvent::Writable(id)) => {
                    self.queue_owner(id);
                }
                Some(ProviderEvent::HalfClosed(id)) => {
                    if let Some(entry) = self.owner(id) {
                        entry.service_finished = true;
                    }
                    self.queue_owner(id);
                }
                Some(ProviderEvent::Aborted(id)) => {
                    if let Some(slot) = self.owner(id).map(|entry| entry.id.slot()) {
                        self.abort(slot);
                    }
                }
                Some(ProviderEvent::Released(id)) => self.released(id),
                Some(ProviderEvent::Started) => self.begin_anew(),
                Some(ProviderEvent::Connect { token, remote }) => self.connect(token, remote),
                Some(ProviderEvent::Listen { token, .. }) => {
                    self.above.answer(token, Err(Refusal::NotAllowed));
                }
            }
        }
        Ok(true)
    }

    /// Hands on a request of the service.
    fn connect(&mut self, above: u32, remote: SocketAddr) {
        let result = match self.client {
            Some(_) => self.below.connect(remote).map_err(|Busy| Refusal::NoRoom),
            None => Err(Refusal::NotAllowed),
        };
        match result {
            Ok(below) => self.asked.push(Asked { below, above }),
            Err(refusal) => self.above.answer(above, Err(refusal)),
        }
    }

    /// The service's request for which the request below was made.
    fn take_asked(&mut self, below: u32) -> Option<u32> {
        let position = self.asked.iter().position(|asked| asked.below == below)?;
        Some(self.asked.swap_remove(position).above)
    }

    /// A connection came in, or one that the service asked for came about.
    fn begin(&mut self, id: ConnectionId, opened: Opened, now: u64) {
        let asked = opened.token.and_then(|token| self.take_asked(token));
        if asked.is_none() && opened.token.is_some() {
            // The service has started over since it asked.
            self.below.abort(id);
            self.below.release(id);
            return;
        }
        if !(self.has_room)(HANDSHAKE_ROOM) {
            self.counters.refused += 1;
            if let Some(token) = asked {
                self.above.answer(token, Err(Refusal::NoRoom));
            }
            self.below.abort(id);
            self.below.release(id);
            return;
        }
        let session = match asked.and(self.client.as_ref()) {
            Some(client) => Session::connect(client, opened.peer.ip()),
            None => Session::new(&self.server),
        };
        let Ok(session) = session else {
            if let Some(token) = asked {
                self.above.answer(token, Err(Refusal::Insecure));
            }
            self.below.abort(id);
            self.below.release(id);
            return;
        };
        let slot = id.slot();
        if self.entries.len() <= slot {
            self.entries.resize_with(slot + 1, || None);
        }
        self.counters.sessions += 1;
        self.entries[slot] = Some(Box::new(Entry {
            id,
            asked,
            opened,
            session,
            above: None,
            service_finished: false,
            input_ended: false,
            output_ended: false,
            counted: Copies::default(),
            deadline: None,
            queued: false,
        }));
        self.set_deadline(slot, Some(now.saturating_add(HANDSHAKE_TIME)));
        self.queue(slot);
    }

    /// One step of one session, and what follows from where it is then.
    fn advance(&mut self, slot: usize, now: u64, report: &mut dyn FnMut(SocketAddr, Report<'_>)) {
        let Some(entry) = self.entries.get_mut(slot).and_then(Option::as_mut) else {
            return;
        };
        entry.queued = false;
        let stage = entry.session.stage();
        let mut below = Lower {
            stream: &mut self.below,
            id: entry.id,
        };
        let mut above = Upper {
            stream: &mut self.above,
            id: entry.above,
            finished: entry.service_finished,
        };
        let room = match stage {
            Stage::Handshake => HANDSHAKE_ROOM,
            Stage::Open | Stage::Failed => OPEN_ROOM,
        };
        let result = match stage == Stage::Failed || (self.has_room)(room) {
            true => entry.session.step(&mut below, &mut above),
            false => {
                self.counters.refused += 1;
                entry.session.end(&Error::NoMemory, &mut below);
                Err(Error::NoMemory)
            }
        };
        count(
            &mut self.counters.copies,
            &mut entry.counted,
            entry.session.copies(),
        );
        let peer = entry.opened.peer;
        match (&result, stage, entry.session.stage()) {
            (Err(error), Stage::Handshake, _) => {
                self.counters.failed_handshakes += 1;
                report(peer, Report::Failed(error));
            }
            (Err(error), ..) => {
                self.counters.failed_sessions += 1;
                report(peer, Report::Failed(error));
            }
            (Ok(_), Stage::Handshake, Stage::Open) => {
                self.counters.handshakes += 1;
                let established = entry.session.established();
                self.counters.resumed += u64::from(established.is_some_and(Established::resumed));
                report(peer, Report::Opened(&entry.session));
                self.wipe = true;
                self.set_deadline(slot, None);
                self.queue(slot);
            }
            (Ok(true), ..) => self.queue(slot),
            (Ok(false), ..) => {}
        }
        if result.is_err() {
            self.wipe = true;
            self.reset_above(slot);
        }
        self.open_above(slot);
        self.close_ends(slot, now, report);
    }

    /// Announces an open session to the service, once there is a free slot.
    fn open_above(&mut self, slot: usize) {
        let Some(entry) = self.entries.get_mut(slot).and_then(Option::as_mut) else {
            return;
        };
        if entry.above.is_some() || entry.session.stage() != Stage::Open {
            return;
        }
        let Some(free) = self.above.free_slot() else {
            return;
        };
        let opened = Opened {
            token: entry.asked,
            identity: entry.session.peer(),
            confidential: true,
            ..entry.opened
        };
        let Ok(id) = self.above.open(free, &opened) else {
            return;
        };
        entry.above = Some(id);
        entry.asked = None;
        if self.owners.len() <= free {
            self.owners.resize(free + 1, None);
        }
        self.owners[free] = Some(slot);
        self.queue(slot);
    }

    /// Carries the ends of both directions over.
    fn close_ends(
        &mut self,
        slot: usize,
        now: u64,
        report: &mut dyn FnMut(SocketAddr, Report<'_>),
    ) {
        let Some(entry) = self.entries.get_mut(slot).and_then(Option::as_mut) else {
            return;
        };
        if entry.session.input_ended()
            && !entry.input_ended
            && let Some(above) = entry.above
        {
            entry.input_ended = true;
            self.above.finish(above);
        }
        if entry.session.output_ended() && !entry.output_ended {
            entry.output_ended = true;
            self.below.close(entry.id);
            self.set_deadline(slot, Some(now.saturating_add(CLOSING_TIME)));
            return;
        }
        // RFC 8446, section 6.1: an end without close_notify may be an attacker's.
        let cut = self.below.at_end(entry.id) && !entry.session.input_ended();
        if cut && !entry.output_ended && entry.session.stage() != Stage::Failed {
            let peer = entry.opened.peer;
            match entry.session.stage() {
                Stage::Handshake => self.counters.failed_handshakes += 1,
                _ => self.counters.failed_sessions += 1,
            }
            report(peer, Report::Truncated);
            self.abort(slot);
        }
    }

    /// Changes ticket keys on time, whether or not anyone connects: the oldest is to be wiped.
    fn change_ticket_keys(&mut self, now: u64) {
        if let Some(next) = self.server.change_ticket_keys(now) {
            self.wipe |= self.next_key != Some(next);
            self.next_key = Some(next);
        }
    }

    fn expire(&mut self, now: u64, report: &mut dyn FnMut(SocketAddr, Report<'_>)) {
        if self.deadline.is_none_or(|deadline| deadline > now) {
            return;
        }
        self.deadline = None;
        for slot in 0..self.entries.len() {
            let Some(entry) = &self.entries[slot] else {
                continue;
            };
            match entry.deadline {
                Some(deadline) if deadline <= now => {
                    if entry.session.stage() == Stage::Handshake {
                        self.counters.failed_handshakes += 1;
                        report(entry.opened.peer, Report::TimedOut);
                    }
                    self.abort(slot);
                }
                deadline => self.set_deadline(slot, deadline),
            }
        }
    }

    /// The TCP connection is gone.
    fn remove(&mut self, id: ConnectionId) {
        let slot = id.slot();
        match self.entries.get(slot) {
            Some(Some(entry)) if entry.id == id => {}
            _ => return self.below.release(id),
        }
        self.reset_above(slot);
        self.drop_entry(slot);
        self.below.release(id);
    }

    /// Ends both connections at once.
    fn abort(&mut self, slot: usize) {
        let Some(Some(entry)) = self.entries.get(slot) else {
            return;
        };
        let id = entry.id;
        self.reset_above(slot);
        self.drop_entry(slot);
        self.below.abort(id);
        self.below.release(id);
    }

    fn drop_entry(&mut self, slot: usize) {
        if self.entries[slot].take().is_some() {
            self.counters.sessions -= 1;
            self.wipe = true;
        }
    }

    /// Ends the connection above: in order if both directions were, else by a reset.
    fn reset_above(&mut self, slot: usize) {
        let Some(Some(entry)) = self.entries.get_mut(slot) else {
            return;
        };
        if let Some(token) = entry.asked.take() {
            self.above.answer(token, Err(Refusal::Insecure));
        }
        let Some(above) = entry.above.take() else {
            return;
        };
        self.owners[above.slot()] = None;
        match entry.service_finished && (entry.input_ended || entry.output_ended) {
            true => self.above.closed(above),
            false => self.above.reset(above),
        }
    }

    /// A slot above is free: a session that waited for one can have it.
    fn released(&mut self, id: ConnectionId) {
        if let Some(slot) = self.owner(id).map(|entry| entry.id.slot()) {
            self.abort(slot);
        }
        let waits = |entry: &Entry| entry.above.is_none() && entry.session.stage() == Stage::Open;
        let waiting = self
            .entries
            .iter()
            .position(|entry| entry.as_deref().is_some_and(waits));
        if let Some(slot) = waiting {
            self.queue(slot);
        }
    }

    /// A service that has started gets the sessions that were opened without it. What an earlier life of it asked for
    /// nobody wants any more.
    fn begin_anew(&mut self) {
        self.asked.clear();
        for slot in 0..self.entries.len() {
            let Some(entry) = self.entries[slot].as_deref_mut() else {
                continue;
            };
            if entry.asked.take().is_some() {
                self.abort(slot);
            } else if entry.above.is_none() && entry.session.stage() == Stage::Open {
                self.queue(slot);
            }
        }
    }

    fn owner(&mut self, above: ConnectionId) -> Option<&mut Entry> {
        let slot = (*self.owners.get(above.slot())?)?;
        let entry = self.entries.get_mut(slot)?.as_deref_mut()?;
        (entry.above == Some(above)).then_some(entry)
    }

    fn queue_owner(&mut self, above: ConnectionId) {
        if let Some(slot) = self.owner(above).map(|entry| entry.id.slot()) {
            self.queue(slot);
        }
    }

    fn queue(&mut self, slot: usize) {
        if let Some(Some(entry)) = self.entries.get_mut(slot)
            && !core::mem::replace(&mut entry.queued, true)
        {
            self.ready.push(slot);
        }
    }

    fn set_deadline(&mut self, slot: usize, deadline: Option<u64>) {
        if let Some(Some(entry)) = self.entries.get_mut(slot) {
            entry.deadline = deadline;
            self.deadline = [self.deadline, deadline].into_iter().flatten().min();
        }
    }
}

/// Adds what is new in `now` to the total.
fn count(total: &mut Copies, counted: &mut Copies, now: Copies) {
    total.received += now.received - counted.received;
    total.receiving += now.receiving - counted.receiving;
    total.sent += now.sent - counted.sent;
    total.sending += now.sending - counted.sending;
    *counted = now;
}
