//! A segment arrives (RFC 9293, section 3.10.7; RFC 5961).

use smoltcp::time::Instant;

use super::acknowledge::Outdated;
use super::challenge::Limits;
use super::header::Flags;
use super::tcb::{End, Tcb};
use super::timers::ACK_DELAY;
use super::{SequenceNumber, State};
use crate::segment::Segment;

/// Segments with data for which one ACK is sent (RFC 5681, section 4.2: at least for every second one of full size).
const SEGMENTS_PER_ACK: u8 = 2;

/// The stack's part of the reaction to a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reaction {
    /// Nothing but let the connection transmit.
    None,
    /// Answer it with a [`reset`](super::reset); the connection stays as it is.
    Reset,
}

impl Tcb {
    /// Takes a segment between this connection's endpoints. [`Tcb::transmit`] has to follow.
    pub fn receive(
        &mut self,
        segment: &Segment<'_>,
        limits: &mut Limits,
        now: Instant,
    ) -> Reaction {
        match self.state {
            State::Closed => Reaction::None,
            State::SynSent => self.receive_in_syn_sent(segment, now),
            _ if segment.header.flags.has(Flags::RST) => {
                self.receive_reset(segment.header.sequence, limits, now);
                Reaction::None
            }
            _ => self.receive_other(segment, limits, now),
        }
    }

    /// Takes a segment in SYN-SENT (RFC 9293, section 3.10.7.3).
    fn receive_in_syn_sent(&mut self, segment: &Segment<'_>, now: Instant) -> Reaction {
        let header = &segment.header;
        let acknowledges = header.flags.has(Flags::ACK);
        let acceptable = header.acknowledgement == self.send.first + 1
            && header.acknowledgement == self.send.max;
        if header.flags.has(Flags::RST) {
            if acknowledges && acceptable {
                self.state = State::Closed;
                self.end = Some(End::Reset);
            }
            return Reaction::None;
        }
        if acknowledges && !acceptable {
            return Reaction::Reset;
        }
        if !header.flags.has(Flags::SYN) {
            return Reaction::None;
        }
        self.take_syn(segment, now);
        self.timers.hear(now);
        if acknowledges {
            self.establish(header, header.window.into(), now);
            self.receive.owes_ack = true;
            let first = header.sequence + 1;
            self.take_text(first, segment, now);
        } else {
            // Both sides have begun (section 3.5, figure 8).
            self.state = State::SynReceived;
            self.go_back();
        }
        Reaction::None
    }

    /// Takes a reset. It counts only if its number is the next one expected; any other in the
    /// window is challenged (RFC 5961, section 3.2).
    fn receive_reset(&mut self, sequence: SequenceNumber, limits: &mut Limits, now: Instant) {
        if sequence == self.receive.nxt {
            let orderly = self.state == State::TimeWait;
            self.state = State::Closed;
            self.end = Some(if orderly { End::Orderly } else { End::Reset });
        } else if sequence.is_within(self.receive.nxt, self.window()) {
            self.challenge(limits, now);
        }
    }

    /// Takes a segment without RST in a state with a window (RFC 9293, section 3.10.7.4).
    fn receive_other(
        &mut self,
        segment: &Segment<'_>,
        limits: &mut Limits,
        now: Instant,
    ) -> Reaction {
        let header = &segment.header;
        let Some(first) = self.admit(segment, limits, now) else {
            return Reaction::None;
        };
        self.timers.hear(now);
        self.take_timestamp(header, now);
        if !header.flags.has(Flags::ACK) {
            return Reaction::None;
        }
        if self.state == State::SynReceived {
            let ack = header.acknowledgement;
            if !ack.is_after(self.send.una) || ack.is_after(self.send.max) {
                return Reaction::Reset;
            }
            let shift = match header.flags.has(Flags::SYN) {
                true => 0,
                false => self.send.shift,
            };
            self.establish(header, u32::from(header.window) << shift, now);
        } else if !self.take_acknowledgement(segment, limits, now) {
            return Reaction::None;
        }
        self.take_text(first, segment, now);
        Reaction::None
    }

    /// Returns the number of a segment's first byte if SYN, timestamp and window let it pass; else answers it.
    fn admit(
        &mut self,
        segment: &Segment<'_>,
        limits: &mut Limits,
        now: Instant,
    ) -> Option<SequenceNumber> {
        let header = &segment.header;
        let mut first = header.sequence;
        if header.flags.has(Flags::SYN) {
            let repeated = self.state == State::SynReceived && first == self.receive.first;
            if repeated && !header.flags.has(Flags::ACK) {
                self.repeat_syn(limits, now);
                return None;
            }
            if !repeated {
                // RFC 5961, section 4.2.
                self.challenge(limits, now);
                return None;
            }
            // Both sides have begun, and this acknowledges the own SYN.
            first += 1;
        } else if !self.is_in_time(segment, limits, now) {
            return None;
        }
        if !self.is_acceptable(first, segment) {
            self.refuse(segment, limits, now);
            return None;
        }
        Some(first)
    }

    /// Whether the timestamp lets a segment pass (RFC 7323, section 5.3, R1).
    fn is_in_time(&mut self, segment: &Segment<'_>, limits: &mut Limits, now: Instant) -> bool {
        let outdated = self.is_outdated(&segment.header.options, now);
        if outdated == Some(Outdated::Old) {
            self.refuse(segment, limits, now);
        }
        outdated.is_none()
    }

