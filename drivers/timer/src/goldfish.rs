//! The goldfish real-time clock: wall-clock time in nanoseconds, and an alarm.
//!
//! Registers as in the document "Goldfish virtual hardware" of the Android emulator, section "Goldfish timer". The
//! clock may be set while it runs (QEMU's follows the host's clock): when it goes back, the time since the
//! start stands for one look and then goes on.

use core::fmt;

use clock::Timer;
use registers::Registers;

use crate::farthest;

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

const NANOSECONDS: u64 = 1_000_000_000;
/// 2000-01-01 and 2200-01-01 in seconds since 1970: a clock that says less was never set, one that says more
/// is broken.
const PLAUSIBLE: core::ops::Range<u64> = 946_684_800..7_258_118_400;

/// The registers are fewer than the clock has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooSmall;

impl fmt::Display for TooSmall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the goldfish clock's registers are too few")
    }
}

impl core::error::Error for TooSmall {}

/// A goldfish real-time clock.
#[derive(Debug)]
pub struct Goldfish<R> {
    registers: R,
    /// What the clock said last, in nanoseconds since 1970.
    clock: u64,
    /// Nanoseconds since the start at that time.
    elapsed: u64,
}

impl<R: Registers> Goldfish<R> {
    /// The time begins now; no alarm is set.
    ///
    /// # Errors
    /// [`TooSmall`].
    pub fn new(mut registers: R) -> Result<Self, TooSmall> {
        if registers.size() < SIZE {
            return Err(TooSmall);
        }
        registers.write32(CLEAR_ALARM, 1);
        registers.write32(CLEAR_INTERRUPT, 1);
        registers.write32(INTERRUPT_ENABLE, 1);
        let clock = time(&registers);
        Ok(Self {
            registers,
            clock,
            elapsed: 0,
        })
    }

    /// The time in seconds since 1970-01-01 00:00:00 UTC; none if the clock holds no plausible one.
    pub fn unix_seconds(&self) -> Option<u64> {
        let seconds = time(&self.registers) / NANOSECONDS;
        PLAUSIBLE.contains(&seconds).then_some(seconds)
    }
}

impl<R: Registers> Timer for Goldfish<R> {
    fn now(&mut self) -> u64 {
        let clock = time(&self.registers);
        let since = clock.saturating_sub(self.clock);
        self.clock = clock;
        self.elapsed = self.elapsed.saturating_add(since);
        self.elapsed
    }

    fn set_alarm(&mut self, deadline: u64) -> bool {
        let now = self.now();
        if deadline <= now {
            return false;
        }
        let alarm = self.clock.saturating_add(farthest(now, deadline) - now);
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
    const START: u64 = 1_767_225_600 * NANOSECONDS;

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

    fn goldfish() -> Goldfish<Fake> {
        Goldfish::new(Fake::new(START)).unwrap()
    }

    #[test]
    fn time_since_the_start_goes_on_when_the_clock_is_set_back() {
        let mut goldfish = goldfish();
        assert_eq!(goldfish.now(), 0);
        goldfish.registers.set(START + 5_000_000_000);
        assert_eq!(goldfish.now(), 5_000_000_000);
        goldfish.registers.set(START - 3_600_000_000_000);
        assert_eq!(goldfish.now(), 5_000_000_000);
        goldfish.registers.set(START - 3_599_000_000_000);
        assert_eq!(goldfish.now(), 6_000_000_000);
        goldfish.registers.set(u64::MAX);
        goldfish.now();
        goldfish.registers.set(0);
        goldfish.now();
        goldfish.registers.set(u64::MAX);
        assert_eq!(goldfish.now(), u64::MAX);
    }

    #[test]
    fn an_alarm_interrupts_at_its_time_once() {
        let mut goldfish = goldfish();
        assert!(goldfish.registers.enabled && !goldfish.registers.pending);
        assert_eq!(goldfish.registers.alarm, None);
        goldfish.registers.set(START + 100);
        assert!(!goldfish.set_alarm(100));
        assert!(goldfish.set_alarm(5_000_000_000));
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
        for wrong in [0, 946_684_799 * NANOSECONDS, u64::MAX] {
            let goldfish = Goldfish::new(Fake::new(wrong)).unwrap();
            assert_eq!(goldfish.unix_seconds(), None);
        }
    }

    #[test]
    fn too_few_registers_are_refused() {
        let mut fake = Fake::new(START);
        fake.size = SIZE - 4;
        assert_eq!(Goldfish::new(fake).err(), Some(TooSmall));
    }
}
