//! One connection: a state machine between a [`Stream`] and the [`Server`].

use alloc::boxed::Box;
use core::net::IpAddr;

use channel::streams::{Opened, PeerIdentity};

use crate::access_log::{Asked, Note};
use crate::body::{BodyError, BodyReader};
use crate::budget::Share;
use crate::framing::{Framing, Refusal};
use crate::head::{HeadBuffer, Scan};
use crate::limits::{STEP, TURN};
use crate::outgoing::Outgoing;
use crate::patience::{Patience, Wait};
use crate::phase::{Phase, Then};
use crate::request::{Method, with_request};
use crate::response::{Response, Status};
use crate::router::Upload;
use crate::server::{Client, Reply, Server};
use crate::stream::Stream;

/// What a connection needs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing, until bytes arrive, space becomes free or the deadline passes.
    Wait,
    /// Another turn: there is work left, but other connections should get theirs first.
    More,
    /// It is done: [`Stream::finish`] was called, and what the peer still sends is of no interest.
    Close,
    /// It has failed: the transport should reset it.
    Abort,
}

/// One connection's state.
#[derive(Debug)]
pub struct Connection {
    phase: Phase,
    head: HeadBuffer,
    patience: Patience,
    /// The client's address.
    address: Option<IpAddr>,
    /// Who the client is, if the transport has verified it.
    identity: Option<Box<PeerIdentity>>,
    /// Whether the transport is encrypted.
    is_secure: bool,
}

/// What one step did.
enum Step {
    /// Bytes were moved or the phase changed.
    Moved(usize),
    Blocked,
}

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

impl Connection {
    /// A connection that was opened at `now`, in milliseconds of any clock that does not go back.
    pub fn new(now: u64) -> Self {
        Self {
            phase: Phase::Head,
            head: HeadBuffer::default(),
            patience: Patience::new(now),
            address: None,
            identity: None,
            is_secure: false,
        }
    }

    /// Returns the connection with the transport's information about the client.
    #[must_use]
    pub fn with_client(self, opened: &Opened) -> Self {
        Self {
            address: Some(opened.peer.ip()),
            identity: opened.identity.map(Box::new),
            is_secure: opened.confidential,
            ..self
        }
    }

    /// Returns the time at which [`Connection::work`] must be called at the latest. It changes when
    /// `work` is called, and with the server's limits.
    pub fn deadline<S>(&self, server: &Server<'_, S>) -> u64 {
        self.patience.deadline(&server.limits)
    }

    /// Returns the time since which the connection waits for another request, after at least one.
    pub(crate) fn kept_since(&self) -> Option<u64> {
        (self.patience.wait() == Wait::Next).then_some(self.patience.since())
    }

    /// Returns whether the connection waits only for the peer to close its side.
    pub(crate) fn is_closing(&self) -> bool {
        self.patience.wait() == Wait::Linger
    }

    /// Closes a connection that waits for another request, to make room for others. A connection
    /// whose request has just arrived continues.
    pub(crate) fn give_up<S>(
        &mut self,
        server: &mut Server<'_, S>,
        stream: &mut impl Stream,
        now: u64,
    ) {
        if self.patience.wait() == Wait::Next && stream.received().is_empty() {
            server.counters.made_room += 1;
            self.close_down(stream, now);
        }
    }

    /// Does what can be done, up to a bounded amount. After [`Outcome::Close`] or [`Outcome::Abort`] the
    /// connection is to be dropped.
    pub fn work<S>(
        &mut self,
        server: &mut Server<'_, S>,
        stream: &mut impl Stream,
        now: u64,
    ) -> Outcome {
        if now >= self.deadline(server) {
            self.expire(server, stream, now);
        }
        let mut left = TURN;
        loop {
            let step = match &self.phase {
                Phase::Head => self.read_head(server, stream, now),
                Phase::Upload { .. } => self.read_upload(server, stream, now),
                Phase::Respond { .. } => self.write_response(server, stream, now),
                Phase::Skip(_) => self.skip_body(server, stream, now),
                Phase::Linger => self.linger(stream),
                Phase::Over(outcome) => return *outcome,
            };
            match step {
                Step::Moved(bytes) => left = left.saturating_sub(bytes.max(STEP)),
                Step::Blocked => return Outcome::Wait,
            }
            if left == 0 {
                return Outcome::More;
            }
        }
    }

