//! The ACK field, the window and the timestamp of a received segment (RFC 9293, section 3.10.7.4, fifth check).

use smoltcp::time::{Duration, Instant};

use super::challenge::Limits;
use super::congestion::Congestion;
use super::header::{Header, Options};
use super::parameters::{TIMESTAMP_LIFETIME, timestamp_clock};
use super::tcb::{End, Tcb};
use super::timers::Timer;
use super::{SequenceNumber, State};
use crate::segment::Segment;

/// The longest round trip that is measured by a timestamp.
const LONGEST_ROUND_TRIP: u32 = 60_000;

impl Tcb {
    /// Takes the acknowledgement of a segment that is in the window. Returns whether the rest of it counts.
    pub(super) fn take_acknowledgement(
        &mut self,
        segment: &Segment<'_>,
        limits: &mut Limits,
        now: Instant,
    ) -> bool {
        let header = &segment.header;
        let ack = header.acknowledgement;
        // RFC 5961, section 5.2.
        let too_new = ack.is_after(self.send.max);
        let too_old =
            ack.is_before(self.send.una) && self.send.una.since(ack) > self.send.max_window;
        if too_new || too_old {
            self.challenge(limits, now);
            return false;
        }
        let news = self.take_sack(&header.options);
        let window = u32::from(header.window) << self.send.shift;
        if ack.is_after(self.send.una) {
            self.take_new(ack, &header.options, now);
        } else if ack == self.send.una && self.is_duplicate(segment, news, window) {
            self.take_duplicate();
        }
        self.update_window(header, window);
        true
    }

    /// Establishes the connection: both SYNs are acknowledged.
    pub(super) fn establish(&mut self, header: &Header, window: u32, now: Instant) {
        self.measure(header.acknowledgement, &header.options, now);
        self.send.una = header.acknowledgement;
        self.send.nxt = self.send.nxt.latest(self.send.una);
        self.send.window = window;
        self.send.max_window = window.max(self.send.max_window);
        self.send.wl1 = header.sequence;
        self.send.wl2 = header.acknowledgement;
        if self.rtt.is_backed_off() {
            self.rtt.handshake_was_lossy();
            // RFC 6928, section 2.
            self.congestion = Congestion::new(self.smss(), true);
        }
        self.timers.timer = Timer::Off;
        self.state = match self.send.fin {
            true => State::FinWait1,
            false => State::Established,
        };
    }

    /// Whether PAWS takes a segment for an old duplicate, or it lacks its timestamp (RFC 7323, sections 3.2 and 5.3).
    pub(super) fn is_outdated(&self, options: &Options, now: Instant) -> Option<Outdated> {
        let clock = self.clock?;
        let Some(timestamps) = options.timestamps else {
            return Some(Outdated::NoTimestamp);
        };
        let older = (timestamps.value.wrapping_sub(clock.recent) as i32) < 0;
        let valid = now < clock.since + TIMESTAMP_LIFETIME;
        (older && valid).then_some(Outdated::Old)
    }

    /// Takes the peer's clock over, if the segment holds the next number to be acknowledged (RFC 7323, section 4.3).
    pub(super) fn take_timestamp(&mut self, header: &Header, now: Instant) {
        let acknowledged = self.receive.acknowledged;
        if let (Some(clock), Some(timestamps)) = (&mut self.clock, header.options.timestamps)
            && !header.sequence.is_after(acknowledged)
        {
            let newer = (timestamps.value.wrapping_sub(clock.recent) as i32) >= 0;
            if newer || clock.since + TIMESTAMP_LIFETIME <= now {
                clock.recent = timestamps.value;
                clock.since = now;
            }
        }
    }

    fn take_new(&mut self, ack: SequenceNumber, options: &Options, now: Instant) {
        let acked = ack.since(self.send.una);
        self.send.una = ack;
        self.send.nxt = self.send.nxt.latest(ack);
        self.scoreboard.acknowledge(ack);
        self.measure(ack, options, now);
        self.rtt.restore();
        self.take_progress(acked);
        self.restart_timer(now);
        // The FIN's number was sent, or it could not be acknowledged.
        if self.send.fin && ack == self.send.end + 1 {
            self.state = self.state.close_acknowledged();
            match self.state {
                State::TimeWait => self.wait_for_stragglers(now),
                State::Closed => self.end = Some(End::Orderly),
                _ => {}
            }
        }
    }

    /// Measures the round trip: from a segment that was sent once (Karn's algorithm, RFC 6298, section 3), once in a
    /// window, or else from the timestamps (RFC 7323, section 4.1).
    fn measure(&mut self, ack: SequenceNumber, options: &Options, now: Instant) {
        if let Some((number, sent)) = self.timed {
            if !ack.is_before(number) {
                self.timed = None;
                self.rtt.measure(now - sent);
            }
        } else if let (Some(clock), Some(timestamps)) = (self.clock, options.timestamps) {
            let age = timestamp_clock(clock.offset, now).wrapping_sub(timestamps.echo);
            if age <= LONGEST_ROUND_TRIP {
                self.rtt.measure(Duration::from_millis(age.into()));
            }
        }
    }

    fn update_window(&mut self, header: &Header, window: u32) {
        let (seq, ack) = (header.sequence, header.acknowledgement);
        let send = &mut self.send;
        let newer = send.wl1.is_before(seq) || send.wl1 == seq && !ack.is_before(send.wl2);
        if ack.is_before(send.una) || !newer {
            return;
        }
        send.window = window;
        send.max_window = send.max_window.max(window);
        send.wl1 = seq;
        send.wl2 = ack;
        if window > 0 && matches!(self.timers.timer, Timer::Persist(_)) {
            self.timers.timer = Timer::Off;
            self.timers.owes_probe = false;
            self.rtt.restore();
        }
    }
}

/// Why the timestamps option speaks against a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outdated {
    /// It is missing.
    NoTimestamp,
    /// It is older than the last one.
    Old,
}
