//! The high precision event timer (HPET) of PCs.
//!
//! Registers and bits: IA-PC HPET Specification 1.0a, section 2.3. The main counter is 64 bits wide and is
//! read in halves of 32 bits, because emulated timers refuse wider accesses. Comparator 0 gives the
//! alarm, once each time it is set, with a level-triggered interrupt: an edge that comes while the kernel masks the
//! interrupt would be lost.

use core::fmt;

use clock::Timer;
use registers::Registers;

use crate::farthest;

/// Bytes of registers that the driver needs: up to the end of comparator 0's.
const SIZE: usize = 0x120;

const CAPABILITIES: usize = 0x000;
/// The counter's period in femtoseconds.
const PERIOD: usize = 0x004;
const CONFIGURATION: usize = 0x010;
const INTERRUPT_STATUS: usize = 0x020;
const COUNTER_LOW: usize = 0x0f0;
const COUNTER_HIGH: usize = 0x0f4;
const TIMER_CONFIGURATION: usize = 0x100;
const TIMER_ROUTES: usize = 0x104;
const COMPARATOR_LOW: usize = 0x108;
const COMPARATOR_HIGH: usize = 0x10c;

const CAPABILITIES_64_BIT: u32 = 1 << 13;
const CONFIGURATION_ENABLE: u32 = 1 << 0;
const TIMER_LEVEL: u32 = 1 << 1;
const TIMER_INTERRUPT: u32 = 1 << 2;
const TIMER_64_BIT: u32 = 1 << 5;
const TIMER_ROUTE_SHIFT: u32 = 9;

/// The longest period that the specification allows (section 2.3.4), in femtoseconds: 100 ns.
const PERIOD_MAX: u32 = 0x05f5_e100;
const FEMTOSECONDS_IN_NANOSECOND: u128 = 1_000_000;

/// The upper half of the comparator before the first alarm: far away, but in nanoseconds still less than
/// 2^63, since emulators compute with these.
const NEVER_HIGH: u32 = 0x00ff_ffff;

/// Attempts at reading both halves of the counter between two carries of the lower half.
const READ_ATTEMPTS: u32 = 4;

/// Why a timer cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HpetError {
    /// The registers are too few, or are none of an HPET: the period that they give,
    /// in femtoseconds.
    NoHpet(u32),
    /// The counter or comparator 0 is only 32 bits wide.
    Narrow,
    /// Comparator 0 cannot raise this IOAPIC pin; the mask says which it can.
    NoRoute(u32),
}

impl fmt::Display for HpetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHpet(period) => write!(f, "no HPET: a counter period of {period} fs"),
            Self::Narrow => f.write_str("the HPET is only 32 bits wide"),
            Self::NoRoute(mask) => write!(f, "the HPET's interrupt can only take pins {mask:#x}"),
        }
    }
}

impl core::error::Error for HpetError {}

/// An HPET whose main counter runs.
#[derive(Debug)]
pub struct Hpet<R> {
    registers: R,
    /// Femtoseconds a tick.
    period: u32,
    /// The greatest time given so far in nanoseconds: time never runs back, whatever the device says.
    latest: u64,
}

impl<R: Registers> Hpet<R> {
    /// Lets the counter run on, or start at 0 if it stands; no alarm is set. Alarms will raise IOAPIC pin `pin`.
    ///
    /// # Errors
    /// [`HpetError`] when the timer is none or cannot do what is needed.
    pub fn new(mut registers: R, pin: u8) -> Result<Self, HpetError> {
        let period = registers.read32(PERIOD);
        if registers.size() < SIZE || period == 0 || period > PERIOD_MAX {
            return Err(HpetError::NoHpet(period));
        }
        let wide = registers.read32(CAPABILITIES) & CAPABILITIES_64_BIT != 0
            && registers.read32(TIMER_CONFIGURATION) & TIMER_64_BIT != 0;
        if !wide {
            return Err(HpetError::Narrow);
        }
        let routes = registers.read32(TIMER_ROUTES);
        if 1u32
            .checked_shl(pin.into())
            .is_none_or(|bit| routes & bit == 0)
        {
            return Err(HpetError::NoRoute(routes));
        }
        let route = u32::from(pin) << TIMER_ROUTE_SHIFT;
        if registers.read32(CONFIGURATION) & CONFIGURATION_ENABLE == 0 {
            // It must stand while it is written (section 2.3.7).
            registers.write32(COUNTER_LOW, 0);
            registers.write32(COUNTER_HIGH, 0);
        }
        registers.write32(TIMER_CONFIGURATION, TIMER_LEVEL | TIMER_INTERRUPT | route);
        registers.write32(COMPARATOR_HIGH, NEVER_HIGH);
        registers.write32(COMPARATOR_LOW, 0);
        registers.write32(INTERRUPT_STATUS, 1);
        registers.write32(CONFIGURATION, CONFIGURATION_ENABLE);
        Ok(Self {
            registers,
            period,
            latest: 0,
        })
    }

