//! The processor's counter, over which restarts are counted.
//!
//! The supervisor may call nobody, so it asks no clock. Each processor that Selkie runs on has a counter that programs can
//! read: kernel and firmware leave it to them on all boards (`docs/deployment.md`).

#[cfg(target_arch = "riscv64")]
use registers::{Counter, TimeRegister};
#[cfg(target_arch = "aarch64")]
use registers::{GenericTimer, PhysicalTimer};

/// Seconds after which a PD's restarts are forgotten, where the counter's frequency is known. That is long against any
/// start, so a PD that faults whenever it starts is given up, and short against what wears out by itself.
#[cfg(target_arch = "aarch64")]
const WINDOW_SECONDS: u64 = 180;

/// The time-stamp counter of x86_64. Its frequency is not told: at 1 to 4 GHz the window is 1 to 5 minutes.
#[cfg(target_arch = "x86_64")]
pub fn window() -> u64 {
    1 << 38
}

#[cfg(target_arch = "x86_64")]
pub fn ticks() -> u64 {
    // SAFETY: every processor that the kernel runs on has the instruction, and the kernel does not forbid it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

#[cfg(target_arch = "aarch64")]
pub fn window() -> u64 {
    let frequency = PhysicalTimer::find().map_or(0, |timer| timer.frequency());
    frequency.saturating_mul(WINDOW_SECONDS)
}

#[cfg(target_arch = "aarch64")]
pub fn ticks() -> u64 {
    PhysicalTimer::find().map_or(0, |timer| timer.count())
}

/// The time register of RISC-V. Its frequency is a fact of the board: at 10 MHz, as of QEMU's machine, the window is 3.6 minutes,
/// at 1 to 24 MHz 1.5 to 36.
#[cfg(target_arch = "riscv64")]
pub fn window() -> u64 {
    1 << 31
}

#[cfg(target_arch = "riscv64")]
pub fn ticks() -> u64 {
    TimeRegister::find().map_or(0, |register| register.count())
}
