//! A RISC-V processor's time register, with the alarm of a goldfish real-time clock, which also tells the wall-clock time.
//!
//! Registers of the clock as in the document "Goldfish virtual hardware" of the Android emulator, section "Goldfish timer". The
//! clock may be set while it runs (QEMU's follows the host's clock): the time since the start does not depend on that, but
//! an alarm comes earlier or later by as much.

use core::fmt;

use clock::Timer;
use registers::{Counter, Registers};

use crate::{NANOSECONDS, farthest, nanoseconds};

/// The lower half of the time; reading it holds the upper half still.
const TIME_LOW: usize = 0x00;
const TIME_HIGH: usize = 0x04;
/// The lower half of the alarm's time; writing it sets the alarm.
const ALARM_LOW: usize = 0x08;
const ALARM_HIGH: usize = 0x0c;
const INTERRUPT_ENABLE: usize = 0x10;
const CLEAR_ALARM: usize = 0x14;
const CLEAR_INTERRUPT: usize = 0x1c;

/// Bytes of registers that the driver needs.
const SIZE: usize = 0x20;

/// 2000-01-01 and 2200-01-01 in seconds since 1970: a clock that says less was never set, one that says more
/// is broken.
const PLAUSIBLE: core::ops::Range<u64> = 946_684_800..7_258_118_400;

/// Why the two make no timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GoldfishError {
    /// The clock's registers are fewer than it has.
    TooSmall,
    /// Nobody says how fast the processor's register counts.
    NoFrequency,
}

impl fmt::Display for GoldfishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooSmall => "the goldfish clock's registers are too few",
            Self::NoFrequency => "the time register counts 0 times a second",
        })
    }
}

impl core::error::Error for GoldfishError {}

/// A time register and a goldfish real-time clock.
#[derive(Debug)]
pub struct Goldfish<R, C> {
    registers: R,
    counter: C,
    /// Counts a second; not 0.
    frequency: u64,
    /// The greatest time given so far in nanoseconds: time never runs back, whatever the counter says.
    latest: u64,
}

impl<R: Registers, C: Counter> Goldfish<R, C> {
    /// The time is the counter's, which counts so many times a second; no alarm is set.
    ///
    /// # Errors
    /// [`GoldfishError`].
    pub fn new(mut registers: R, counter: C, frequency: u64) -> Result<Self, GoldfishError> {
        if registers.size() < SIZE {
            return Err(GoldfishError::TooSmall);
        }
        if frequency == 0 {
            return Err(GoldfishError::NoFrequency);
        }
        registers.write32(CLEAR_ALARM, 1);
        registers.write32(CLEAR_INTERRUPT, 1);
        registers.write32(INTERRUPT_ENABLE, 1);
        Ok(Self {
            registers,
            counter,
            frequency,
            latest: 0,
        })
    }

    /// The time in seconds since 1970-01-01 00:00:00 UTC; none if the clock holds no plausible one.
    pub fn unix_seconds(&self) -> Option<u64> {
        let seconds = time(&self.registers) / NANOSECONDS as u64;
        PLAUSIBLE.contains(&seconds).then_some(seconds)
    }
}

impl<R: Registers, C: Counter> Timer for Goldfish<R, C> {
    fn now(&mut self) -> u64 {
        let now = nanoseconds(self.counter.count(), self.frequency);
        self.latest = self.latest.max(now);
        self.latest
    }

    fn set_alarm(&mut self, deadline: u64) -> bool {
        let now = self.now();
        if deadline <= now {
            return false;
        }
        let alarm = time(&self.registers).saturating_add(farthest(now, deadline) - now);
        self.registers.write32(ALARM_HIGH, (alarm >> 32) as u32);
        // If the time went by meanwhile, the interrupt comes at once.
        self.registers.write32(ALARM_LOW, alarm as u32);
        true
    }

    fn acknowledge(&mut self) {
        self.registers.write32(CLEAR_INTERRUPT, 1);
    }
}

