//! Received frames: which connection they belong to, and what becomes of those that belong to none.

use core::hash::Hasher;

use siphasher::sip::SipHasher24;
use smoltcp::time::Instant;
use smoltcp::wire::IpEndpoint;

use super::{Place, Stack};
use crate::connection::Counted;
use crate::host::{Drop, Received};
use crate::segment::{Outgoing, Segment, SegmentError, Sent};
use crate::sequence::{initial_sequence_number, write_endpoint};
use crate::tcp::{self, Flags, Parameters, Reaction, SequenceNumber};

/// Frames taken in before connections get their turns: as many as one publication should cover.
const FRAMES_A_ROUND: usize = 64;

impl Stack {
    pub(super) fn take_frames(&mut self, now: Instant) {
        // The segments borrow the frame, and the stack is needed to take them.
        let mut frame = core::mem::take(&mut self.frame);
        for _ in 0..FRAMES_A_ROUND {
            if self.driver_lost {
                break;
            }
            match self.wire.take(&mut frame) {
                Ok(None) => break,
                Ok(Some(length)) => self.take_frame(&frame[..length], now),
                Err(_) => self.lose_driver(),
            }
        }
        self.frame = frame;
    }

    fn take_frame(&mut self, frame: &[u8], now: Instant) {
        self.counters.frames_received += 1;
        self.counters.bytes_received += frame.len() as u64;
        match self.host.receive(frame, &mut self.wire, now) {
            Received::Segment(segment) => self.take_segment(&segment, now),
            Received::SegmentError(error) => self.take_error(&error, now),
            Received::Handled => {}
            Received::Dropped(Drop::Malformed) => self.counters.dropped_malformed += 1,
            Received::Dropped(Drop::Fragment) => self.counters.dropped_fragment += 1,
            Received::Dropped(Drop::Martian | Drop::SourceRoute) => {
                self.counters.dropped_martian += 1;
            }
            Received::Dropped(Drop::NotOurs) => self.counters.dropped_other += 1,
        }
    }

    fn take_segment(&mut self, segment: &Segment<'_>, now: Instant) {
        self.counters.copied_in += segment.payload.len() as u64;
        let endpoints = (segment.local, segment.remote);
        let opens = opens(segment);
        match self.table.get(&endpoints).copied() {
            // RFC 9293, section 3.6.1: a new connection between the same endpoints may end TIME-WAIT.
            Some(place) if opens && self.yields(place, segment) => {
                let last = self.with(place, now, |connection, _| {
                    connection.silence();
                    connection.tcb().last_number()
                });
                self.open(segment, last, now);
            }
            Some(place) => {
                let reaction =
                    self.with(place, now, |connection, cx| connection.receive(segment, cx));
                if reaction == Some(Reaction::Reset) {
                    self.take_unacceptable(place, segment, now);
                }
                self.schedule(place);
            }
            None if opens => self.open(segment, None, now),
            None => self.take_stray(segment, now),
        }
    }

    /// Takes a segment that acknowledges another SYN|ACK than the handshake's. It may acknowledge a
    /// SYN cookie, if slots were short when the peer sent its first SYN and not when it repeated
    /// it. Then the handshake with the cookie counts.
    fn take_unacceptable(&mut self, place: Place, segment: &Segment<'_>, now: Instant) {
        let half_open = self
            .connection(place)
            .is_some_and(|connection| connection.count() == Counted::HalfOpen);
        if half_open && self.cookies.check(segment, now).is_some() {
            self.with(place, now, |connection, _| connection.discard());
            self.take_stray(segment, now);
        } else {
            self.refuse(segment, now);
        }
    }

    fn take_error(&mut self, error: &SegmentError, now: Instant) {
        if let Some(&place) = self.table.get(&(error.local, error.remote)) {
            self.with(place, now, |connection, cx| {
                connection.take_error(error, cx);
            });
            self.schedule(place);
        }
    }