    fn read_head<S>(
        &mut self,
        server: &mut Server<'_, S>,
        stream: &mut impl Stream,
        now: u64,
    ) -> Step {
        match self.head.scan(&server.limits) {
            Scan::Complete(length) => return self.request(server, length, now),
            Scan::Refused(status) => return self.refuse(server, status, now),
            Scan::Partial => {}
        }
        if stream.has_ended() {
            return self.close_down(stream, now);
        }
        if stream.received().is_empty() {
            return Step::Blocked;
        }
        let was_empty = self.head.is_empty();
        let Some(free) = self.head.space(&server.limits, &server.memory) else {
            return self.refuse(server, Status::SERVICE_UNAVAILABLE, now);
        };
        let length = stream.read(free);
        self.head.filled(length);
        server.counters.head_bytes += length as u64;
        // Empty lines, which leave the buffer empty, do not extend the deadline.
        if was_empty && self.patience.wait() != Wait::Head {
            self.patience.begin(Wait::Head, now);
        }
        match length {
            0 => Step::Blocked,
            length => Step::Moved(length),
        }
    }

    /// A complete head of this length lies in the buffer.
    fn request<S>(&mut self, server: &mut Server<'_, S>, length: usize, now: u64) -> Step {
        server.counters.requests += 1;
        let limits = server.limits;
        self.head.release_share(length);
        let head = self.head.first(length);
        let client = Client {
            identity: self.identity.as_deref(),
            is_secure: self.is_secure,
        };
        let address = self.address;
        let parsed = with_request(head, &limits, |request, framing| {
            let with_content = request.method != Method::Head;
            match server.answer(request, framing, now, client) {
                Reply::Now(response) => {
                    let (response, share) = server.settle(response);
                    let size = response.content_length(with_content);
                    let asked = Some(Asked::new(request));
                    server.log(
                        (address, client.identity),
                        asked,
                        response.status(),
                        size,
                        now,
                    );
                    Answer::Now(response, share, Then::after(&limits, framing), with_content)
                }
                Reply::After(upload, largest) => {
                    let log = server.access_log.as_ref();
                    let note = log.and_then(|_| Note::new(request, &server.memory));
                    Answer::After(
                        upload,
                        BodyReader::new(framing.body, largest),
                        framing,
                        note,
                    )
                }
            }
        });
        self.head.remove(length);
        match parsed {
            Err(Refusal(status)) => self.refuse(server, status, now),
            Ok(Answer::Now(response, share, then, with_content)) => {
                self.begin(server, (response, share), then, with_content, now)
            }
            Ok(Answer::After(upload, body, framing, note)) => {
                let awaited = framing.expects_continue && self.head.is_empty();
                self.phase = Phase::Upload {
                    upload,
                    body,
                    interim: if awaited { CONTINUE } else { &[] },
                    keep: framing.keep,
                    note,
                };
                self.patience.begin(Wait::Progress, now);
                Step::Moved(length)
            }
        }
    }

