//! The generic timer of 64-bit ARM processors.
//!
//! Its interrupt line is high while the alarm is on and its time has come: an alarm cannot get lost between
//! the look at the counter and the setting of the comparator.

use core::fmt;

use clock::Timer;
use registers::GenericTimer;

use crate::{NANOSECONDS, farthest, nanoseconds};

/// The control register: off, with the line low; or on.
const OFF: u32 = 0;
const ENABLE: u32 = 1;

/// The firmware has not said how fast the counter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoFrequency;

impl fmt::Display for NoFrequency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the generic timer has no frequency (CNTFRQ_EL0 is 0)")
    }
}

impl core::error::Error for NoFrequency {}

/// A generic timer.
#[derive(Debug)]
pub struct ArmTimer<G> {
    timer: G,
    /// Counts a second; not 0.
    frequency: u64,
    /// The greatest time given so far in nanoseconds: time never runs back, whatever the timer says.
    latest: u64,
}

impl<G: GenericTimer> ArmTimer<G> {
    /// The time is the counter's; no alarm is set.
    ///
    /// # Errors
    /// [`NoFrequency`].
    pub fn new(mut timer: G) -> Result<Self, NoFrequency> {
        timer.set_control(OFF);
        let frequency = timer.frequency();
        if frequency == 0 {
            return Err(NoFrequency);
        }
        Ok(Self {
            timer,
            frequency,
            latest: 0,
        })
    }
}

impl<G: GenericTimer> Timer for ArmTimer<G> {
    fn now(&mut self) -> u64 {
        let now = nanoseconds(self.timer.count(), self.frequency);
        self.latest = self.latest.max(now);
        self.latest
    }

    fn set_alarm(&mut self, deadline: u64) -> bool {
        let now = self.now();
        if deadline <= now {
            return false;
        }
        let deadline = u128::from(farthest(now, deadline));
        let counts = (deadline * u128::from(self.frequency)).div_ceil(NANOSECONDS);
        let counts = u64::try_from(counts).unwrap_or(u64::MAX);
        self.timer.set_compare(counts);
        self.timer.set_control(ENABLE);
        true
    }

    fn acknowledge(&mut self) {
        self.timer.set_control(OFF);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FARTHEST;

    struct Fake {
        frequency: u64,
        count: u64,
        compare: u64,
        control: u32,
    }

    impl Fake {
        fn new(frequency: u64) -> Self {
            Self {
                frequency,
                count: 5_000,
                compare: 0,
                control: ENABLE,
            }
        }

        fn line(&self) -> bool {
            self.control == ENABLE && self.count >= self.compare
        }
    }

    impl GenericTimer for Fake {
        fn frequency(&self) -> u64 {
            self.frequency
        }
        fn count(&self) -> u64 {
            self.count
        }
        fn set_compare(&mut self, count: u64) {
            self.compare = count;
        }
        fn set_control(&mut self, control: u32) {
            self.control = control;
        }
    }

    /// 62.5 MHz, as QEMU's: 16 ns a count.
    fn timer() -> ArmTimer<Fake> {
        ArmTimer::new(Fake::new(62_500_000)).unwrap()
    }

    #[test]
    fn counts_become_nanoseconds_and_never_run_back() {
        let mut timer = timer();
        assert_eq!(timer.now(), 80_000);
        timer.timer.count += 62_500_000;
        assert_eq!(timer.now(), 1_000_080_000);
        timer.timer.count = 0;
        assert_eq!(timer.now(), 1_000_080_000);
        timer.timer.count = u64::MAX;
        assert_eq!(timer.now(), u64::MAX);
        assert!(!timer.set_alarm(u64::MAX));
    }

    /// What a clock PD that starts over relies on.
    #[test]
    fn a_second_driver_goes_on_with_the_time() {
        let ArmTimer { mut timer, .. } = timer();
        timer.count += 1;
        assert_eq!(ArmTimer::new(timer).unwrap().now(), 80_016);
    }

    #[test]
    fn an_alarm_raises_the_line_at_its_time_until_it_is_acknowledged() {
        let mut timer = timer();
        assert!(!timer.timer.line());
        assert!(timer.set_alarm(80_033));
        assert_eq!(timer.timer.compare, 5_003, "the count at or after the time");
        assert!(!timer.timer.line());
        timer.timer.count = 5_003;
        assert!(timer.timer.line());
        timer.acknowledge();
        assert!(!timer.timer.line());
        assert!(!timer.set_alarm(80_048), "it has come already");
        assert!(!timer.timer.line());
        assert!(timer.set_alarm(80_049));
    }

    #[test]
    fn an_alarm_far_away_is_cut_to_an_hour() {
        let mut timer = timer();
        assert!(timer.set_alarm(u64::MAX));
        assert_eq!(timer.timer.compare, 5_000 + FARTHEST / 16);
        let mut timer = ArmTimer::new(Fake::new(u64::MAX)).unwrap();
        assert!(timer.set_alarm(u64::MAX));
        assert_eq!(timer.timer.compare, u64::MAX);
    }

    #[test]
    fn a_timer_without_a_frequency_is_refused() {
        assert_eq!(ArmTimer::new(Fake::new(0)).err(), Some(NoFrequency));
    }
}
