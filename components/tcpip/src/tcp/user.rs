//! The calls of a connection's user, the stack (RFC 9293, section 3.10), besides those that begin it.

use super::tcb::{End, Tcb};
use super::{SequenceNumber, State};
use crate::segment::Segment;

impl Tcb {
    pub fn state(&self) -> State {
        self.state
    }

    /// Returns why the connection is closed, once it is.
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// Whether the peer was probed or data sent again since it was last reachable.
    pub fn is_trying(&self) -> bool {
        self.timers.tried.is_some()
    }

    /// Whether there is nothing left to send to the peer.
    pub fn is_silent(&self) -> bool {
        self.state == State::Closed && !self.owes_reset
    }

    /// Returns the size of the receive ring in bytes.
    pub fn capacity(&self) -> usize {
        self.receive.ring.capacity() as usize
    }

    /// Returns how many bytes of received data the user has not consumed.
    pub fn unread(&self) -> usize {
        self.received_end().since(self.receive.consumed) as usize
    }

    /// Returns how many bytes have arrived in order since the last call.
    pub fn take_received(&mut self) -> usize {
        let end = self.received_end();
        let new = end.since(self.receive.reported);
        self.receive.reported = end;
        new as usize
    }

    /// Returns how many bytes were acknowledged since the last call: their place in the ring is free.
    pub fn take_acknowledged(&mut self) -> usize {
        let end = self.send.una.earliest(self.send.end);
        if !end.is_after(self.send.reported) {
            return 0;
        }
        let new = end.since(self.send.reported);
        self.send.reported = end;
        new as usize
    }

    /// Whether the peer has sent its last byte, and all before it.
    pub fn is_finished(&self) -> bool {
        self.receive
            .fin
            .is_some_and(|fin| self.receive.nxt.is_after(fin))
    }

    /// Whether the user may write: it has not closed, and the handshake is over.
    pub fn takes_data(&self) -> bool {
        matches!(self.state, State::Established | State::CloseWait) && !self.send.fin
    }

    /// If everything that was written is acknowledged, and the user knows, lets the next byte that it writes be at the
    /// first place of the transmit ring. Returns whether that is so.
    pub fn restart_ring(&mut self) -> bool {
        let empty = self.send.reported == self.send.end;
        if empty {
            self.send.ring.begin(self.send.end);
        }
        empty
    }

    /// Takes bytes that the user has written into the transmit ring. Returns how many: not more than fit there.
    pub fn write(&mut self, bytes: usize) -> usize {
        if !self.takes_data() {
            return 0;
        }
        let queued = self.send.end.since(self.send.una);
        let room = self.send.ring.capacity().saturating_sub(queued);
        let taken = bytes.min(room as usize);
        self.send.end += taken as u32;
        taken
    }

    /// Takes the user's CLOSE: it writes nothing after what it has written so far (RFC 9293, section 3.10.4).
    pub fn close(&mut self) {
        if self.takes_data() || self.state == State::SynReceived {
            self.send.fin = true;
            self.state = self.state.closed_here();
        }
    }

    /// Takes note that the user has consumed bytes, at most those reported to it: the window may
    /// open.
    pub fn consume(&mut self, bytes: usize) {
        let known = self.receive.reported.since(self.receive.consumed);
        self.receive.consumed += (bytes.min(known as usize)) as u32;
        self.consider_window_update();
    }

    /// Takes the user's ABORT (section 3.10.5): the peer receives a reset.
    pub fn abort(&mut self) {
        self.fail(End::Aborted);
    }

    /// Forgets the connection without a segment to the peer.
    pub fn forget(&mut self) {
        self.state = State::Closed;
        self.owes_reset = false;
        self.end.get_or_insert(End::Aborted);
    }

    /// Ends the connection for a local reason, and sends the peer a reset if it may know of the
    /// connection.
    pub(super) fn fail(&mut self, end: End) {
        if self.state == State::Closed {
            return;
        }
        self.owes_reset = !matches!(self.state, State::SynSent | State::TimeWait);
        self.state = State::Closed;
        self.end = Some(end);
    }

    /// Returns how many segments were sent again since the last call.
    pub fn take_retransmissions(&mut self) -> u64 {
        core::mem::take(&mut self.retransmissions).into()
    }

    /// Whether a SYN begins a new connection between the endpoints of this one, which is in TIME-WAIT: its number or its
    /// timestamp is later than all of this connection (RFC 9293, section 3.6.1; RFC 6191, section 2).
    pub fn yields_to(&self, syn: &Segment<'_>) -> bool {
        let later = syn.header.sequence.is_after(self.receive.nxt);
        let newer = match (self.clock, syn.header.options.timestamps) {
            (Some(clock), Some(timestamps)) => {
                (timestamps.value.wrapping_sub(clock.recent) as i32) > 0
            }
            _ => false,
        };
        self.state == State::TimeWait && (later || newer)
    }

    /// Returns the highest number that this connection has used, for the next one between the same endpoints.
    pub fn last_number(&self) -> SequenceNumber {
        self.send.max
    }
}
