//! The `Date` header's format: IMF-fixdate (RFC 9110, section 5.6.7).

use core::fmt::{self, Write};

/// Seconds since 1970-01-01 00:00:00 UTC, shown as IMF-fixdate.
#[derive(Clone, Copy)]
struct Date(u64);

/// Seconds since 1970-01-01 00:00:00 UTC, formatted as in the Common Log Format:
/// `06/Nov/1994:08:49:37 +0000`.
#[derive(Clone, Copy)]
pub(crate) struct Common(pub(crate) u64);

/// Seconds since 1970-01-01 00:00:00 UTC, formatted as in RFC 3339: `1994-11-06T08:49:37Z`.
#[derive(Clone, Copy)]
pub(crate) struct Iso(pub(crate) u64);

/// The text of a date, made once a second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DateText {
    second: u64,
    text: [u8; 29],
}

impl DateText {
    pub(crate) fn new(second: u64) -> Self {
        let mut text = [b' '; 29];
        let mut rest = &mut text[..];
        let _ = write!(Slice(&mut rest), "{}", Date(second));
        Self { second, text }
    }

    pub(crate) fn second(&self) -> u64 {
        self.second
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.text
    }
}

/// Writes text to the beginning of a slice and moves the slice on; what does not fit is left out.
struct Slice<'s, 'a>(&'s mut &'a mut [u8]);

impl fmt::Write for Slice<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let length = text.len().min(self.0.len());
        let (to, rest) = core::mem::take(self.0).split_at_mut(length);
        to.copy_from_slice(&text.as_bytes()[..length]);
        *self.0 = rest;
        Ok(())
    }
}

/// The last second of the year 9999: the format has four digits for the year.
const LAST: u64 = 253_402_300_799;

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, clock) = split(self.0);
        let (year, month, day) = civil(days);
        let weekday = DAYS[(days % 7) as usize];
        write!(
            f,
            "{weekday}, {day:02} {} {year:04} {clock} GMT",
            MONTHS[month]
        )
    }
}

impl fmt::Display for Common {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, clock) = split(self.0);
        let (year, month, day) = civil(days);
        write!(f, "{day:02}/{}/{year:04}:{clock} +0000", MONTHS[month])
    }
}

impl fmt::Display for Iso {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, clock) = split(self.0);
        let (year, month, day) = civil(days);
        write!(f, "{year:04}-{:02}-{day:02}T{clock}Z", month + 1)
    }
}

/// The time of a day.
struct Clock(u64);

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let second = self.0;
        let (hour, minute) = (second / 3600, second / 60 % 60);
        write!(f, "{hour:02}:{minute:02}:{:02}", second % 60)
    }
}

/// Returns the days since 1970-01-01, and the time of the day.
fn split(seconds: u64) -> (u64, Clock) {
    let seconds = seconds.min(LAST);
    (seconds / 86_400, Clock(seconds % 86_400))
}

/// Year, month (0 to 11) and day of the month (from 1) of a day counted from 1970-01-01.
fn civil(mut days: u64) -> (u64, usize, u64) {
    /// Days in the 400 years after which the Gregorian calendar repeats.
    const CYCLE: u64 = 146_097;
    let mut year = 1970 + days / CYCLE * 400;
    days %= CYCLE;
    while days >= length(year) {
        days -= length(year);
        year += 1;
    }
    let february = if length(year) == 366 { 29 } else { 28 };
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    (year, month, days + 1)
}

fn length(year: u64) -> u64 {
    if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) {
        366
    } else {
        365
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates() {
        for (seconds, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_827_696, "Tue, 29 Feb 2000 12:34:56 GMT"),
            (1_709_251_199, "Thu, 29 Feb 2024 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (LAST, "Fri, 31 Dec 9999 23:59:59 GMT"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(DateText::new(seconds).bytes(), text.as_bytes());
        }
    }
}
