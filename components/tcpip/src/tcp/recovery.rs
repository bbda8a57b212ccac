//! Loss recovery: duplicate ACKs, fast retransmit, NewReno (RFC 6582) or SACK (RFC 6675).

use super::SequenceNumber;
use super::congestion::Controller;
use super::header::{Flags, Options};
use super::sack::DUPLICATE_THRESHOLD;
use super::tcb::Tcb;
use crate::segment::Segment;

/// How a connection deals with loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Recovery {
    pub fast: Option<Fast>,
    /// Fast retransmission begins only beyond this number: the peer may have what was sent again before it (RFC 6582,
    /// section 4).
    barred: Option<SequenceNumber>,
    /// Duplicate ACKs in a row.
    duplicates: u32,
    /// Bytes that have left the network as the duplicate ACKs say; without SACK.
    pub credit: u32,
    /// The first segment that is not acknowledged is to be sent again at once.
    pub owes_first: bool,
}

/// Fast recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fast {
    /// Recovery ends when everything before it is acknowledged (RecoveryPoint).
    point: SequenceNumber,
    /// The end of what was sent again (HighRxt).
    pub again: SequenceNumber,
}

impl Recovery {
    /// Ends fast recovery.
    pub fn stop(&mut self) {
        *self = Self {
            barred: self.barred,
            ..Self::default()
        };
    }

    /// Bars fast retransmission for what was sent so far.
    pub fn bar(&mut self, max: SequenceNumber) {
        self.barred = Some(max);
    }
}

impl Tcb {
    /// Takes the SACK option over. Returns whether it says something new (RFC 6675, section 4).
    pub(super) fn take_sack(&mut self, options: &Options) -> bool {
        if !self.sack {
            return false;
        }
        let (una, flight) = (self.send.una, self.send.max.since(self.send.una));
        let mut new = false;
        for (start, end) in options.sack.iter().flatten() {
            // A block in front of the ACK reports a duplicate (RFC 2883).
            let (from, to) = (start.since(una), end.since(una));
            if from > 0 && from < to && to <= flight {
                new |= self.scoreboard.insert((*start, *end));
            }
        }
        new
    }

    /// Whether an ACK without progress shows that a segment has arrived out of order (RFC 5681,
    /// section 2; RFC 6675, section 4). `news`: its SACK option was new. `window`: what it grants,
    /// in bytes.
    pub(super) fn is_duplicate(&self, segment: &Segment<'_>, news: bool, window: u32) -> bool {
        let under_way = self.send.nxt.is_after(self.send.una);
        let bare = segment.payload.is_empty() && !segment.header.flags.has(Flags::FIN);
        under_way
            && match self.sack {
                true => news,
                false => bare && window == self.send.window,
            }
    }

    /// Takes a duplicate ACK.
    pub(super) fn take_duplicate(&mut self) {
        let mss = self.smss();
        let flight = self.send.max.since(self.send.una);
        let recovery = &mut self.recovery;
        recovery.duplicates = recovery.duplicates.saturating_add(1);
        if recovery.fast.is_some() {
            if !self.sack {
                recovery.credit = (recovery.credit + mss).min(flight);
            }
            return;
        }
        if !self.sack {
            // Limited transmit (RFC 3042): two new segments before the third duplicate.
            recovery.credit = (recovery.credit + mss).min(2 * mss);
        }
        let lost = recovery.duplicates >= DUPLICATE_THRESHOLD
            || self.sack && self.scoreboard.first_is_lost(self.send.una, mss);
        if lost && self.may_recover() {
            self.enter_recovery(mss, flight);
        }
    }

    fn may_recover(&self) -> bool {
        self.recovery.barred.is_none_or(|barred| {
            // Without SACK, ACKs for what was sent twice look like duplicates.
            self.send.una.is_after(barred) || self.sack && self.send.una == barred
        })
    }

    fn enter_recovery(&mut self, mss: u32, flight: u32) {
        self.congestion.lost(flight, mss);
        self.timed = None;
        let recovery = &mut self.recovery;
        recovery.fast = Some(Fast {
            point: self.send.max,
            again: self.send.una,
        });
        recovery.barred = Some(self.send.max);
        recovery.owes_first = true;
        recovery.credit = match self.sack {
            true => 0,
            false => (DUPLICATE_THRESHOLD * mss).min(flight),
        };
    }

    /// Takes the acknowledgement of new data: `acked` bytes up to SND.UNA.
    pub(super) fn take_progress(&mut self, acked: u32) {
        let mss = self.smss();
        let una = self.send.una;
        let recovery = &mut self.recovery;
        recovery.duplicates = 0;
        if recovery.barred.is_some_and(|barred| una.is_after(barred)) {
            recovery.barred = None;
        }
        match &mut recovery.fast {
            None => {
                recovery.credit = 0;
                recovery.owes_first = false;
                if self.send.limited {
                    self.congestion.acknowledged(acked, mss);
                }
            }
            Some(fast) if una.is_before(fast.point) => {
                // A partial ACK: the segment after it is lost too (RFC 6582, section 3.2, step 3).
                fast.again = fast.again.latest(una);
                if !self.sack {
                    recovery.owes_first = true;
                    let credit = recovery.credit.saturating_sub(acked);
                    recovery.credit = credit + if acked >= mss { mss } else { 0 };
                }
            }
            Some(_) => {
                recovery.stop();
                let flight = self.send.max.since(una);
                self.congestion.recovered(flight, mss);
            }
        }
    }
}
