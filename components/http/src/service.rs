//! A server on a `streams` port: which connection works when.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use channel::PeerMisbehaved;
use channel::streams::{ConnectionId, Consumer, ConsumerEvent, Opened};

use crate::connection::{Connection, Outcome};
use crate::limits::{Limits, Pressure};
use crate::server::Server;
use crate::stream::Stream;

/// Bytes of memory that must be free before a connection is served, and before one is opened: more
/// than serving it allocates beyond [`crate::Limits::memory`]. Most of it is a status page while it
/// is made, in a string that grows by doubling.
const TURN_ROOM: usize = 256 * 1024;

/// The connections of a `streams` port and the server that answers them. Times are nanoseconds of a clock
/// that does not go back.
pub struct Service<S> {
    server: Server<'static, S>,
    streams: Consumer,
    /// By slot.
    entries: Vec<Option<Entry>>,
    /// Slots with something to do, each once.
    ready: VecDeque<usize>,
    /// No connection's deadline is earlier.
    deadline: Option<u64>,
    /// Check for whether so many bytes of memory are free.
    has_room: Box<dyn Fn(usize) -> bool>,
    /// The limits while many connections are free.
    limits: Limits,
    pressure: Pressure,
}

struct Entry {
    id: ConnectionId,
    state: State,
    is_ready: bool,
}

enum State {
    Live(Box<Connection>),
    /// Both sides have finished, at this time; the last bytes may still be unacknowledged.
    Closing(u64),
}

/// What [`Service::poll`] leaves to its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// There is more to do: poll again. Otherwise a notification will tell when there is.
    pub more: bool,
    /// When to poll at the latest, if anything is due.
    pub deadline: Option<u64>,
}

/// How long a connection that both sides are done with may take until the last bytes are acknowledged.
const CLOSING: u64 = 15_000 * MILLISECOND;

/// The same while few connections are free.
const LEAST_CLOSING: u64 = 1_000 * MILLISECOND;

/// Nanoseconds in a millisecond, the unit of [`crate::Limits`].
const MILLISECOND: u64 = 1_000_000;

impl Entry {
    fn is_closing(&self) -> bool {
        match &self.state {
            State::Live(connection) => connection.is_closing(),
            State::Closing(_) => true,
        }
    }
}

impl<S> Service<S> {
    /// A service over the connections that `streams` brings.
    pub fn new(server: Server<'static, S>, streams: Consumer) -> Self {
        Self {
            limits: server.limits,
            pressure: Pressure::default(),
            server,
            streams,
            entries: Vec::new(),
            ready: VecDeque::new(),
            deadline: None,
            has_room: Box::new(|_| true),
        }
    }

    /// Makes the service check that so many bytes of memory are free before it does work that
    /// allocates. If they are not, the connection is closed.
    #[must_use]
    pub fn with_memory(self, has_room: impl Fn(usize) -> bool + 'static) -> Self {
        let has_room = Box::new(has_room);
        Self { has_room, ..self }
    }