    /// Whether a part of a segment is in the window (RFC 9293, section 3.4.1, table 6). While the window is closed, one at
    /// its edge passes for the sake of its ACK; its text is not taken.
    fn is_acceptable(&self, first: SequenceNumber, segment: &Segment<'_>) -> bool {
        let (nxt, window) = (self.receive.nxt, self.window());
        let length = segment.text_length();
        if window == 0 || length == 0 {
            first == nxt || first.is_within(nxt, window)
        } else {
            (first + length).is_after(nxt) && first.is_before(nxt + window)
        }
    }

    /// Answers a segment outside of the window with an ACK: a peer that repeats data, a FIN or a probe has to know where
    /// this side is. One that carries nothing gets its answers in limited number, or two confused sides would answer each
    /// other without end.
    fn refuse(&mut self, segment: &Segment<'_>, limits: &mut Limits, now: Instant) {
        let repeats = segment.header.sequence.is_before(self.receive.nxt);
        let probe = segment.header.sequence + 1 == self.receive.nxt;
        if probe && segment.header.acknowledgement == self.send.max {
            // The peer's own keep-alive shows that it is reachable.
            self.timers.hear(now);
        }
        if segment.text_length() == 0 {
            return self.challenge(limits, now);
        }
        self.receive.owes_ack = true;
        if self.state == State::TimeWait && segment.header.flags.has(Flags::FIN) && repeats {
            self.wait_for_stragglers(now);
        }
    }

    /// Owes a challenge ACK, if the limits allow.
    pub(super) fn challenge(&mut self, limits: &mut Limits, now: Instant) {
        if self.challenges.take(limits, now) {
            self.receive.owes_ack = true;
        }
    }

    /// Immediately retransmits a SYN|ACK that was lost, in limited number.
    fn repeat_syn(&mut self, limits: &mut Limits, now: Instant) {
        if self.challenges.take(limits, now) {
            self.go_back();
        }
    }

    /// Returns RCV.WND: the room in the ring, at least what was offered.
    fn window(&self) -> u32 {
        self.receive.limit().since(self.receive.nxt)
    }

    /// Makes the seventh and the eighth check: text and FIN. `first`: the number of the first byte.
    fn take_text(&mut self, first: SequenceNumber, segment: &Segment<'_>, now: Instant) {
        let text = segment.text_length();
        if !self.state.receives_data() {
            // Repeated, or sent after the peer's own FIN.
            self.receive.owes_ack |= text > 0;
            return;
        }
        let (start, payload, fin) = self.trim(first, segment);
        if let Some(fin) = fin {
            self.receive.fin = Some(fin);
        }
        // The peer sends again what is cut off: the ACK says from where on.
        let missing = segment.header.flags.has(Flags::FIN) && fin.is_none();
        self.receive.owes_ack |= missing || payload.len() < segment.payload.len();
        if payload.is_empty() {
            // Without anything new the peer repeats itself, or the window is closed.
            self.receive.owes_ack |= text > 0;
        } else if start == self.receive.nxt {
            self.take_next(payload, now);
        } else {
            self.receive.owes_ack = true;
            if self
                .receive
                .assembler
                .insert(start, start + payload.len() as u32)
            {
                self.receive.ring.write(start, payload);
            }
        }
        if self.receive.fin == Some(self.receive.nxt) {
            self.take_fin(now);
        }
    }

    /// Cuts off what has arrived before and what lies beyond the window, the FIN with it.
    fn trim<'a>(
        &self,
        first: SequenceNumber,
        segment: &Segment<'a>,
    ) -> (SequenceNumber, &'a [u8], Option<SequenceNumber>) {
        let mut payload = segment.payload;
        let mut start = first;
        let end = first + payload.len() as u32;
        let limit = match self.receive.fin {
            Some(fin) => fin,
            None => self.receive.limit(),
        };
        if start.is_before(self.receive.nxt) {
            let known = self.receive.nxt.since(start) as usize;
            payload = &payload[known.min(payload.len())..];
            start = self.receive.nxt;
        }
        let room = match start.is_before(limit) {
            true => limit.since(start) as usize,
            false => 0,
        };
        payload = &payload[..room.min(payload.len())];
        let fits = !end.is_before(self.receive.nxt) && end.is_before(self.receive.limit());
        let fin = segment.header.flags.has(Flags::FIN) && self.receive.fin.is_none() && fits;
        (start, payload, fin.then_some(end))
    }

    /// Takes the bytes that are expected next.
    fn take_next(&mut self, payload: &[u8], now: Instant) {
        let receive = &mut self.receive;
        let had_gap = !receive.assembler.is_empty();
        receive.ring.write(receive.nxt, payload);
        receive.nxt += payload.len() as u32;
        if had_gap {
            receive.nxt = receive.assembler.advance(receive.nxt);
        }
        if let Some(fin) = receive.fin {
            receive.nxt = receive.nxt.earliest(fin);
        }
        receive.unacknowledged = receive.unacknowledged.saturating_add(1);
        // RFC 5681, section 4.2: a segment that fills a gap is acknowledged at once.
        if had_gap || receive.unacknowledged >= SEGMENTS_PER_ACK {
            receive.owes_ack = true;
        } else {
            self.timers.ack.get_or_insert(now + ACK_DELAY);
        }
    }

    fn take_fin(&mut self, now: Instant) {
        self.receive.nxt += 1;
        self.receive.owes_ack = true;
        self.state = self.state.closed_there();
        if self.state == State::TimeWait {
            self.wait_for_stragglers(now);
        }
    }
}