fn time(registers: &impl Registers) -> u64 {
    let low = registers.read32(TIME_LOW);
    u64::from(registers.read32(TIME_HIGH)) << 32 | u64::from(low)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FARTHEST;
    use core::cell::Cell;

    /// 2026-01-01 in nanoseconds.
    const START: u64 = 1_767_225_600_000_000_000;

    /// 10 MHz, as QEMU's: 100 ns a count.
    const FREQUENCY: u64 = 10_000_000;

    struct FakeCounter(u64);

    impl Counter for FakeCounter {
        fn count(&self) -> u64 {
            self.0
        }
    }

    struct Fake {
        time: u64,
        held: Cell<u32>,
        alarm_high: u32,
        alarm: Option<u64>,
        pending: bool,
        enabled: bool,
        size: usize,
    }

    impl Fake {
        fn new(time: u64) -> Self {
            Self {
                time,
                held: Cell::new(0),
                alarm_high: 0,
                alarm: Some(7),
                pending: true,
                enabled: false,
                size: SIZE,
            }
        }

        fn set(&mut self, time: u64) {
            self.time = time;
            if self.alarm.is_some_and(|alarm| alarm <= time) {
                self.alarm = None;
                self.pending = true;
            }
        }
    }

    impl Registers for Fake {
        fn size(&self) -> usize {
            self.size
        }
        fn read32(&self, offset: usize) -> u32 {
            match offset {
                TIME_LOW => {
                    self.held.set((self.time >> 32) as u32);
                    self.time as u32
                }
                TIME_HIGH => self.held.get(),
                _ => panic!("a read at {offset:#x}"),
            }
        }
        fn write32(&mut self, offset: usize, value: u32) {
            match offset {
                ALARM_HIGH => self.alarm_high = value,
                ALARM_LOW => {
                    self.alarm = Some(u64::from(self.alarm_high) << 32 | u64::from(value));
                    self.set(self.time);
                }
                INTERRUPT_ENABLE => self.enabled = value != 0,
                CLEAR_ALARM => self.alarm = None,
                CLEAR_INTERRUPT => self.pending = false,
                _ => panic!("a write at {offset:#x}"),
            }
        }
        fn read8(&self, _: usize) -> u8 {
            unreachable!("the clock has 32-bit registers")
        }
        fn read16(&self, _: usize) -> u16 {
            unreachable!("the clock has 32-bit registers")
        }
        fn write8(&mut self, _: usize, _: u8) {
            unreachable!("the clock has 32-bit registers")
        }
        fn write16(&mut self, _: usize, _: u16) {
            unreachable!("the clock has 32-bit registers")
        }
    }

    fn goldfish() -> Goldfish<Fake, FakeCounter> {
        Goldfish::new(Fake::new(START), FakeCounter(70), FREQUENCY).unwrap()
    }

    #[test]
    fn time_is_the_counters_and_never_runs_back() {
        let mut goldfish = goldfish();
        assert_eq!(goldfish.now(), 7_000);
        goldfish.registers.set(0);
        goldfish.counter.0 += FREQUENCY;
        assert_eq!(goldfish.now(), 1_000_007_000);
        goldfish.counter.0 = 0;
        assert_eq!(goldfish.now(), 1_000_007_000);
        goldfish.counter.0 = u64::MAX;
        assert_eq!(goldfish.now(), u64::MAX);
    }

    /// What a clock PD that starts over relies on.
    #[test]
    fn a_second_driver_goes_on_with_the_time() {
        let Goldfish { registers, .. } = goldfish();
        let mut second = Goldfish::new(registers, FakeCounter(80), FREQUENCY).unwrap();
        assert_eq!(second.now(), 8_000);
    }

    #[test]
    fn an_alarm_interrupts_at_its_time_once() {
        let mut goldfish = goldfish();
        assert!(goldfish.registers.enabled && !goldfish.registers.pending);
        assert_eq!(goldfish.registers.alarm, None);
        assert!(!goldfish.set_alarm(7_000));
        assert!(goldfish.set_alarm(5_000_007_000));
        assert_eq!(goldfish.registers.alarm, Some(START + 5_000_000_000));
        goldfish.registers.set(START + 5_000_000_001);
        assert!(goldfish.registers.pending);
        goldfish.acknowledge();
        assert!(!goldfish.registers.pending);
    }

    #[test]
    fn an_alarm_far_away_is_cut_to_an_hour() {
        let mut goldfish = goldfish();
        assert!(goldfish.set_alarm(u64::MAX));
        assert_eq!(goldfish.registers.alarm, Some(START + FARTHEST));
    }

    #[test]
    fn wall_clock_time_is_told_if_it_can_be_one() {
        assert_eq!(goldfish().unix_seconds(), Some(1_767_225_600));
        for wrong in [0, 946_684_799 * NANOSECONDS as u64, u64::MAX] {
            let goldfish = Goldfish::new(Fake::new(wrong), FakeCounter(0), FREQUENCY).unwrap();
            assert_eq!(goldfish.unix_seconds(), None);
        }
    }

    #[test]
    fn what_makes_no_timer_is_refused() {
        let refused = |size, frequency| {
            let mut fake = Fake::new(START);
            fake.size = size;
            Goldfish::new(fake, FakeCounter(0), frequency).err()
        };
        assert_eq!(refused(SIZE - 4, 1), Some(GoldfishError::TooSmall));
        assert_eq!(refused(SIZE, 0), Some(GoldfishError::NoFrequency));
    }
}
