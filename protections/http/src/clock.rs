//! The clock PD as this one needs it.

use channel::time::Time;

/// Time, and the one alarm that is set.
pub struct Clock {
    time: Time,
    alarm: Option<u64>,
    last: u64,
}

impl Clock {
    pub fn new() -> Self {
        Self {
            time: pd::time(),
            alarm: None,
            last: 0,
        }
    }

    /// Monotonic nanoseconds; should the clock refuse, the time stands still and no connection expires.
    pub fn now(&mut self) -> u64 {
        self.last = self.time.now().unwrap_or(self.last);
        self.last
    }

    /// Asks for a notification at the deadline at the latest. The clock is called only if the alarm that is
    /// set would be too late.
    pub fn wake_by(&mut self, deadline: Option<u64>) {
        self.alarm = self.alarm.filter(|alarm| *alarm > self.last);
        if let Some(deadline) = deadline
            && self.alarm.is_none_or(|alarm| deadline < alarm)
            && self.time.set_alarm(Some(deadline)).is_ok()
        {
            self.alarm = Some(deadline);
        }
    }
}
