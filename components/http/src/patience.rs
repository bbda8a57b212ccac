//! How long a connection may take for what it is at.

use crate::limits::Limits;
use crate::pace::Pace;

/// What is waited for, since when, and how fast it comes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    wait: Wait,
    /// Milliseconds.
    since: u64,
    pace: Pace,
}

/// What is waited for.
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
    /// The peer's end.
    Linger,
}

impl Patience {
    /// For the first request.
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

    /// So many bytes of a body or response have moved.
    pub(crate) fn moved(&mut self, bytes: usize, now: u64) {
        if bytes > 0 {
            self.pace.moved(bytes);
            self.since = now;
        }
    }

    /// When it ends. It moves with the limits.
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