    /// Takes a peer's SYN. `last`: the last number of the previous connection between the same
    /// endpoints, if it was in TIME-WAIT.
    fn open(&mut self, syn: &Segment<'_>, last: Option<SequenceNumber>, now: Instant) {
        let Some(&client) = self.listeners.get(&syn.local.port) else {
            return self.refuse(syn, now);
        };
        self.counters.handshakes += 1;
        let mut parameters = self.parameters(syn.local, syn.remote, now);
        if let Some(last) = last {
            parameters.number = parameters.number.latest(last + 1);
        }
        let held = self.clients[client].may_hold_handshake();
        let Some(slot) = held.then(|| self.claim(client)).flatten() else {
            return self.answer_with_cookie(syn, client, &parameters, now);
        };
        let place = Place { client, slot };
        self.table.insert((syn.local, syn.remote), place);
        self.with(place, now, |connection, _| {
            connection.accept(syn, &parameters, now);
        });
        self.schedule(place);
    }

    /// Answers a SYN with a cookie because slots are short: the peer's answer returns the state
    /// that a slot would hold.
    fn answer_with_cookie(
        &mut self,
        syn: &Segment<'_>,
        client: usize,
        parameters: &Parameters,
        now: Instant,
    ) {
        let capacity = self.clients[client].provider.layout().buffer();
        let answer = tcp::syn_cookie(syn, parameters, capacity, &mut self.cookies, now);
        self.counters.syn_cookies += u64::from(self.reply(&answer, now));
    }

    /// Takes a segment of no connection: the end of a handshake with a cookie, or a segment to
    /// refuse.
    fn take_stray(&mut self, segment: &Segment<'_>, now: Instant) {
        let flags = segment.header.flags;
        let answers = flags.has(Flags::ACK) && !flags.has(Flags::SYN) && !flags.has(Flags::RST);
        let client = self.listeners.get(&segment.local.port).copied();
        let (Some(client), Some(offer)) = (
            client,
            answers.then(|| self.cookies.check(segment, now)).flatten(),
        ) else {
            return self.refuse(segment, now);
        };
        let Some(slot) = self.claim(client) else {
            // The peer repeats what it sent; perhaps a slot is free by then.
            self.counters.refused_full += 1;
            return;
        };
        let place = Place { client, slot };
        let parameters = self.parameters(segment.local, segment.remote, now);
        self.table.insert((segment.local, segment.remote), place);
        self.with(place, now, |connection, cx| {
            connection.accept_cookie(segment, &offer, &parameters, cx);
        });
        self.schedule(place);
    }

    /// Answers a segment with a reset, in limited number.
    fn refuse(&mut self, segment: &Segment<'_>, now: Instant) {
        if let Some(reset) = tcp::reset(segment)
            && self.limits.reset(now)
        {
            self.counters.resets_sent += u64::from(self.reply(&reset, now));
        }
    }

    fn reply(&mut self, reply: &Outgoing<'_>, now: Instant) -> bool {
        let sent = self.host.send_keeping(&mut self.wire, reply, now);
        matches!(sent, Sent::Done | Sent::Resolving)
    }

    /// Returns the parameters of a new connection.
    pub(super) fn parameters(
        &self,
        local: IpEndpoint,
        remote: IpEndpoint,
        now: Instant,
    ) -> Parameters {
        let number = initial_sequence_number(&self.keys.sequence, local, remote, now);
        let mut hasher = SipHasher24::new_with_key(&self.timestamp_key);
        write_endpoint(&mut hasher, local);
        write_endpoint(&mut hasher, remote);
        Parameters {
            local,
            remote,
            number: SequenceNumber(number),
            timestamp_offset: hasher.finish() as u32,
            mtu: self.host.path_mtu(remote.addr, now),
        }
    }

    fn yields(&mut self, place: Place, syn: &Segment<'_>) -> bool {
        self.connection(place)
            .is_some_and(|connection| connection.tcb().yields_to(syn))
    }
}

/// Whether a segment asks for a new connection: SYN without ACK and RST.
fn opens(segment: &Segment<'_>) -> bool {
    let flags = segment.header.flags;
    flags.has(Flags::SYN) && !flags.has(Flags::ACK) && !flags.has(Flags::RST)
}
