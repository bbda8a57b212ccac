//! Drivers of serial ports: 16550 and PL011.
//!
//! Output is driven by interrupts: [`Transmitter::write`] hands over what the transmitter takes now and asks for
//! an interrupt when there is more; it never waits for the line. What the port receives is thrown
//! away, receive interrupts stay off, until somebody listens ([`Receiver`], 16550 only).
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

mod ns16550;
mod pl011;

pub use ns16550::Ns16550;
pub use pl011::Pl011;

use core::fmt;

/// Fills of the FIFO in one call of [`Transmitter::write`]. A port that takes bytes as fast as they come (an
/// emulated one) would otherwise cost an interrupt for every few bytes; the bound keeps one call short.
const FILLS: usize = 32;

/// Clocks of the input that a bit takes at least, in ports of both kinds.
const CLOCKS: u64 = 16;

/// The sending half of a serial port.
pub trait Transmitter {
    /// Hands over as much of `bytes` as the transmitter takes now, and returns how much that was.
    ///
    /// When something is left, an interrupt will tell when to go on; when nothing is left, the
    /// interrupt is switched off.
    fn write(&mut self, bytes: &[u8]) -> usize;

    /// Takes note of an interrupt, so that the port lowers its line. Call before acknowledging the
    /// interrupt to the kernel, then [`write`](Self::write) what is left.
    fn acknowledge(&mut self);
}

/// The receiving half of a serial port.
pub trait Receiver: Transmitter {
    /// Throws away what has come, and asks for an interrupt whenever there is something from now on.
    fn listen(&mut self);

    /// The next byte that has come, if one has. Bytes that came when the port had no room for them are lost and
    /// nothing says so: who needs to know has to check what is received.
    fn read(&mut self) -> Option<u8>;
}

/// The speed of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speed {
    /// The port's input clock in Hz. On a PC it is 1843200.
    pub clock: u32,
    /// Bits a second.
    pub rate: u32,
}

impl Speed {
    /// What the clock is to be divided by, in parts of `1 / parts`, to the nearest. At a divisor of 1 a bit takes
    /// [`CLOCKS`].
    fn divisor(self, parts: u64) -> u64 {
        let unit = CLOCKS * u64::from(self.rate.max(1));
        (u64::from(self.clock) * parts + unit / 2) / unit
    }
}

/// There is no serial port of this kind at these registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoUart(&'static str);

impl fmt::Display for NoUart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no {} serial port answers", self.0)
    }
}

impl core::error::Error for NoUart {}
