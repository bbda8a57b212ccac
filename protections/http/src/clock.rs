//! The clock PD as this one needs it.

use channel::time::Time;
use sel4_microkit::{Channel, ChannelSet};

/// Time, and the one alarm that is set.
pub struct Clock {
    time: Time,
    bell: Channel,
    alarm: Option<u64>,
    last: u64,
}

impl Clock {
    pub fn new() -> Self {
        Self {
            time: pd::time(),
            bell: pd::server_channel("time"),
            alarm: None,
            last: 0,
        }
    }

    /// Monotonic nanoseconds; should the clock refuse, the time stands still and no connection expires.
    pub fn now(&mut self) -> u64 {
        self.last = self.time.now().unwrap_or(self.last);
        self.last
    }

    /// Takes note of notifications. The clock's mean that no alarm is set: it came, or the clock has started over.
    pub fn hear(&mut self, channels: ChannelSet) {
        if channels.contains(self.bell) {
            self.alarm = None;
        }
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