    fn read_upload<S>(
        &mut self,
        server: &mut Server<'_, S>,
        stream: &mut impl Stream,
        now: u64,
    ) -> Step {
        let Phase::Upload {
            upload,
            body,
            interim,
            ..
        } = &mut self.phase
        else {
            return Step::Blocked;
        };
        if !interim.is_empty() {
            let written = write_some(stream, interim);
            *interim = &interim[written..];
            server.counters.bytes_sent += written as u64;
            if !interim.is_empty() {
                return Step::Blocked;
            }
        }
        let mut sink = |data: &[u8]| upload.data(data);
        let taken = match take_body(body, &mut self.head, stream, server, &mut sink) {
            Ok(taken) => taken,
            Err(BodyError::Malformed) => return self.refuse(server, Status::BAD_REQUEST, now),
            Err(BodyError::TooLarge) => return self.refuse(server, Status::CONTENT_TOO_LARGE, now),
        };
        if body.has_ended() {
            return self.finish_upload(server, now);
        }
        self.patience.moved(taken, now);
        match taken {
            0 if stream.has_ended() => {
                self.phase = Phase::Over(Outcome::Abort);
                Step::Moved(0)
            }
            0 => Step::Blocked,
            taken => Step::Moved(taken),
        }
    }

    fn finish_upload<S>(&mut self, server: &mut Server<'_, S>, now: u64) -> Step {
        match core::mem::replace(&mut self.phase, Phase::Linger) {
            Phase::Upload {
                upload, keep, note, ..
            } => self.respond(
                server,
                upload.finish(),
                Then::next(keep),
                note.as_ref(),
                now,
            ),
            other => {
                self.phase = other;
                Step::Blocked
            }
        }
    }

    /// Answers a request after which the connection cannot be kept.
    fn refuse<S>(&mut self, server: &mut Server<'_, S>, status: Status, now: u64) -> Step {
        let phase = core::mem::replace(&mut self.phase, Phase::Linger);
        let note = match &phase {
            Phase::Upload { note, .. } => note.as_ref(),
            _ => None,
        };
        self.respond(server, Response::error(status), Then::Close, note, now)
    }

    fn respond<S>(
        &mut self,
        server: &mut Server<'_, S>,
        response: Response,
        then: Then,
        note: Option<&Note>,
        now: u64,
    ) -> Step {
        let (response, share) = server.settle(response);
        let client = (self.address, self.identity.as_deref());
        let (status, size) = (response.status(), response.content_length(true));
        server.log(client, note.map(Note::asked), status, size, now);
        self.begin(server, (response, share), then, true, now)
    }

    /// Begins to send a response that [`Server::settle`] returned.
    fn begin<S>(
        &mut self,
        server: &mut Server<'_, S>,
        (response, share): (Response, Option<Share>),
        then: Then,
        with_content: bool,
        now: u64,
    ) -> Step {
        let policy = server.transport_policy.filter(|_| self.is_secure);
        let outgoing = Outgoing::new(response, server.date(now), then.keep(), with_content);
        self.phase = Phase::Respond {
            outgoing: outgoing.with_transport_policy(policy),
            then,
            _memory: share,
        };
        self.patience.begin(Wait::Progress, now);
        Step::Moved(0)
    }

    fn write_response<S>(
        &mut self,
        server: &mut Server<'_, S>,
        stream: &mut impl Stream,
        now: u64,
    ) -> Step {
        let Phase::Respond { outgoing, .. } = &mut self.phase else {
            return Step::Blocked;
        };
        let free = stream.free();
        if free.is_empty() {
            return Step::Blocked;
        }
        let (written, content) = outgoing.write(server.site, free);
        stream.commit(written);
        server.counters.bytes_sent += written as u64;
        server.counters.content_sent += content as u64;
        if outgoing.is_sent() {
            self.after_response(stream, now);
        } else {
            self.patience.moved(written, now);
        }
        Step::Moved(written)
    }

    fn after_response(&mut self, stream: &mut impl Stream, now: u64) {
        let phase = core::mem::replace(&mut self.phase, Phase::Linger);
        match phase {
            Phase::Respond {
                then: Then::Next(_),
                ..
            } => self.await_head(now),
            Phase::Respond {
                then: Then::Skip(_, body),
                ..
            } => {
                self.phase = Phase::Skip(body);
                self.patience.begin(Wait::Progress, now);
            }
            _ => {
                self.close_down(stream, now);
            }
        }
    }

