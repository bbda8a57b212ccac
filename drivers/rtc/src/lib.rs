//! Drivers of real-time clocks, read only: a PC's CMOS clock, and the PL031 of ARM machines.
//!
//! The clocks have no time zone: the drivers take what they hold as UTC.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

mod cmos;
mod pl031;

pub use cmos::Cmos;
pub use pl031::Pl031;

use core::fmt;

/// Why a clock cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RtcError {
    /// There is another device in its place.
    NoClock,
    /// The clock's battery was empty, or it was never set: what it holds is no time.
    PowerLost,
    /// The clock never held still long enough for two equal readings.
    Unstable,
    /// The registers hold no date and time.
    OutOfRange,
}

impl fmt::Display for RtcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoClock => "no real-time clock answers",
            Self::PowerLost => "the real-time clock lost power or was never set",
            Self::Unstable => "the real-time clock never holds still",
            Self::OutOfRange => "the real-time clock holds no valid time",
        })
    }
}

impl core::error::Error for RtcError {}
