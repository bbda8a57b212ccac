//! A PC's CMOS real-time clock.
//!
//! The clock is an MC146818 or one that behaves alike; registers and formats as in its data sheet.

use registers::Ports;

use crate::RtcError;

const INDEX: u16 = 0;
const DATA: u16 = 1;

const SECONDS: u8 = 0x00;
const MINUTES: u8 = 0x02;
const HOURS: u8 = 0x04;
const DAY: u8 = 0x07;
const MONTH: u8 = 0x08;
const YEAR: u8 = 0x09;
const STATUS_A: u8 = 0x0a;
const STATUS_B: u8 = 0x0b;
const STATUS_D: u8 = 0x0d;
/// The century's place on PCs (ACPI's FADT may name another; all that we know use this one).
const CENTURY: u8 = 0x32;

const A_UPDATE_IN_PROGRESS: u8 = 1 << 7;
const B_24_HOURS: u8 = 1 << 1;
const B_BINARY: u8 = 1 << 2;
const D_VALID: u8 = 1 << 7;
/// The afternoon's bit in the hours register in 12-hour form.
const HOURS_PM: u8 = 1 << 7;

/// Attempts at a consistent reading. An update takes 2 ms at most and one attempt at least 8 port
/// accesses of about 1 µs on real hardware, so this many outlast an update.
const ATTEMPTS: u32 = 4096;

/// The real-time clock of a PC.
#[derive(Debug)]
pub struct Cmos<P> {
    ports: P,
}

/// The registers of one reading.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Reading {
    second: u8,
    minute: u8,
    hour: u8,
    day: u8,
    month: u8,
    year: u8,
    century: u8,
}

impl<P: Ports> Cmos<P> {
    /// The clock behind an index port (offset 0) and a data port (offset 1).
    pub fn new(ports: P) -> Self {
        Self { ports }
    }

    /// The time in seconds since 1970-01-01 00:00:00 UTC.
    ///
    /// # Errors
    /// [`RtcError`] when the clock holds no time.
    pub fn unix_seconds(&mut self) -> Result<u64, RtcError> {
        if self.register(STATUS_D) & D_VALID == 0 {
            return Err(RtcError::PowerLost);
        }
        let reading = self.stable_reading()?;
        let form = self.register(STATUS_B);
        reading.decode(form).ok_or(RtcError::OutOfRange)
    }

    /// Two equal readings in a row, neither during an update.
    fn stable_reading(&mut self) -> Result<Reading, RtcError> {
        let mut previous = None;
        for _ in 0..ATTEMPTS {
            if self.register(STATUS_A) & A_UPDATE_IN_PROGRESS != 0 {
                previous = None;
                continue;
            }
            let reading = self.reading();
            if previous == Some(reading) {
                return Ok(reading);
            }
            previous = Some(reading);
        }
        Err(RtcError::Unstable)
    }

    fn reading(&mut self) -> Reading {
        Reading {
            second: self.register(SECONDS),
            minute: self.register(MINUTES),
            hour: self.register(HOURS),
            day: self.register(DAY),
            month: self.register(MONTH),
            year: self.register(YEAR),
            century: self.register(CENTURY),
        }
    }

    fn register(&mut self, index: u8) -> u8 {
        self.ports.write8(INDEX, index);
        self.ports.read8(DATA)
    }
}

impl Reading {
    /// Seconds since 1970, from the form that status register B says.
    fn decode(self, form: u8) -> Option<u64> {
        let number = |value: u8| {
            if form & B_BINARY != 0 {
                Some(value)
            } else {
                from_bcd(value)
            }
        };
        let hour = if form & B_24_HOURS != 0 {
            number(self.hour)?
        } else {
            let hour = number(self.hour & !HOURS_PM)?;
            if !(1..=12).contains(&hour) {
                return None;
            }
            hour % 12 + if self.hour & HOURS_PM != 0 { 12 } else { 0 }
        };
        // The century stays in BCD on some machines whatever form the rest has; 19 and 20 are told apart
        // from 0x19 and 0x20 easily. A machine without that register leaves it 0: then 2000 is meant.
        let century: u64 = match self.century {
            0x19 | 19 => 19,
            0x21 | 21 => 21,
            _ => 20,
        };
        let year = century * 100 + u64::from(number(self.year)?);
        let (month, day) = (number(self.month)?, number(self.day)?);
        let (minute, second) = (number(self.minute)?, number(self.second)?);
        let valid = (1970..2200).contains(&year)
            && number(self.year)? < 100
            && (1..=12).contains(&month)
            && (1..=days_in(year, month)).contains(&day)
            && hour < 24
            && minute < 60
            && second < 60;
        valid.then(|| {
            let days = days_before(year, month) + u64::from(day) - 1;
            days * 86_400 + u64::from(hour) * 3_600 + u64::from(minute) * 60 + u64::from(second)
        })
    }
}