    /// Says that nothing more will be sent, and listens for a while.
    fn close_down(&mut self, stream: &mut impl Stream, now: u64) -> Step {
        stream.finish();
        self.head = HeadBuffer::default();
        self.phase = Phase::Linger;
        self.patience.begin(Wait::Linger, now);
        Step::Moved(0)
    }

    fn await_head(&mut self, now: u64) {
        self.phase = Phase::Head;
        let wait = match self.head.is_empty() {
            true => Wait::Next,
            false => Wait::Head,
        };
        self.patience.begin(wait, now);
    }

    fn skip_body<S>(
        &mut self,
        server: &mut Server<'_, S>,
        stream: &mut impl Stream,
        now: u64,
    ) -> Step {
        let Phase::Skip(body) = &mut self.phase else {
            return Step::Blocked;
        };
        let Ok(taken) = take_body(body, &mut self.head, stream, server, &mut |_| {}) else {
            return self.close_down(stream, now);
        };
        if body.has_ended() {
            self.await_head(now);
            return Step::Moved(taken);
        }
        self.patience.moved(taken, now);
        match taken {
            0 if stream.has_ended() => self.close_down(stream, now),
            0 => Step::Blocked,
            taken => Step::Moved(taken),
        }
    }

    fn linger(&mut self, stream: &mut impl Stream) -> Step {
        let length = stream.received().len();
        stream.consume(length);
        match length {
            0 if stream.has_ended() => {
                self.phase = Phase::Over(Outcome::Close);
                Step::Moved(0)
            }
            0 => Step::Blocked,
            length => Step::Moved(length),
        }
    }

    fn expire<S>(&mut self, server: &mut Server<'_, S>, stream: &mut impl Stream, now: u64) {
        match &self.phase {
            Phase::Over(_) => return,
            Phase::Linger => {
                self.phase = Phase::Over(Outcome::Close);
                return;
            }
            // The request arrived in time; the deadline may have moved because few connections are
            // free.
            Phase::Head if self.patience.wait() != Wait::Head && !stream.received().is_empty() => {
                return self.patience.begin(Wait::Head, now);
            }
            Phase::Head if self.head.is_empty() => {
                self.close_down(stream, now);
            }
            Phase::Head | Phase::Upload { .. } => {
                self.refuse(server, Status::REQUEST_TIMEOUT, now);
            }
            Phase::Respond { .. } | Phase::Skip(_) => self.phase = Phase::Over(Outcome::Abort),
        }
        server.counters.timeouts += 1;
    }
}

/// The next step in answering a request.
enum Answer {
    /// The response, its memory, what follows it, and whether it has content.
    Now(Response, Option<Share>, Then, bool),
    After(Box<dyn Upload>, BodyReader, Framing, Option<Note>),
}

/// Reads some of a body: first what came with the head, then the stream. Returns the bytes taken.
fn take_body<S>(
    body: &mut BodyReader,
    head: &mut HeadBuffer,
    stream: &mut impl Stream,
    server: &mut Server<'_, S>,
    sink: &mut dyn FnMut(&[u8]),
) -> Result<usize, BodyError> {
    let private = !head.is_empty();
    let (taken, content) = match private {
        true => body.read(head.rest(), sink)?,
        false => body.read(stream.received(), sink)?,
    };
    match private {
        true => {
            head.remove(taken);
            server.counters.body_bytes_copied += content as u64;
        }
        false => stream.consume(taken),
    }
    server.counters.body_bytes += content as u64;
    Ok(taken)
}

fn write_some(stream: &mut impl Stream, bytes: &[u8]) -> usize {
    let free = stream.free();
    let length = free.len().min(bytes.len());
    free[..length].copy_from_slice(&bytes[..length]);
    stream.commit(length);
    length
}
