//! Monotonic and wall-clock time, and alarms for many clients over one timer.
//!
//! The timer has one alarm; each client has one, too. The timer is set to the earliest of them, and not moved when
//! that one is taken back or put off, as a TCP stack does with every acknowledgement: an alarm that comes
//! too early costs one look at the clients, at most once for each time that the timer was set.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::boxed::Box;

/// The most clients: Microkit gives a PD 62 channels.
pub const CLIENTS: usize = 62;

const NANOSECONDS: u64 = 1_000_000_000;

/// A counter with one alarm.
pub trait Timer {
    /// Nanoseconds since the start; never less than before.
    fn now(&mut self) -> u64;

    /// Sets the alarm, in place of the one before, to a time in nanoseconds since the start. The alarm may come
    /// early or more than once.
    ///
    /// Returns `false` if that time has already come: then there may be no alarm.
    #[must_use]
    fn set_alarm(&mut self, deadline: u64) -> bool;

    /// Takes note of the alarm, so that the timer lowers its interrupt line.
    fn acknowledge(&mut self);
}

impl<T: Timer + ?Sized> Timer for Box<T> {
    fn now(&mut self) -> u64 {
        (**self).now()
    }
    fn set_alarm(&mut self, deadline: u64) -> bool {
        (**self).set_alarm(deadline)
    }
    fn acknowledge(&mut self) {
        (**self).acknowledge();
    }
}

/// Time, and an alarm for each client.
#[derive(Debug)]
pub struct Clock<T> {
    timer: T,
    /// The wall-clock time of the start, in nanoseconds since 1970.
    start: Option<u64>,
    deadlines: [Option<u64>; CLIENTS],
    /// What the timer is set to.
    armed: Option<u64>,
}

impl<T: Timer> Clock<T> {
    /// A clock over `timer`. `unix_seconds` is the wall-clock time now, if it is known.
    pub fn new(mut timer: T, unix_seconds: Option<u64>) -> Self {
        let start = unix_seconds
            .and_then(|seconds| seconds.checked_mul(NANOSECONDS))
            .map(|wall| wall.saturating_sub(timer.now()));
        Self {
            timer,
            start,
            deadlines: [None; CLIENTS],
            armed: None,
        }
    }

    /// Nanoseconds since the system's start; never less than before.
    pub fn now(&mut self) -> u64 {
        self.timer.now()
    }

    /// Nanoseconds since 1970-01-01 00:00:00 UTC, if known.
    pub fn wall(&mut self) -> Option<u64> {
        self.start?.checked_add(self.now())
    }

    /// Sets or takes back a client's alarm, and calls `ring` for clients whose time has come, which may be this
    /// one. A client of [`CLIENTS`] or above is ignored.
    pub fn set_alarm(&mut self, client: usize, deadline: Option<u64>, ring: impl FnMut(usize)) {
        let Some(slot) = self.deadlines.get_mut(client) else {
            return;
        };
        *slot = deadline;
        if deadline.is_some_and(|new| self.armed.is_none_or(|armed| new < armed)) {
            self.ring_due(ring);
        }
    }

    /// Takes note of the timer's alarm: calls `ring` for every client whose time has come, once, and sets the timer
    /// to the next. Acknowledge the interrupt to the kernel after it.
    pub fn alarm(&mut self, ring: impl FnMut(usize)) {
        self.timer.acknowledge();
        self.armed = None;
        self.ring_due(ring);
    }