    /// The server.
    pub fn server(&mut self) -> &mut Server<'static, S> {
        &mut self.server
    }

    /// Takes what has happened, and gives every connection that can do something one turn, which is
    /// bounded.
    ///
    /// # Errors
    /// The provider broke the protocol of the shared memory. All connections are gone then, and none will come.
    pub fn poll(&mut self, now: u64) -> Result<Turn, PeerMisbehaved> {
        while let Some(event) = self.streams.next_event()? {
            self.take(event, now);
        }
        self.make_room(now);
        self.find_expired(now);
        for _ in 0..self.ready.len() {
            if let Some(slot) = self.ready.pop_front() {
                self.turn(slot, now);
            }
        }
        // Also with work left: only then does the port tell what is new. It costs at most a needless
        // notification.
        let is_quiet = self.streams.sleep();
        Ok(Turn {
            more: !self.ready.is_empty() || !is_quiet,
            deadline: self.deadline,
        })
    }

    fn take(&mut self, event: ConsumerEvent, now: u64) {
        match event {
            ConsumerEvent::Opened(id, opened) => self.begin(id, &opened, now),
            ConsumerEvent::Readable(id)
            | ConsumerEvent::Writable(id)
            | ConsumerEvent::HalfClosed(id) => self.wake(id),
            ConsumerEvent::Closed(id) | ConsumerEvent::Reset(id) => self.release(id),
            // This service asks for nothing: the description says what is listened on.
            ConsumerEvent::Started | ConsumerEvent::Answer { .. } => {}
        }
    }

    fn begin(&mut self, id: ConnectionId, opened: &Opened, now: u64) {
        if !(self.has_room)(TURN_ROOM) {
            self.server.counters.refused += 1;
            return self.streams.release(id);
        }
        if self.entries.len() <= id.slot() {
            self.entries.resize_with(id.slot() + 1, || None);
        }
        let connection = Connection::new(now / MILLISECOND).with_client(opened);
        let before = self.entries[id.slot()].replace(Entry {
            id,
            state: State::Live(Box::new(connection)),
            // If the slot's last user was ready, it still stands in the queue.
            is_ready: self.ready.contains(&id.slot()),
        });
        self.server.counters.connections += 1;
        self.server.counters.connections_open += u64::from(before.is_none());
        self.wake(id);
    }

    fn wake(&mut self, id: ConnectionId) {
        let entry = self.entries.get_mut(id.slot()).and_then(Option::as_mut);
        if let Some(entry) = entry
            && entry.id == id
            && !entry.is_ready
        {
            entry.is_ready = true;
            self.ready.push_back(id.slot());
        }
    }

    fn release(&mut self, id: ConnectionId) {
        let entry = self.entries.get_mut(id.slot());
        if let Some(entry) = entry
            && entry.as_ref().is_some_and(|entry| entry.id == id)
        {
            *entry = None;
            self.server.counters.connections_open -= 1;
        }
        self.streams.release(id);
    }

    fn turn(&mut self, slot: usize, now: u64) {
        let Some(entry) = self.entries.get_mut(slot).and_then(Option::as_mut) else {
            return;
        };
        entry.is_ready = false;
        let id = entry.id;
        let State::Live(connection) = &mut entry.state else {
            return;
        };
        let mut lane = Lane {
            streams: &mut self.streams,
            id,
        };
        let outcome = match (self.has_room)(TURN_ROOM) {
            true => connection.work(&mut self.server, &mut lane, now / MILLISECOND),
            false => {
                self.server.counters.refused += 1;
                Outcome::Abort
            }
        };
        let deadline = connection
            .deadline(&self.server)
            .saturating_mul(MILLISECOND);
        match outcome {
            Outcome::Wait => self.due(deadline),
            Outcome::More => {
                self.due(deadline);
                self.wake(id);
            }
            Outcome::Close => {
                entry.state = State::Closing(now);
                self.due(closed_by(now, self.pressure));
            }
            Outcome::Abort => self.release(id),
        }
    }

    /// Makes room while few connections are free: shortens the time limits and closes connections
    /// that wait for another request, the longest idle first, until one sixteenth of all slots is
    /// free or being freed.
    fn make_room(&mut self, now: u64) {
        let slots = self.streams.layout().connections();
        let open = usize::try_from(self.server.counters.connections_open).unwrap_or(usize::MAX);
        let pressure = Pressure::new(open, slots);
        if pressure != self.pressure {
            self.pressure = pressure;
            self.server.limits = self.limits.under(pressure);
            // The deadline of every connection has changed.
            self.deadline = Some(now);
        }
        let wanted = (slots / 16)
            .max(1)
            .saturating_sub(slots.saturating_sub(open));
        if wanted == 0 {
            return;
        }
        let closing = self
            .entries
            .iter()
            .flatten()
            .filter(|entry| entry.is_closing());
        for _ in closing.count()..wanted {
            let kept = self
                .entries
                .iter()
                .flatten()
                .filter_map(|entry| match &entry.state {
                    State::Live(connection) if !entry.is_ready => {
                        Some((connection.kept_since()?, entry.id))
                    }
                    _ => None,
                });
            let Some((_, id)) = kept.min_by_key(|(since, _)| *since) else {
                return;
            };
            if !self.give_up(id, now) {
                return;
            }
        }
    }

    /// Closes a connection that waits for another request; returns whether it did.
    fn give_up(&mut self, id: ConnectionId, now: u64) -> bool {
        let entry = self.entries.get_mut(id.slot()).and_then(Option::as_mut);
        let Some(State::Live(connection)) = entry.map(|entry| &mut entry.state) else {
            return false;
        };
        let mut lane = Lane {
            streams: &mut self.streams,
            id,
        };
        connection.give_up(&mut self.server, &mut lane, now / MILLISECOND);
        let is_closing = connection.is_closing();
        let deadline = connection
            .deadline(&self.server)
            .saturating_mul(MILLISECOND);
        self.due(deadline);
        is_closing
    }

    fn due(&mut self, deadline: u64) {
        self.deadline = Some(self.deadline.unwrap_or(u64::MAX).min(deadline));
    }

    /// Deadlines mostly move later, so they are looked at only when the earliest that was ever told is
    /// over, which is at most once a head or idle time for a busy connection.
    fn find_expired(&mut self, now: u64) {
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return;
        }
        self.deadline = None;
        for slot in 0..self.entries.len() {
            let Some(entry) = &self.entries[slot] else {
                continue;
            };
            let id = entry.id;
            let (deadline, is_live) = match &entry.state {
                State::Live(connection) => (
                    connection
                        .deadline(&self.server)
                        .saturating_mul(MILLISECOND),
                    true,
                ),
                State::Closing(since) => (closed_by(*since, self.pressure), false),
            };
            match (deadline <= now, is_live) {
                (false, _) => self.due(deadline),
                (true, true) => self.wake(id),
                (true, false) => self.release(id),
            }
        }
    }
}

/// Returns the time at which a connection that both sides finished at `since` is released at the
/// latest.
fn closed_by(since: u64, pressure: Pressure) -> u64 {
    since.saturating_add(pressure.shorten(CLOSING, LEAST_CLOSING))
}

/// One connection of the port.
struct Lane<'a> {
    streams: &'a mut Consumer,
    id: ConnectionId,
}

impl Stream for Lane<'_> {
    fn read(&mut self, to: &mut [u8]) -> usize {
        self.streams.read(self.id, to)
    }

    fn received(&mut self) -> &[u8] {
        self.streams.peek(self.id)
    }

    fn consume(&mut self, length: usize) {
        self.streams.consume(self.id, length);
    }

    fn free(&mut self) -> &mut [u8] {
        if self.streams.writable(self.id) == 0 {
            // Waking up for less than half of the ring would cost more than it moves.
            let half = self.streams.layout().buffer() / 2;
            self.streams.wait_for_room(self.id, half);
        }
        self.streams.free_slice_mut(self.id)
    }

    fn commit(&mut self, length: usize) {
        self.streams.commit(self.id, length);
    }

    fn has_ended(&mut self) -> bool {
        self.streams.at_end(self.id)
    }

    fn finish(&mut self) {
        self.streams.close(self.id);
    }
}
