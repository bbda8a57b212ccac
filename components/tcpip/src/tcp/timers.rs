//! Timers: retransmission, window probes, delayed ACKs, keep-alive, TIME-WAIT.

use smoltcp::time::{Duration, Instant};

use super::State;
use super::congestion::Controller;
use super::tcb::{End, Tcb};

/// How long an ACK may wait for data or another segment to go with. RFC 9293, section 3.8.6.3, allows less than 500 ms;
/// 40 ms is short against any sender's time-out and long enough for a service's answer.
pub(super) const ACK_DELAY: Duration = Duration::from_millis(40);
/// A peer is probed when it was silent for this time (RFC 9293, section 3.8.4).
const KEEP_ALIVE: Duration = Duration::from_secs(45);
/// A connection is given up when its peer has been silent for this time although it was probed or
/// data was retransmitted: R2 of RFC 9293, section 3.8.3.
const USER_TIMEOUT: Duration = Duration::from_secs(120);
/// The least time for which the peer is tried, even if no timer ran because the machine was paused.
const SHORTEST_TRIAL: Duration = Duration::from_secs(30);
/// How long repeated FINs are answered: two maximum segment lifetimes of 5 s. RFC 9293, section 3.4.2, sets the lifetime
/// to 2 minutes and calls that an engineering choice; segments live for seconds today, timestamps and growing initial
/// numbers keep connections apart, and a slot is wanted again.
const TIME_WAIT: Duration = Duration::from_secs(10);
/// A segment whose next hop is being resolved is tried again after this time at the latest.
const RESOLUTION: Duration = Duration::from_secs(1);

/// The timer for what is not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    Off,
    /// Something is under way (RFC 6298).
    Retransmission(Instant),
    /// The window is closed and nothing is under way (RFC 9293, section 3.8.6.1).
    Persist(Instant),
}

/// All timers of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timers {
    pub timer: Timer,
    /// When the ACK that waits is sent.
    pub ack: Option<Instant>,
    /// When a segment came from the peer last.
    pub heard: Instant,
    /// When a keep-alive probe was due last since then.
    pub probed: Option<Instant>,
    /// When the peer was first probed, or data sent again, since then.
    pub tried: Option<Instant>,
    /// The end of TIME-WAIT.
    pub time_wait: Option<Instant>,
    /// When what waits for resolution is tried again.
    pub resolution: Option<Instant>,
    /// A window probe is to be sent.
    pub owes_probe: bool,
    /// A keep-alive probe is to be sent.
    pub owes_keep_alive: bool,
}

impl Timers {
    pub fn new(now: Instant) -> Self {
        Self {
            timer: Timer::Off,
            ack: None,
            heard: now,
            probed: None,
            tried: None,
            time_wait: None,
            resolution: None,
            owes_probe: false,
            owes_keep_alive: false,
        }
    }

    /// Notes that the peer was reachable at `now`, and ends the probes.
    pub fn hear(&mut self, now: Instant) {
        self.heard = now;
        self.probed = None;
        self.tried = None;
        self.owes_keep_alive = false;
    }

    /// Returns when the connection is given up.
    fn end_at(&self) -> Option<Instant> {
        let tried = self.tried?;
        Some((self.heard + USER_TIMEOUT).max(tried + SHORTEST_TRIAL))
    }

    fn keep_alive_at(&self) -> Instant {
        self.probed.map_or(self.heard, |at| at.max(self.heard)) + KEEP_ALIVE
    }
}

impl Tcb {
    /// Returns when [`Tcb::expire`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        let timers = &self.timers;
        let running = match timers.timer {
            Timer::Off => None,
            Timer::Retransmission(at) | Timer::Persist(at) => Some(at),
        };
        let watched = [Some(timers.keep_alive_at()), timers.end_at()];
        let own = match self.state {
            State::Closed => [None; 2],
            State::TimeWait => [timers.time_wait, timers.ack],
            _ => [running, timers.ack],
        };
        let watched = match self.state {
            State::Closed | State::TimeWait | State::SynSent | State::SynReceived => [None; 2],
            _ => watched,
        };
        own.into_iter()
            .chain(watched)
            .chain([timers.resolution])
            .flatten()
            .min()
    }

    /// Does what is due. [`Tcb::transmit`] has to follow.
    pub fn expire(&mut self, now: Instant) {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if due(self.timers.resolution) {
            self.timers.resolution = None;
        }
        if due(self.timers.ack) {
            self.timers.ack = None;
            self.receive.owes_ack = true;
        }
        match self.state {
            State::Closed => return,
            State::TimeWait if due(self.timers.time_wait) => {
                self.state = State::Closed;
                self.end = Some(End::Orderly);
                return;
            }
            State::TimeWait => return,
            State::SynSent | State::SynReceived => {}
            _ => self.watch_peer(now),
        }
        match self.timers.timer {
            Timer::Retransmission(at) if at <= now => {
                self.timers.tried.get_or_insert(now);
                self.time_out();
            }
            Timer::Persist(at) if at <= now => self.owe_probe(),
            _ => {}
        }
    }

    /// Starts TIME-WAIT, or starts it again.
    pub(super) fn wait_for_stragglers(&mut self, now: Instant) {
        self.timers.timer = Timer::Off;
        self.timers.time_wait = Some(now + TIME_WAIT);
    }

    /// Waits for the resolution of the next hop.
    pub(super) fn wait_for_resolution(&mut self, now: Instant) {
        self.timers.resolution = Some(now + RESOLUTION);
    }

    /// Runs the retransmission timer from now on if something is under way, else stops it.
    pub(super) fn restart_timer(&mut self, now: Instant) {
        self.timers.timer = match self.timers.timer {
            Timer::Persist(at) => Timer::Persist(at),
            _ if self.send.una == self.send.max => Timer::Off,
            _ => Timer::Retransmission(now + self.rtt.timeout()),
        };
    }

    /// Runs the retransmission timer if it does not run.
    pub(super) fn start_timer(&mut self, now: Instant) {
        if !matches!(self.timers.timer, Timer::Retransmission(_)) {
            self.timers.timer = Timer::Retransmission(now + self.rtt.timeout());
        }
    }

    fn watch_peer(&mut self, now: Instant) {
        if self.timers.end_at().is_some_and(|end| end <= now) {
            return self.fail(End::TimedOut);
        }
        if self.timers.keep_alive_at() <= now {
            self.timers.owes_keep_alive = true;
            self.timers.probed = Some(now);
            self.timers.tried.get_or_insert(now);
        }
    }

    /// Handles a retransmission time-out (RFC 6298, sections 5.4 to 5.6; RFC 5681, section 3.1).
    fn time_out(&mut self) {
        let first = !self.rtt.is_backed_off();
        let flight = self.send.max.since(self.send.una);
        self.rtt.back_off();
        self.go_back();
        if !self.state.is_synchronized() {
            return;
        }
        self.recovery.bar(self.send.max);
        if self.send.window == 0 {
            // The peer has closed its window although data is in flight: it is probed, and no data
            // is considered lost.
            self.timers.owes_probe = true;
        } else {
            let mss = self.smss();
            self.congestion.timed_out(flight, mss, first);
        }
    }

    fn owe_probe(&mut self) {
        self.rtt.back_off();
        self.timers.timer = Timer::Off;
        self.timers.owes_probe = true;
    }

    /// Sends everything again that is not acknowledged.
    pub(super) fn go_back(&mut self) {
        self.send.nxt = self.send.una;
        self.recovery.stop();
        self.timed = None;
        self.timers.timer = Timer::Off;
    }
}
