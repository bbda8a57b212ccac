//! The header of a segment to send: options, window, and what is noted once it is on its way.

use smoltcp::time::Instant;

use super::SequenceNumber;
use super::header::{Flags, Header, Options, SACK_BLOCKS, Timestamps};
use super::parameters::{timestamp_clock, window_shift};
use super::tcb::Tcb;
use super::timers::Timer;
use super::transmit::{Kind, Plan};

impl Tcb {
    /// Owes an ACK if the window can be opened by enough (silly window syndrome: RFC 9293, section 3.8.6.2.2): by a
    /// quarter of the ring, or a closed one by a segment.
    pub(super) fn consider_window_update(&mut self) {
        let receive = &self.receive;
        if !self.state.receives_data() || receive.fin.is_some() {
            return;
        }
        let capacity = receive.ring.capacity();
        let offered = match receive.edge.is_after(receive.nxt) {
            true => receive.edge.since(receive.nxt),
            false => 0,
        };
        let gain = receive.limit().since(receive.nxt).saturating_sub(offered);
        let mss = u32::from(receive.mss);
        let enough = match offered < mss {
            true => mss.min(capacity / 2),
            false => capacity / 4,
        };
        self.receive.owes_ack |= gain >= enough;
    }

    /// Returns the most bytes of payload that go with the options of now.
    pub(super) fn payload_room(&self) -> u32 {
        let blocks = match self.receive.assembler.is_empty() {
            true => 0,
            false => self.sack_options().iter().flatten().count() as u32,
        };
        let sack = if blocks > 0 { 4 + 8 * blocks } else { 0 };
        self.smss().saturating_sub(sack).max(1)
    }

    fn sack_options(&self) -> [Option<(SequenceNumber, SequenceNumber)>; SACK_BLOCKS] {
        if !self.sack {
            return [None; SACK_BLOCKS];
        }
        let room = SACK_BLOCKS - usize::from(self.clock.is_some());
        self.receive.assembler.report(room)
    }

    /// Returns the header of a segment, and the end of the window that it offers.
    pub(super) fn header(&self, plan: &Plan, now: Instant) -> (Header, SequenceNumber) {
        let (window, edge) = self.offer(plan.flags);
        let mut header = Header {
            flags: plan.flags,
            sequence: plan.sequence,
            acknowledgement: self.receive.nxt,
            window,
            options: Options::default(),
        };
        if plan.flags.has(Flags::RST) {
            header.window = 0;
            return (header, edge);
        }
        let own = timestamp_clock(self.timestamp_offset, now);
        let begins = plan.flags == Flags::SYN;
        let echo = match self.clock {
            _ if begins => Some(0),
            clock => clock.map(|clock| clock.recent),
        };
        header.options.timestamps = echo.map(|echo| Timestamps { value: own, echo });
        if plan.flags.has(Flags::SYN) {
            header.options.mss = Some(self.receive.mss);
            header.options.sack_permitted = begins || self.sack;
            header.options.window_shift =
                (begins || self.scales).then(|| window_shift(self.capacity()));
        } else {
            header.options.sack = self.sack_options();
        }
        (header, edge)
    }

    /// Returns the window to offer and its end: it never shrinks, but for the rounding of a shifted one, and grows by a segment
    /// or half of the ring at least (RFC 9293, section 3.8.6.2.2).
    fn offer(&self, flags: Flags) -> (u16, SequenceNumber) {
        let receive = &self.receive;
        let shift = match flags.has(Flags::SYN) {
            true => 0,
            false => receive.shift,
        };
        let limit = receive.limit();
        let known = receive.edge.latest(receive.nxt);
        let gain = limit.since(known);
        let enough = u32::from(receive.mss).min(receive.ring.capacity() / 2);
        let edge = match gain >= enough && !known.is_after(limit) {
            true => limit,
            false => known,
        };
        let window = (edge.since(receive.nxt) >> shift).min(65_535);
        (window as u16, receive.nxt + (window << shift))
    }

    /// Notes that a segment is on its way.
    pub(super) fn sent(&mut self, plan: &Plan, edge: SequenceNumber, now: Instant) {
        if plan.flags.has(Flags::ACK) {
            self.receive.acknowledged = self.receive.nxt;
            self.receive.unacknowledged = 0;
            self.receive.owes_ack = false;
            self.timers.ack = None;
        }
        self.receive.edge = edge.latest(self.receive.edge);
        let end = plan.end();
        match plan.kind {
            Kind::Ack => {}
            Kind::Reset => self.owes_reset = false,
            Kind::KeepAlive => self.timers.owes_keep_alive = false,
            Kind::Syn | Kind::Next => {
                if end.is_after(self.send.max) {
                    self.send.max = end;
                    self.timed.get_or_insert((end, now));
                } else {
                    self.timed = None;
                    self.retransmissions += 1;
                }
                self.send.nxt = end;
                self.send.last = now;
                self.start_timer(now);
            }
            Kind::Again => {
                self.recovery.owes_first = false;
                if let Some(fast) = &mut self.recovery.fast {
                    fast.again = fast.again.latest(end);
                }
                self.timed = None;
                self.retransmissions += 1;
                self.send.last = now;
                self.start_timer(now);
            }
            Kind::WindowProbe => {
                self.timers.owes_probe = false;
                self.send.nxt = self.send.una;
                self.send.max = self.send.max.latest(end);
                self.timed = None;
                self.timers.timer = Timer::Persist(now + self.rtt.timeout());
            }
        }
    }
}