    /// Rings until the earliest alarm lies ahead. Each round but the last ends at least one client's alarm.
    fn ring_due(&mut self, mut ring: impl FnMut(usize)) {
        loop {
            let now = self.timer.now();
            for (client, slot) in self.deadlines.iter_mut().enumerate() {
                if slot.is_some_and(|deadline| deadline <= now) {
                    *slot = None;
                    ring(client);
                }
            }
            self.armed = self.deadlines.iter().flatten().min().copied();
            match self.armed {
                Some(next) if !self.timer.set_alarm(next) => {}
                _ => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Default)]
    struct Fake {
        now: u64,
        /// What goes by at each look at the time.
        speed: u64,
        alarm: Option<u64>,
        settings: u32,
        acknowledged: u32,
    }

    impl Timer for Fake {
        fn now(&mut self) -> u64 {
            self.now += self.speed;
            self.now
        }
        fn set_alarm(&mut self, deadline: u64) -> bool {
            self.settings += 1;
            self.alarm = Some(deadline);
            self.now() < deadline
        }
        fn acknowledge(&mut self) {
            self.acknowledged += 1;
        }
    }

    fn rung(clock: &mut Clock<Fake>, now: u64) -> Vec<usize> {
        clock.timer.now = now;
        let mut rung = Vec::new();
        clock.alarm(|client| rung.push(client));
        rung
    }

    fn silent(client: usize) {
        panic!("client {client} is not due");
    }

    #[test]
    fn the_earliest_of_many_alarms_sets_the_timer() {
        let mut clock = Clock::new(Fake::default(), None);
        clock.set_alarm(3, Some(300), silent);
        clock.set_alarm(1, Some(100), silent);
        clock.set_alarm(2, Some(200), silent);
        assert_eq!(clock.timer.alarm, Some(100));
        assert_eq!(clock.timer.settings, 2);
        assert_eq!(rung(&mut clock, 100), [1]);
        assert_eq!(clock.timer.alarm, Some(200));
        assert_eq!(rung(&mut clock, 301), [2, 3]);
        assert_eq!(rung(&mut clock, 400), []);
        assert_eq!(clock.timer.acknowledged, 3);
    }

    #[test]
    fn an_alarm_that_is_put_off_does_not_move_the_timer() {
        let mut clock = Clock::new(Fake::default(), None);
        clock.set_alarm(0, Some(100), silent);
        for deadline in 200..300 {
            clock.set_alarm(0, Some(deadline), silent);
        }
        clock.set_alarm(1, None, silent);
        assert_eq!(clock.timer.settings, 1);
        assert_eq!(rung(&mut clock, 100), []);
        assert_eq!(clock.timer.alarm, Some(299));
        assert_eq!(rung(&mut clock, 299), [0]);
    }

    #[test]
    fn an_alarm_in_the_past_rings_at_once() {
        let mut clock = Clock::new(
            Fake {
                now: 50,
                ..Fake::default()
            },
            None,
        );
        let mut rung = Vec::new();
        clock.set_alarm(7, Some(50), |client| rung.push(client));
        clock.set_alarm(8, Some(0), |client| rung.push(client));
        assert_eq!(rung, [7, 8]);
        clock.set_alarm(CLIENTS, Some(0), silent);
    }

    #[test]
    fn time_that_goes_by_while_the_timer_is_set_loses_no_alarm() {
        let mut clock = Clock::new(
            Fake {
                speed: 10,
                ..Fake::default()
            },
            None,
        );
        let mut rung = Vec::new();
        for client in 0..CLIENTS {
            clock.set_alarm(client, Some(15 + client as u64), |client| rung.push(client));
        }
        rung.sort_unstable();
        assert_eq!(rung, (0..CLIENTS).collect::<Vec<_>>());
    }

    #[test]
    fn wall_clock_time_runs_with_the_counter() {
        let mut clock = Clock::new(
            Fake {
                now: 5,
                ..Fake::default()
            },
            Some(1_000),
        );
        assert_eq!(clock.wall(), Some(1_000 * NANOSECONDS));
        clock.timer.now = 7;
        assert_eq!(clock.wall(), Some(1_000 * NANOSECONDS + 2));
        assert_eq!(Clock::new(Fake::default(), None).wall(), None);
        assert_eq!(Clock::new(Fake::default(), Some(u64::MAX)).wall(), None);
    }

    proptest! {
        /// Every alarm that is not replaced rings once, not before its time, and no later than the timer allows.
        #[test]
        fn alarms_ring_once_and_in_time(
            steps in proptest::collection::vec((0usize..5, proptest::option::of(0u64..50), 0u64..20), 1..100),
        ) {
            let mut clock = Clock::new(Fake::default(), None);
            let mut expected = [None; CLIENTS];
            for (client, delay, pause) in steps {
                let now = clock.timer.now;
                let deadline = delay.map(|delay| now + delay);
                expected[client] = deadline;
                let mut rung = Vec::new();
                clock.set_alarm(client, deadline, |client| rung.push(client));
                clock.timer.now += pause;
                if clock.timer.alarm.is_some_and(|alarm| alarm <= clock.timer.now) {
                    clock.alarm(|client| rung.push(client));
                }
                for client in rung {
                    let deadline: Option<u64> = expected[client].take();
                    prop_assert!(deadline.is_some_and(|deadline| deadline <= clock.timer.now));
                }
                let late = expected.iter().flatten().find(|deadline| **deadline <= clock.timer.now);
                prop_assert_eq!(late, None);
            }
        }
    }
}
