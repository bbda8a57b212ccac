//! The choice of the next segment (RFC 9293, section 3.8; RFC 6675, section 4).

use smoltcp::time::Instant;

use super::congestion::Controller;
use super::header::Flags;
use super::tcb::Tcb;
use super::timers::Timer;
use super::{SequenceNumber, State};
use crate::segment::{Outgoing, Sent};

/// How far [`Tcb::transmit`] has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transmitted {
    /// Nothing is to be sent until something happens or the deadline passes.
    Done,
    /// There is more to send.
    More,
    /// There is more to send, and no free buffer.
    NoBuffer,
}

/// A segment to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub sequence: SequenceNumber,
    /// Bytes of payload.
    pub length: u32,
    pub flags: Flags,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An ACK without anything else.
    Ack,
    Reset,
    Syn,
    /// At SND.NXT.
    Next,
    /// Something lost, in fast recovery.
    Again,
    /// Whether the window is still closed.
    WindowProbe,
    /// Whether the peer is still there.
    KeepAlive,
}

impl Plan {
    pub fn end(&self) -> SequenceNumber {
        let control = self.flags.has(Flags::FIN) || self.flags.has(Flags::SYN);
        self.sequence + self.length + u32::from(control)
    }
}

impl Tcb {
    /// Sends what is to be sent, at most `budget` segments.
    pub fn transmit(
        &mut self,
        budget: usize,
        now: Instant,
        mut send: impl FnMut(&Outgoing<'_>) -> Sent,
    ) -> Transmitted {
        for _ in 0..budget {
            if self.timers.resolution.is_some() {
                return Transmitted::Done;
            }
            let Some(plan) = self.plan(now) else {
                return Transmitted::Done;
            };
            let (header, edge) = self.header(&plan, now);
            let sent = send(&Outgoing {
                local: self.local,
                remote: self.remote,
                header,
                payload: self.send.ring.slices(plan.sequence, plan.length),
            });
            match sent {
                // A segment that cannot be sent counts as lost on the way; the time-outs deal with it.
                Sent::Done | Sent::Unreachable => self.sent(&plan, edge, now),
                Sent::NoBuffer => return Transmitted::NoBuffer,
                Sent::Resolving => {
                    self.wait_for_resolution(now);
                    return Transmitted::Done;
                }
            }
        }
        Transmitted::More
    }

    fn plan(&mut self, now: Instant) -> Option<Plan> {
        let first = self.send.first;
        let syn = |flags| Plan {
            sequence: first,
            length: 0,
            flags,
            kind: Kind::Syn,
        };
        match self.state {
            State::Closed if !self.owes_reset => None,
            State::Closed => Some(self.control(Kind::Reset, Flags::RST.with(Flags::ACK))),
            State::SynSent => (self.send.nxt == first).then(|| syn(Flags::SYN)),
            State::SynReceived if self.send.nxt == first => Some(syn(Flags::SYN.with(Flags::ACK))),
            _ => self.plan_data(now).or_else(|| self.plan_ack()),
        }
    }

    fn plan_ack(&self) -> Option<Plan> {
        if self.timers.owes_keep_alive && self.state.is_synchronized() {
            return Some(Plan {
                sequence: self.send.una - 1,
                ..self.control(Kind::KeepAlive, Flags::ACK)
            });
        }
        let owes = self.receive.owes_ack;
        owes.then(|| self.control(Kind::Ack, Flags::ACK))
    }

    /// Plans a segment without text. Its number is the next one that was never sent, or the end of
    /// a window that has shrunk.
    fn control(&self, kind: Kind, flags: Flags) -> Plan {
        let edge = self.send.una + self.send.window;
        Plan {
            sequence: match self.state.is_synchronized() {
                true => self.send.max.earliest(edge),
                false => self.send.max,
            },
            length: 0,
            flags,
            kind,
        }
    }

    fn plan_data(&mut self, now: Instant) -> Option<Plan> {
        if !self.state.sends_data() {
            return None;
        }
        if self.timers.owes_probe {
            return self.plan_probe();
        }
        if self.recovery.owes_first {
            return Some(self.plan_again(self.send.una, self.send.max));
        }
        let mss = self.smss();
        let pipe = self.pipe(mss);
        let room = self.congestion.window().saturating_sub(pipe);
        if room >= mss
            && let Some((start, end)) = self.next_lost(true, mss)
        {
            return Some(self.plan_again(start, end));
        }
        if let Some(plan) = self.plan_next(pipe, now) {
            return Some(plan);
        }
        // Rule 3 of NextSeg: rather than nothing, what may be lost.
        let (start, end) = self.next_lost(false, mss).filter(|_| room >= mss)?;
        Some(self.plan_again(start, end))
    }

    /// Returns how many bytes are under way, as far as this side knows (RFC 6675, section 4: `Pipe`).
    fn pipe(&self, mss: u32) -> u32 {
        let (una, nxt) = (self.send.una, self.send.nxt);
        let Some(fast) = self.recovery.fast.filter(|_| self.sack) else {
            let left = self.scoreboard.bytes_before(nxt) + self.recovery.credit;
            return nxt.since(una).saturating_sub(left);
        };
        let mut pipe = 0;
        for hole in self.scoreboard.holes(una, mss) {
            if !hole.lost {
                pipe += hole.end.since(hole.start);
            }
            if fast.again.is_after(hole.start) {
                pipe += fast.again.earliest(hole.end).since(hole.start);
            }
        }
        let top = self.scoreboard.highest().unwrap_or(una);
        match nxt.is_after(top) {
            true => pipe + nxt.since(top),
            false => pipe,
        }
    }

    /// Returns the first hole that was not sent again (RFC 6675, section 4: rules 1 and 3 of
    /// `NextSeg`).
    fn next_lost(&self, lost: bool, mss: u32) -> Option<(SequenceNumber, SequenceNumber)> {
        let fast = self.recovery.fast.filter(|_| self.sack)?;
        self.scoreboard
            .holes(self.send.una, mss)
            .filter(|hole| hole.lost || !lost)
            .map(|hole| (hole.start.latest(fast.again), hole.end))
            .find(|(start, end)| start.is_before(*end))
    }

    /// Plans a segment from the lost bytes on.
    fn plan_again(&self, start: SequenceNumber, end: SequenceNumber) -> Plan {
        let until = end.earliest(self.send.end).earliest(self.send.max);
        let length = match start.is_before(until) {
            true => until.since(start).min(self.payload_room()),
            false => 0,
        };
        let next = start + length;
        let fin = self.send.fin && next == self.send.end && self.send.max.is_after(next);
        self.text(start, length, fin, Kind::Again)
    }

    /// Plans a window probe: at least one byte, regardless of the window.
    fn plan_probe(&mut self) -> Option<Plan> {
        let send = &self.send;
        let unsent = send.end.since(send.una);
        if unsent == 0 || send.una.is_after(send.end) {
            let fin = send.fin && send.una == send.end;
            self.timers.owes_probe = fin;
            return fin.then(|| self.text(self.send.una, 0, true, Kind::WindowProbe));
        }
        let length = unsent.min(send.window.max(1)).min(self.payload_room());
        Some(self.text(send.una, length, false, Kind::WindowProbe))
    }

    /// Plans the segment at SND.NXT, if the windows and silly window avoidance allow it.
    fn plan_next(&mut self, pipe: u32, now: Instant) -> Option<Plan> {
        let block = self.skip_received();
        let (nxt, end) = (self.send.nxt, self.send.end);
        self.send.limited = false;
        let fin = self.send.fin && !nxt.is_after(end);
        let available = if nxt.is_before(end) {
            end.since(nxt)
        } else {
            0
        };
        if available == 0 && !fin {
            return None;
        }
        let edge = self.send.una + self.send.window;
        let usable = if nxt.is_before(edge) {
            edge.since(nxt)
        } else {
            0
        };
        let room = self.payload_room();
        let length = available.min(usable).min(room).min(block);
        let is_last = length == available;
        let fin = fin && is_last && usable > length;
        if length == 0 && !fin {
            return self.wait_for_window(now);
        }
        let probing = matches!(self.timers.timer, Timer::Persist(_));
        let again = nxt.is_before(self.send.max) && !probing;
        // RFC 9293, section 3.8.6.2.1; what the user has written is pushed.
        let worthwhile = length >= room || is_last || again || length >= self.send.max_window / 2;
        if !worthwhile {
            return self.wait_for_window(now);
        }
        self.begin_after_pause(now);
        if length > 0 && pipe > 0 && pipe + length > self.congestion.window() {
            self.send.limited = true;
            return None;
        }
        // The window may be used up by this very segment.
        self.send.limited = pipe + length + room > self.congestion.window();
        Some(self.text(nxt, length, fin, Kind::Next))
    }

    /// Moves SND.NXT, after it went back, over what the peer has reported. Returns how many bytes follow until the next
    /// such block.
    fn skip_received(&mut self) -> u32 {
        while self.send.nxt.is_before(self.send.max) {
            match self.scoreboard.look(self.send.nxt) {
                Err(end) => self.send.nxt = end.earliest(self.send.max),
                Ok(Some(start)) => return start.since(self.send.nxt),
                Ok(None) => break,
            }
        }
        u32::MAX
    }

    /// Probes the window later if no ACK is expected that could open it.
    fn wait_for_window(&mut self, now: Instant) -> Option<Plan> {
        if self.send.nxt == self.send.una && self.timers.timer == Timer::Off {
            self.timers.timer = Timer::Persist(now + self.rtt.timeout());
        }
        None
    }

    /// Resets the congestion window after an idle period: nothing is known of the network then (RFC
    /// 5681, section 4.1).
    fn begin_after_pause(&mut self, now: Instant) {
        let idle = self.send.una == self.send.max && self.send.last + self.rtt.timeout() < now;
        if idle {
            let mss = self.smss();
            self.congestion.idle(mss);
        }
    }

    fn text(&self, sequence: SequenceNumber, length: u32, fin: bool, kind: Kind) -> Plan {
        let mut flags = Flags::ACK;
        if fin {
            flags = flags.with(Flags::FIN);
        }
        if length > 0 && sequence + length == self.send.end {
            flags = flags.with(Flags::PSH);
        }
        Plan {
            sequence,
            length,
            flags,
            kind,
        }
    }
}
