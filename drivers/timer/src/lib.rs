//! Drivers of timers: a monotonic clock and one alarm each.
//!
//! | timer | on | its counter |
//! |---|---|---|
//! | [`Hpet`] | PCs | its own, from 0 at the first start, unless the firmware has started it before |
//! | [`ArmTimer`] | 64-bit ARM, where the kernel lets programs use it | runs since the processor's reset |
//! | [`Goldfish`] | RISC-V, where programs may read the time | the processor's, since its reset; the alarm is a real-time clock's |
//!
//! No driver stops or sets a counter that runs: so time goes on, and never goes back, when a clock PD starts over.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

mod arm;
mod goldfish;
mod hpet;

pub use arm::{ArmTimer, NoFrequency};
pub use goldfish::{Goldfish, GoldfishError};
pub use hpet::{Hpet, HpetError};

const NANOSECONDS: u128 = 1_000_000_000;

/// The time of a counter that counts so many times a second (not 0), in nanoseconds since it was 0.
fn nanoseconds(count: u64, frequency: u64) -> u64 {
    let time = u128::from(count) * NANOSECONDS / u128::from(frequency);
    u64::try_from(time).unwrap_or(u64::MAX)
}

/// The farthest alarm, in nanoseconds from now: an hour. Beyond it an alarm is set to this time and its
/// owner, finding nothing due, sets it again. It keeps an emulator's conversions from overflowing.
const FARTHEST: u64 = 3_600_000_000_000;

/// The time to which an alarm is set.
fn farthest(now: u64, deadline: u64) -> u64 {
    deadline.min(now.saturating_add(FARTHEST))
}
