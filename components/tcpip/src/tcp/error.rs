//! Reports of the IP layer: ICMP errors (RFC 5927, RFC 1191, RFC 8201), neighbours that were found, the link.

use smoltcp::time::Instant;
use smoltcp::wire::IpAddress;

use super::State;
use super::congestion::Controller;
use super::tcb::{End, Tcb};
use super::timers::Timer;
use crate::segment::{SegmentError, SegmentErrorKind};

/// A path is never taken for narrower, in bytes of IP packet: RFC 8200, section 5, and what IPv4 paths in use carry. A
/// forged error cannot make segments smaller.
const NARROWEST_IPV4: u16 = 576;
const NARROWEST_IPV6: u16 = 1280;

impl Tcb {
    /// Takes an ICMP error that quotes a segment of this connection. Returns the MTU of the path if it is a new, lower one:
    /// then the host is to remember it. Errors about what is not in flight are forged or late, and ignored (RFC 5927,
    /// section 4); one that is called hard ends a connection only while it is being opened (section 5.2).
    pub fn take_error(&mut self, error: &SegmentError) -> Option<u16> {
        let in_flight = error
            .sequence
            .is_within(self.send.una, self.send.max.since(self.send.una));
        if !in_flight || self.state == State::Closed {
            return None;
        }
        match error.kind {
            SegmentErrorKind::Soft => None,
            SegmentErrorKind::Hard => {
                if self.state == State::SynSent {
                    self.fail(End::Reset);
                }
                None
            }
            SegmentErrorKind::TooBig(mtu) => self.narrow(mtu),
        }
    }

    /// Sends what is under way again, in shorter segments: it was too long for the path. The network is not congested.
    fn narrow(&mut self, mtu: u16) -> Option<u16> {
        let narrowest = match self.remote.addr {
            IpAddress::Ipv4(_) => NARROWEST_IPV4,
            IpAddress::Ipv6(_) => NARROWEST_IPV6,
        };
        let mtu = mtu.max(narrowest);
        let before = self.send.path_mss;
        self.set_path_mtu(mtu);
        if self.send.path_mss >= before {
            self.send.path_mss = before;
            return None;
        }
        self.go_back();
        Some(mtu)
    }

    /// Ends the wait for the resolution of the next hop.
    pub fn resolved(&mut self) {
        self.timers.resolution = None;
    }

    /// Whether a segment waits for a neighbour.
    pub fn is_resolving(&self) -> bool {
        self.timers.resolution.is_some()
    }

    /// Resumes after the link was down and all segments were lost: the data in flight is
    /// retransmitted at once, as after an idle period (RFC 5681, section 4.1), and the back-off of
    /// the time-outs is reset.
    pub fn resume(&mut self, now: Instant) {
        let under_way = self.send.una != self.send.max;
        self.rtt.restore();
        self.timers.resolution = None;
        if matches!(self.timers.timer, Timer::Persist(_)) || self.timers.owes_probe {
            self.timers.timer = Timer::Off;
            self.timers.owes_probe = true;
        } else if under_way {
            self.recovery.bar(self.send.max);
            self.go_back();
        }
        if self.state.is_synchronized() {
            // The peer is not the cause of the silence.
            self.timers.hear(now);
            let mss = self.smss();
            self.congestion.idle(mss);
        }
    }
}
