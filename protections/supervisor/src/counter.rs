//! The window over which restarts are counted, in ticks of the processor's counter.
//!
//! The supervisor may not call any PD, including the clock. Each processor that Selkie runs on has
//! a counter that programs can read ([`pd::processor_counter`]): kernel and firmware allow it on
//! all boards (`docs/deployment.md`).

#[cfg(target_arch = "aarch64")]
use registers::{GenericTimer, PhysicalTimer};

/// Seconds after which a PD's restarts are forgotten, where the counter's frequency is known. It is
/// long compared to any start, so a PD that faults at each start is given up. It is short compared
/// to the time between rare faults.
#[cfg(target_arch = "aarch64")]
const WINDOW_SECONDS: u64 = 180;

/// Returns the window on x86_64. The frequency of the time-stamp counter is not known: at 1 to 4
/// GHz the window is 1 to 5 minutes.
#[cfg(target_arch = "x86_64")]
pub fn window() -> u64 {
    1 << 38
}

/// Returns the window on aarch64, whose generic timer reports its frequency.
#[cfg(target_arch = "aarch64")]
pub fn window() -> u64 {
    let frequency = PhysicalTimer::find().map_or(0, |timer| timer.frequency());
    frequency.saturating_mul(WINDOW_SECONDS)
}

/// Returns the window on riscv64. The frequency of the register `time` depends on the board: at 10
/// MHz, as on QEMU's machine, the window is 3.6 minutes, at 1 to 24 MHz 1.5 to 36.
#[cfg(target_arch = "riscv64")]
pub fn window() -> u64 {
    1 << 31
}
