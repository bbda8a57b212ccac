//! One connection: a state machine between a [`Stream`] and the [`Server`].

use alloc::boxed::Box;

use channel::streams::PeerIdentity;

use crate::body::{BodyError, BodyReader};
use crate::framing::Refusal;
use crate::head::{HeadBuffer, Scan};
use crate::limits::{Limits, STEP, TURN};
use crate::outgoing::Outgoing;
use crate::pace::Pace;
use crate::phase::{Phase, Then};
use crate::request::{Method, with_request};
use crate::response::{Response, Status};
use crate::server::{Reply, Server};
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
    deadline: u64,
    pace: Pace,
    /// Who the client is, if the transport has verified it.
    peer: Option<Box<PeerIdentity>>,
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
    pub fn new<S>(server: &Server<'_, S>, now: u64) -> Self {
        Self {
            phase: Phase::Head,
            head: HeadBuffer::default(),
            deadline: now.saturating_add(server.limits.idle_time),
            pace: Pace::default(),
            peer: None,
        }
    }

    /// The same with a client that the transport has verified.
    #[must_use]
    pub fn with_peer(self, peer: Option<PeerIdentity>) -> Self {
        Self {
            peer: peer.map(Box::new),
            ..self
        }
    }

    /// When [`Connection::work`] must be called at the latest. It only moves when `work` is called.
    pub fn deadline(&self) -> u64 {
        self.deadline
    }

    /// Does what can be done, up to a bounded amount. After [`Outcome::Close`] or [`Outcome::Abort`] the
    /// connection is to be dropped.
    pub fn work<S>(
        &mut self,
        server: &mut Server<'_, S>,
        stream: &mut impl Stream,
        now: u64,
    ) -> Outcome {
        if now >= self.deadline {
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
            return self.close_down(&server.limits, stream, now);
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
        if was_empty {
            self.deadline = now.saturating_add(server.limits.head_time);
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
        let head = self.head.first(length);
        let parsed = with_request(head, &limits, |request, framing| {
            let reply = server.answer(request, framing, now, self.peer.as_deref());
            (reply, framing, request.method != Method::Head)
        });
        self.head.remove(length);
        match parsed {
            Err(Refusal(status)) => self.refuse(server, status, now),
            Ok((Reply::Now(response), framing, with_content)) => {
                let then = Then::after(&limits, framing);
                self.respond(server, response, then, with_content, now)
            }
            Ok((Reply::After(upload, largest), framing, _)) => {
                let awaited = framing.expects_continue && self.head.is_empty();
                self.phase = Phase::Upload {
                    upload,
                    body: BodyReader::new(framing.body, largest),
                    interim: if awaited { CONTINUE } else { &[] },
                    keep: framing.keep,
                };
                self.start_pace(&limits, now);
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
        self.moved(&server.limits, taken, now);
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
            Phase::Upload { upload, keep, .. } => {
                self.respond(server, upload.finish(), Then::next(keep), true, now)
            }
            other => {
                self.phase = other;
                Step::Blocked
            }
        }
    }

    /// Answers a request after which the connection cannot be kept.
    fn refuse<S>(&mut self, server: &mut Server<'_, S>, status: Status, now: u64) -> Step {
        self.respond(server, Response::error(status), Then::Close, true, now)
    }

    fn respond<S>(
        &mut self,
        server: &mut Server<'_, S>,
        mut response: Response,
        then: Then,
        with_content: bool,
        now: u64,
    ) -> Step {
        response.shrink();
        let mut share = server.memory.take(response.memory());
        if share.is_none() {
            response = Response::empty(Status::SERVICE_UNAVAILABLE).with("Retry-After", "1");
            share = server.memory.take(0);
        }
        let class = usize::from(response.status().code() / 100);
        if let Some(count) = class
            .checked_sub(2)
            .and_then(|at| server.counters.responses.get_mut(at))
        {
            *count += 1;
        }
        let keep = then.keep();
        self.phase = Phase::Respond {
            outgoing: Outgoing::new(response, server.date(now), keep, with_content),
            then,
            _memory: share,
        };
        self.start_pace(&server.limits, now);
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
        let (written, content) = outgoing.write(server.site(), free);
        stream.commit(written);
        server.counters.bytes_sent += written as u64;
        server.counters.content_sent += content as u64;
        if outgoing.is_sent() {
            self.after_response(server, stream, now);
        } else {
            self.moved(&server.limits, written, now);
        }
        Step::Moved(written)
    }

    fn after_response<S>(&mut self, server: &Server<'_, S>, stream: &mut impl Stream, now: u64) {
        let phase = core::mem::replace(&mut self.phase, Phase::Linger);
        match phase {
            Phase::Respond {
                then: Then::Next(_),
                ..
            } => self.await_head(&server.limits, now),
            Phase::Respond {
                then: Then::Skip(_, body),
                ..
            } => {
                self.phase = Phase::Skip(body);
                self.start_pace(&server.limits, now);
            }
            _ => {
                self.close_down(&server.limits, stream, now);
            }
        }
    }

    /// Says that nothing more will be sent, and listens for a while.
    fn close_down(&mut self, limits: &Limits, stream: &mut impl Stream, now: u64) -> Step {
        stream.finish();
        self.head = HeadBuffer::default();
        self.phase = Phase::Linger;
        self.deadline = now.saturating_add(limits.linger_time);
        Step::Moved(0)
    }

    fn await_head(&mut self, limits: &Limits, now: u64) {
        self.phase = Phase::Head;
        let time = match self.head.is_empty() {
            true => limits.idle_time,
            false => limits.head_time,
        };
        self.deadline = now.saturating_add(time);
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
            return self.close_down(&server.limits, stream, now);
        };
        if body.has_ended() {
            self.await_head(&server.limits, now);
            return Step::Moved(taken);
        }
        self.moved(&server.limits, taken, now);
        match taken {
            0 if stream.has_ended() => self.close_down(&server.limits, stream, now),
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
            Phase::Head if self.head.is_empty() => {
                self.close_down(&server.limits, stream, now);
            }
            Phase::Head | Phase::Upload { .. } => {
                self.refuse(server, Status::REQUEST_TIMEOUT, now);
            }
            Phase::Respond { .. } | Phase::Skip(_) => self.phase = Phase::Over(Outcome::Abort),
        }
        server.counters.timeouts += 1;
    }

    fn start_pace(&mut self, limits: &Limits, now: u64) {
        self.pace = Pace::start(now);
        self.deadline = now.saturating_add(limits.stall_time);
    }

    fn moved(&mut self, limits: &Limits, bytes: usize, now: u64) {
        if bytes > 0 {
            self.pace.moved(bytes);
            self.deadline = self.pace.deadline(limits, now);
        }
    }
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