    fn ticks(&self) -> u64 {
        let mut high = self.registers.read32(COUNTER_HIGH);
        for _ in 0..READ_ATTEMPTS {
            let low = self.registers.read32(COUNTER_LOW);
            let again = self.registers.read32(COUNTER_HIGH);
            if again == high {
                return u64::from(high) << 32 | u64::from(low);
            }
            high = again;
        }
        u64::from(high) << 32
    }
}

impl<R: Registers> Timer for Hpet<R> {
    fn now(&mut self) -> u64 {
        let ticks = u128::from(self.ticks());
        let now = ticks * u128::from(self.period) / FEMTOSECONDS_IN_NANOSECOND;
        self.latest = self.latest.max(u64::try_from(now).unwrap_or(u64::MAX));
        self.latest
    }

    fn set_alarm(&mut self, deadline: u64) -> bool {
        let now = self.now();
        if deadline <= now {
            return false;
        }
        let deadline = farthest(now, deadline);
        let ticks = u128::from(deadline) * FEMTOSECONDS_IN_NANOSECOND;
        let ticks = ticks.div_ceil(u128::from(self.period)) as u64;
        self.registers
            .write32(COMPARATOR_HIGH, (ticks >> 32) as u32);
        self.registers.write32(COMPARATOR_LOW, ticks as u32);
        // The comparator matches the counter's exact value only: if that went by while it was being set,
        // it will not come.
        self.now() < deadline
    }

