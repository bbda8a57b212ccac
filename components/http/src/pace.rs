//! The least speed of bodies and responses.

use crate::limits::Limits;

/// How fast a body or response moves.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    start: u64,
    moved: u64,
}

impl Pace {
    /// The earlier of: no progress for `stall_time`; and the time at which the average falls below
    /// `least_rate`.
    pub(crate) fn start(now: u64) -> Self {
        Self {
            start: now,
            moved: 0,
        }
    }

    pub(crate) fn moved(&mut self, bytes: usize) {
        self.moved = self.moved.saturating_add(bytes as u64);
    }

    /// Returns the time at which a transfer that last moved at `since` is aborted.
    pub(crate) fn deadline(&self, limits: &Limits, since: u64) -> u64 {
        let earned = self.moved.saturating_mul(1000) / limits.least_rate.max(1);
        let average = self
            .start
            .saturating_add(limits.stall_time)
            .saturating_add(earned);
        average.min(since.saturating_add(limits.stall_time))
    }
}
