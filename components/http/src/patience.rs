//! Time limits on the steps of a connection.

use crate::limits::Limits;
use crate::pace::Pace;

/// The event that a connection waits for, the start of the wait, and the pace of a transfer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    wait: Wait,
    /// Start of the wait, or time of the last progress, in milliseconds.
    since: u64,
    pace: Pace,
}

/// An event that a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// The first request.
    First,
    /// Another request.
    Next,
    /// The rest of a head.
    Head,
    /// Progress of a body or response.
    Progress,
    /// The peer closes its side.
    Linger,
}

impl Patience {
    /// Returns the wait for the first request.
    pub(crate) fn new(now: u64) -> Self {
        Self {
            wait: Wait::First,
            since: now,
            pace: Pace::default(),
        }
    }

    pub(crate) fn wait(&self) -> Wait {
        self.wait
    }

    pub(crate) fn since(&self) -> u64 {
        self.since
    }

    pub(crate) fn begin(&mut self, wait: Wait, now: u64) {
        (self.wait, self.since) = (wait, now);
        if wait == Wait::Progress {
            self.pace = Pace::start(now);
        }
    }

    /// Records that so many bytes of a body or response have moved.
    pub(crate) fn moved(&mut self, bytes: usize, now: u64) {
        if bytes > 0 {
            self.pace.moved(bytes);
            self.since = now;
        }
    }

    /// Returns the time at which the wait ends. It changes with the limits.
    pub(crate) fn deadline(&self, limits: &Limits) -> u64 {
        let time = match self.wait {
            Wait::First | Wait::Next => limits.idle_time,
            Wait::Head => limits.head_time,
            Wait::Linger => limits.linger_time,
            Wait::Progress => return self.pace.deadline(limits, self.since),
        };
        self.since.saturating_add(time)
    }
}