    fn acknowledge(&mut self) {
        self.registers.write32(INTERRUPT_STATUS, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FARTHEST;
    use core::cell::Cell;

    /// 10 ns, as QEMU's.
    const PERIOD_FS: u32 = 10_000_000;

    struct Fake {
        period: u32,
        capabilities: u32,
        routes: u32,
        timer: Cell<u32>,
        configuration: u32,
        counter: Cell<u64>,
        /// Ticks that go by at each read of the counter's lower half.
        speed: u64,
        comparator: u64,
        status_cleared: u32,
    }

    impl Default for Fake {
        fn default() -> Self {
            Self {
                period: PERIOD_FS,
                capabilities: CAPABILITIES_64_BIT,
                routes: 0x00ff_0104,
                timer: Cell::new(0),
                configuration: 0,
                counter: Cell::new(0),
                speed: 0,
                comparator: 0,
                status_cleared: 0,
            }
        }
    }

    impl Registers for Fake {
        fn size(&self) -> usize {
            0x400
        }
        fn read32(&self, offset: usize) -> u32 {
            match offset {
                CAPABILITIES => self.capabilities,
                PERIOD => self.period,
                CONFIGURATION => self.configuration,
                COUNTER_LOW => {
                    let now = self.counter.get();
                    self.counter.set(now.wrapping_add(self.speed));
                    now as u32
                }
                COUNTER_HIGH => (self.counter.get() >> 32) as u32,
                TIMER_CONFIGURATION => self.timer.get() | TIMER_64_BIT,
                TIMER_ROUTES => self.routes,
                _ => panic!("a read at {offset:#x}"),
            }
        }
        fn write32(&mut self, offset: usize, value: u32) {
            let low = |word: u64| word & !0xffff_ffff | u64::from(value);
            let high = |word: u64| word & 0xffff_ffff | u64::from(value) << 32;
            match offset {
                CONFIGURATION => self.configuration = value,
                INTERRUPT_STATUS => self.status_cleared |= value,
                COUNTER_LOW => self.counter.set(low(self.counter.get())),
                COUNTER_HIGH => self.counter.set(high(self.counter.get())),
                COMPARATOR_LOW => self.comparator = low(self.comparator),
                COMPARATOR_HIGH => self.comparator = high(self.comparator),
                TIMER_CONFIGURATION => self.timer.set(value),
                _ => panic!("a write at {offset:#x}"),
            }
        }
        fn read8(&self, _: usize) -> u8 {
            unreachable!("the HPET has 32-bit registers")
        }
        fn read16(&self, _: usize) -> u16 {
            unreachable!("the HPET has 32-bit registers")
        }
        fn write8(&mut self, _: usize, _: u8) {
            unreachable!("the HPET has 32-bit registers")
        }
        fn write16(&mut self, _: usize, _: u16) {
            unreachable!("the HPET has 32-bit registers")
        }
    }

    #[test]
    fn ticks_become_nanoseconds_and_never_run_back() {
        let mut hpet = Hpet::new(Fake::default(), 16).unwrap();
        assert_eq!(hpet.now(), 0);
        hpet.registers.counter.set(1 << 32 | 7);
        assert_eq!(hpet.now(), ((1 << 32) + 7) * 10);
        hpet.registers.counter.set(3);
        assert_eq!(hpet.now(), ((1 << 32) + 7) * 10);
        hpet.registers.counter.set(u64::MAX);
        assert_eq!(hpet.now(), u64::MAX);
    }

    #[test]
    fn a_counter_that_stands_starts_at_0() {
        let fake = Fake {
            counter: Cell::new(7),
            ..Fake::default()
        };
        let mut hpet = Hpet::new(fake, 16).unwrap();
        assert_eq!(hpet.now(), 0);
        assert_eq!(hpet.registers.configuration, CONFIGURATION_ENABLE);
    }

    /// What a clock PD that starts over relies on.
    #[test]
    fn a_second_driver_goes_on_with_the_time() {
        let Hpet { registers, .. } = Hpet::new(Fake::default(), 16).unwrap();
        registers.counter.set(1000);
        assert_eq!(Hpet::new(registers, 16).unwrap().now(), 10_000);
    }

    #[test]
    fn a_carry_between_the_halves_is_seen() {
        let fake = Fake {
            speed: 1,
            ..Fake::default()
        };
        let mut hpet = Hpet::new(fake, 16).unwrap();
        hpet.registers.counter.set(0xffff_ffff);
        let now = hpet.now();
        assert_eq!(now, (1 << 32) * 10);
    }

    #[test]
    fn an_alarm_is_set_to_the_tick_at_or_after_its_time() {
        let mut hpet = Hpet::new(Fake::default(), 16).unwrap();
        let timer = hpet.registers.timer.get();
        assert_eq!(
            timer,
            TIMER_LEVEL | TIMER_INTERRUPT | 16 << TIMER_ROUTE_SHIFT
        );
        assert!(hpet.set_alarm(1_000_000_005));
        assert_eq!(hpet.registers.comparator, 100_000_001);
        hpet.registers.status_cleared = 0;
        hpet.acknowledge();
        assert_eq!(hpet.registers.status_cleared, 1);
    }

    #[test]
    fn an_alarm_that_went_by_is_said() {
        let mut hpet = Hpet::new(Fake::default(), 16).unwrap();
        hpet.registers.counter.set(1000);
        assert!(!hpet.set_alarm(10_000));
        // 20 ticks (200 ns) go by at each look at the counter.
        hpet.registers.speed = 20;
        assert!(!hpet.set_alarm(10_100));
        assert!(hpet.set_alarm(20_000));
    }

    #[test]
    fn an_alarm_far_away_is_cut_to_an_hour() {
        let mut hpet = Hpet::new(Fake::default(), 16).unwrap();
        assert!(hpet.set_alarm(u64::MAX));
        assert_eq!(hpet.registers.comparator, FARTHEST / 10);
    }

    #[test]
    fn what_is_no_usable_timer_is_refused() {
        for period in [0, PERIOD_MAX + 1, u32::MAX] {
            let fake = Fake {
                period,
                ..Fake::default()
            };
            assert_eq!(Hpet::new(fake, 16).err(), Some(HpetError::NoHpet(period)));
        }
        let narrow = Fake {
            capabilities: 0,
            ..Fake::default()
        };
        assert_eq!(Hpet::new(narrow, 16).err(), Some(HpetError::Narrow));
        for pin in [4, 24, 32, 255] {
            let error = Hpet::new(Fake::default(), pin).err();
            assert_eq!(error, Some(HpetError::NoRoute(0x00ff_0104)));
        }
    }
}