/// The number that two decimal digits of four bits mean.
fn from_bcd(value: u8) -> Option<u8> {
    let (tens, ones) = (value >> 4, value & 0x0f);
    (tens < 10 && ones < 10).then_some(tens * 10 + ones)
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_in(year: u64, month: u8) -> u8 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to the first of this month.
fn days_before(year: u64, month: u8) -> u64 {
    let years: u64 = (1970..year)
        .map(|year| if is_leap(year) { 366 } else { 365 })
        .sum();
    years
        + (1..month)
            .map(|month| u64::from(days_in(year, month)))
            .sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fake {
        index: u8,
        registers: [u8; 128],
        /// Readings of status A that say "update in progress".
        busy: u32,
        /// Adds one to the seconds at each reading of them.
        restless: bool,
    }

    impl Fake {
        fn new(form: u8, [century, year, month, day, hour, minute, second]: [u8; 7]) -> Self {
            let mut registers = [0; 128];
            for (index, value) in [
                (CENTURY, century),
                (YEAR, year),
                (MONTH, month),
                (DAY, day),
                (HOURS, hour),
                (MINUTES, minute),
                (SECONDS, second),
                (STATUS_B, form),
                (STATUS_D, D_VALID),
            ] {
                registers[usize::from(index)] = value;
            }
            Self {
                index: 0,
                registers,
                busy: 0,
                restless: false,
            }
        }

        fn read(self) -> Result<u64, RtcError> {
            Cmos::new(self).unix_seconds()
        }
    }

    impl Ports for Fake {
        fn read8(&mut self, offset: u16) -> u8 {
            assert_eq!(offset, DATA);
            if self.index == STATUS_A && self.busy > 0 {
                self.busy -= 1;
                return A_UPDATE_IN_PROGRESS;
            }
            let register = &mut self.registers[usize::from(self.index)];
            if self.index == SECONDS && self.restless {
                *register = (*register + 1) % 60;
            }
            *register
        }
        fn write8(&mut self, offset: u16, value: u8) {
            assert_eq!(offset, INDEX);
            self.index = value;
        }
        fn read32(&mut self, _: u16) -> u32 {
            unreachable!("the clock has 8-bit ports")
        }
        fn write32(&mut self, _: u16, _: u32) {
            unreachable!("the clock has 8-bit ports")
        }
    }

    /// 2024-02-29 23:59:58 UTC.
    const LEAP_DAY: u64 = 1_709_251_198;

    #[test]
    fn bcd_and_binary_24_and_12_hours_mean_the_same() {
        let bcd = Fake::new(B_24_HOURS, [0x20, 0x24, 0x02, 0x29, 0x23, 0x59, 0x58]);
        assert_eq!(bcd.read(), Ok(LEAP_DAY));
        let binary = Fake::new(B_24_HOURS | B_BINARY, [20, 24, 2, 29, 23, 59, 58]);
        assert_eq!(binary.read(), Ok(LEAP_DAY));
        let bcd_pm = Fake::new(0, [0x20, 0x24, 0x02, 0x29, 0x11 | HOURS_PM, 0x59, 0x58]);
        assert_eq!(bcd_pm.read(), Ok(LEAP_DAY));
        let binary_pm = Fake::new(B_BINARY, [20, 24, 2, 29, 11 | HOURS_PM, 59, 58]);
        assert_eq!(binary_pm.read(), Ok(LEAP_DAY));
    }

    #[test]
    fn midnight_and_noon_in_12_hour_form() {
        let midnight = Fake::new(0, [0x20, 0x00, 0x01, 0x01, 0x12, 0, 0]);
        assert_eq!(midnight.read(), Ok(946_684_800));
        let noon = Fake::new(0, [0x20, 0x00, 0x01, 0x01, 0x12 | HOURS_PM, 0, 0]);
        assert_eq!(noon.read(), Ok(946_684_800 + 43_200));
        let zero = Fake::new(0, [0x20, 0x00, 0x01, 0x01, 0x00, 0, 0]);
        assert_eq!(zero.read(), Err(RtcError::OutOfRange));
    }

    #[test]
    fn an_update_is_waited_for_within_bounds() {
        let date = [0x20, 0x24, 0x02, 0x29, 0x23, 0x59, 0x58];
        let mut updating = Fake::new(B_24_HOURS, date);
        updating.busy = 100;
        assert_eq!(updating.read(), Ok(LEAP_DAY));
        let mut stuck = Fake::new(B_24_HOURS, date);
        stuck.busy = u32::MAX;
        assert_eq!(stuck.read(), Err(RtcError::Unstable));
        let mut restless = Fake::new(B_24_HOURS, date);
        restless.restless = true;
        assert_eq!(restless.read(), Err(RtcError::Unstable));
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for wrong in [
            [0x20, 0x23, 0x02, 0x29, 0, 0, 0],
            [0x20, 0x24, 0x13, 0x01, 0, 0, 0],
            [0x20, 0x24, 0x00, 0x01, 0, 0, 0],
            [0x20, 0x24, 0x01, 0x00, 0, 0, 0],
            [0x20, 0x24, 0x01, 0x01, 0x24, 0, 0],
            [0x20, 0x24, 0x01, 0x01, 0, 0x60, 0],
            [0x20, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        ] {
            assert_eq!(
                Fake::new(B_24_HOURS, wrong).read(),
                Err(RtcError::OutOfRange)
            );
        }
        let mut dead = Fake::new(B_24_HOURS, [0x20, 0x24, 1, 1, 0, 0, 0]);
        dead.registers[usize::from(STATUS_D)] = 0;
        assert_eq!(dead.read(), Err(RtcError::PowerLost));
    }

    #[test]
    fn a_machine_without_a_century_register_means_2000() {
        let fake = Fake::new(B_24_HOURS, [0, 0x24, 0x02, 0x29, 0x23, 0x59, 0x58]);
        assert_eq!(fake.read(), Ok(LEAP_DAY));
    }
}
