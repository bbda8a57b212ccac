//! The PrimeCell real-time clock (PL031) of ARM machines.
//!
//! Registers and bits: ARM PrimeCell Real Time Clock (PL031) Technical Reference Manual, DDI 0224, chapter 3. It
//! counts seconds in 32 bits, which last until 2106.

use registers::{Registers, primecell};

use crate::RtcError;

/// The seconds.
const DATA: usize = 0x00;
const CONTROL: usize = 0x0c;

const CONTROL_STARTED: u32 = 1 << 0;
/// The part number.
const PART: u16 = 0x031;

/// 2000-01-01: a clock that says less counts from a start at 0.
const EARLIEST: u64 = 946_684_800;

/// A PL031.
#[derive(Debug)]
pub struct Pl031<R> {
    registers: R,
}

impl<R: Registers> Pl031<R> {
    /// The clock behind these registers.
    pub fn new(registers: R) -> Self {
        Self { registers }
    }

    /// The time in seconds since 1970-01-01 00:00:00 UTC.
    ///
    /// # Errors
    /// [`RtcError`] when the clock is none or holds no time.
    pub fn unix_seconds(&self) -> Result<u64, RtcError> {
        if primecell(&self.registers) != Some(PART) {
            return Err(RtcError::NoClock);
        }
        let seconds = u64::from(self.registers.read32(DATA));
        let started = self.registers.read32(CONTROL) & CONTROL_STARTED != 0;
        match started && seconds >= EARLIEST {
            true => Ok(seconds),
            false => Err(RtcError::PowerLost),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fake {
        seconds: u32,
        control: u32,
        part: u8,
    }

    impl Registers for Fake {
        fn size(&self) -> usize {
            0x1000
        }
        fn read32(&self, offset: usize) -> u32 {
            match offset {
                DATA => self.seconds,
                CONTROL => self.control,
                0xfe0.. => {
                    let family = [0x10u8, 0x04, 0, 0x0d, 0xf0, 0x05, 0xb1];
                    let register = (offset - 0xfe0) / 4;
                    match register {
                        0 => self.part.into(),
                        _ => u32::from(family[register - 1]),
                    }
                }
                _ => panic!("a read at {offset:#x}"),
            }
        }
        fn read8(&self, _: usize) -> u8 {
            unreachable!("the clock has 32-bit registers")
        }
        fn read16(&self, _: usize) -> u16 {
            unreachable!("the clock has 32-bit registers")
        }
        fn write8(&mut self, _: usize, _: u8) {
            unreachable!("the clock is only read")
        }
        fn write16(&mut self, _: usize, _: u16) {
            unreachable!("the clock is only read")
        }
        fn write32(&mut self, _: usize, _: u32) {
            unreachable!("the clock is only read")
        }
    }

    fn read(seconds: u32, control: u32, part: u8) -> Result<u64, RtcError> {
        let fake = Fake {
            seconds,
            control,
            part,
        };
        Pl031::new(fake).unix_seconds()
    }

    #[test]
    fn seconds_are_told_to_the_last() {
        assert_eq!(read(1_709_251_198, 1, PART as u8), Ok(1_709_251_198));
        assert_eq!(read(u32::MAX, 1, PART as u8), Ok(0xffff_ffff));
    }

    #[test]
    fn a_clock_that_was_not_set_or_is_none_is_refused() {
        assert_eq!(read(77, 1, PART as u8), Err(RtcError::PowerLost));
        let stopped = read(1_709_251_198, 0, PART as u8);
        assert_eq!(stopped, Err(RtcError::PowerLost));
        let uart = read(1_709_251_198, 1, 0x11);
        assert_eq!(uart, Err(RtcError::NoClock));
    }
}
