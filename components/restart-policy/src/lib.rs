//! How often a protection domain (PD) may restart, counted over time, and the decision after a
//! fault.
//!
//! A PD that faults whenever it starts is given up after as many restarts as the description
//! allows. A fault later than the window resets the count, so a service that faults once an hour is
//! never given up.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

use core::fmt;

use wiring::Entries;

/// The restarts of one PD. Times are ticks of a counter that never decreases except when it wraps.
#[derive(Clone, Debug)]
pub struct RestartPolicy {
    limit: u32,
    window: u64,
    used: u32,
    /// Time of the first restart in the window.
    since: u64,
    retired: bool,
}

/// The decision about a PD that has faulted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It restarts at this entry; the number counts the restarts within the window.
    Restart(u64, u32),
    /// It refuses all calls from this entry on.
    Retire(u64),
    /// It restarted too often, and refuses all calls from this entry on.
    GiveUp(u64, u32),
    /// Its thread stays stopped.
    Stay,
}

impl RestartPolicy {
    /// Allows `limit` restarts within `window` ticks from the first of them on.
    pub fn new(limit: u32, window: u64) -> Self {
        Self {
            limit,
            window,
            used: 0,
            since: 0,
            retired: false,
        }
    }

    /// Decides what follows a fault at `now`. `restart`: the PD can restart.
    pub fn next(&mut self, entries: Entries, restart: bool, now: u64) -> Next {
        if self.retired {
            // It has faulted at the retirement entry, which needs only read-only memory.
            return Next::Stay;
        }
        let restart = restart && self.limit > 0;
        if now.wrapping_sub(self.since) > self.window {
            self.used = 0;
        }
        if restart && self.used < self.limit {
            if self.used == 0 {
                self.since = now;
            }
            self.used += 1;
            return Next::Restart(entries.restart, self.used);
        }
        self.retired = true;
        match restart {
            true => Next::GiveUp(entries.retire, self.used),
            false => Next::Retire(entries.retire),
        }
    }
}

impl Next {
    /// Returns the entry at which the PD's thread continues, if it continues.
    pub fn entry(self) -> Option<u64> {
        match self {
            Self::Restart(entry, _) | Self::Retire(entry) | Self::GiveUp(entry, _) => Some(entry),
            Self::Stay => None,
        }
    }
}

impl fmt::Display for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Restart(_, 1) => f.write_str("it starts over"),
            Self::Restart(_, number) => write!(f, "it starts over for the {number}. time"),
            Self::Retire(_) | Self::Stay => f.write_str("stopped"),
            Self::GiveUp(_, used) => write!(f, "stopped: it has started over {used} times already"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRIES: Entries = Entries {
        restart: 0x1000,
        retire: 0x2000,
    };
    const WINDOW: u64 = 180;
    const HOUR: u64 = 3600;

    #[test]
    fn gives_up_a_pd_that_faults_at_every_start() {
        let mut policy = RestartPolicy::new(2, WINDOW);
        let mut at = |now| policy.next(ENTRIES, true, now);
        assert_eq!(at(1000), Next::Restart(0x1000, 1));
        assert_eq!(at(1000 + WINDOW / 2), Next::Restart(0x1000, 2));
        assert_eq!(at(1000 + WINDOW), Next::GiveUp(0x2000, 2));
        assert_eq!(at(1000 + HOUR), Next::Stay);
    }

    #[test]
    fn never_gives_up_a_pd_that_runs_well_for_an_hour() {
        let mut policy = RestartPolicy::new(1, WINDOW);
        // The counter wraps in between.
        let start = u64::MAX - 10 * HOUR;
        for hour in 0..100 {
            let now = start.wrapping_add(hour * HOUR);
            assert_eq!(policy.next(ENTRIES, true, now), Next::Restart(0x1000, 1));
        }
    }

    #[test]
    fn counts_from_the_first_restart_of_a_window() {
        let mut policy = RestartPolicy::new(2, WINDOW);
        let mut at = |now| policy.next(ENTRIES, true, now);
        assert_eq!(at(0), Next::Restart(0x1000, 1), "also at the start");
        assert_eq!(at(WINDOW), Next::Restart(0x1000, 2));
        assert_eq!(at(WINDOW + 1), Next::Restart(0x1000, 1));
        assert_eq!(at(2 * WINDOW + 1), Next::Restart(0x1000, 2));
        assert_eq!(at(2 * WINDOW + 1), Next::GiveUp(0x2000, 2));
    }

    #[test]
    fn retires_a_pd_that_cannot_restart() {
        for (limit, restart) in [(5, false), (0, true)] {
            let mut policy = RestartPolicy::new(limit, WINDOW);
            let next = policy.next(ENTRIES, restart, 7);
            assert_eq!((next, next.entry()), (Next::Retire(0x2000), Some(0x2000)));
            assert_eq!(policy.next(ENTRIES, restart, 8).entry(), None);
        }
    }

    #[test]
    fn says_what_becomes_of_the_pd() {
        let said = [
            (Next::Restart(1, 1), "it starts over"),
            (Next::Restart(1, 2), "it starts over for the 2. time"),
            (Next::Retire(1), "stopped"),
            (Next::Stay, "stopped"),
            (
                Next::GiveUp(1, 5),
                "stopped: it has started over 5 times already",
            ),
        ];
        for (next, text) in said {
            assert_eq!(next.to_string(), text);
        }
    }
}
