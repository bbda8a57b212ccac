//! How often a protection domain (PD) has started over, and what becomes of it after the next fault.

use core::fmt;

use wiring::Entries;

/// Ticks of the processor's counter after which a PD's restarts are forgotten. Nobody tells the supervisor the counter's
/// frequency: at 1 to 4 GHz this is 1 to 5 minutes. That is long against any start, so a PD that faults whenever it
/// starts is given up after as many restarts as the description allows, and short against what wears out by itself.
const WINDOW: u64 = 1 << 38;

/// The restarts of one PD.
pub struct Lives {
    limit: u32,
    used: u32,
    /// When the first of them was.
    since: u64,
    retired: bool,
}

/// What becomes of a PD that has faulted.
#[derive(Clone, Copy)]
pub enum Next {
    /// It starts over at this entry, for the so-manieth time.
    Restart(u64, u32),
    /// It refuses all calls from this entry on.
    Retire(u64),
    /// It started over too often.
    GiveUp(u64, u32),
    /// Its thread stays stopped.
    Stay,
}

impl Lives {
    pub fn new(limit: u32) -> Self {
        Self {
            limit,
            used: 0,
            since: 0,
            retired: false,
        }
    }

    /// Decides after a fault at `now`; `restart`: the PD can start over.
    pub fn next(&mut self, entries: Entries, restart: bool, now: u64) -> Next {
        if self.retired {
            // It has faulted at the entry that needs nothing but read-only memory.
            return Next::Stay;
        }
        let restart = restart && self.limit > 0;
        if now.wrapping_sub(self.since) > WINDOW {
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

/// The processor's counter. Elsewhere than on x86_64 it is the kernel's decision whether a PD may read one, so there time
/// stands still, and restarts are never forgotten.
pub fn ticks() -> u64 {
    // SAFETY: every processor that the kernel runs on has the instruction, and the kernel does not forbid it.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        core::arch::x86_64::_rdtsc()
    }
    #[cfg(not(target_arch = "x86_64"))]
    0
}
