//! `clock` owns the timer and the real-time clock.
//!
//! Duties: tell the time since the start and, if the real-time clock holds one, the wall-clock time; ring
//! each client once when its alarm is due.
//!
//! It must never wait for a client and never call anyone: nearly every protection domain calls it, so whom it called
//! would hold them all. It never polls: one interrupt of the timer serves the earliest alarm. The real-time clock
//! is read once, at the start, since a reading may take 2 ms.
//!
//! After a fault it starts over: the counters run on, so that the time does not go back, but the alarms are forgotten. So at
//! every start it rings all clients, who then set their alarms anew.
#![no_std]
#![no_main]

extern crate alloc;

mod timers;

use alloc::boxed::Box;

use channel::CallError;
use channel::time::Request;
use channel::uptime::Publisher;
use clock::{Clock, Timer};
use sel4_microkit::{Channel, ChannelSet, Handler, Infallible, MessageInfo, protection_domain};

struct Time {
    /// None without a usable timer: then all calls are refused.
    clock: Option<Clock<Box<dyn Timer>>>,
    /// Published for the supervisor, which may not call this PD.
    uptime: Option<Publisher>,
    interrupt: Channel,
}

#[protection_domain]
fn init() -> Time {
    let found = timers::find();
    let found = found.inspect_err(|error| pd::error!("{error}")).ok();
    let clock = found.map(|(timer, wall)| Clock::new(timer, wall));
    for (_, client) in pd::server_channels("clients") {
        client.notify();
    }
    Time {
        uptime: uptime(clock.is_some()),
        clock,
        interrupt: device::interrupt(),
    }
}

/// Returns the publisher of the time, if PDs may read the processor's counter. On aarch64 the
/// kernel decides that; where it allows it, that counter is the timer.
fn uptime(found: bool) -> Option<Publisher> {
    let readable = !cfg!(target_arch = "aarch64") || device::wiring().kind == "arm-timer";
    (found && readable).then(|| pd::uptime("uptime")).flatten()
}

impl Handler for Time {
    type Error = Infallible;

    fn notified(&mut self, channels: ChannelSet) -> Result<(), Infallible> {
        if channels.contains(self.interrupt) {
            if let Some(clock) = &mut self.clock {
                clock.alarm(ring);
            }
            device::acknowledge(self.interrupt);
        }
        Ok(())
    }

    fn protected(&mut self, from: Channel, info: MessageInfo) -> Result<MessageInfo, Infallible> {
        let message = pd::request(&info);
        let request = Request::decode(message.label, &message.words);
        let result = request.and_then(|request| self.answer(from, request));
        let words = result.as_ref().map_or(&[][..], Option::as_slice);
        Ok(pd::answer(result.map(|_| words.len()), words))
    }
}

impl Time {
    fn answer(&mut self, from: Channel, request: Request) -> Result<Option<u64>, CallError> {
        let clock = self.clock.as_mut().ok_or(CallError::Unavailable)?;
        match request {
            Request::Now => {
                let now = clock.now();
                if let Some(uptime) = &mut self.uptime {
                    uptime.publish(pd::processor_counter(), now);
                }
                Ok(Some(now))
            }
            Request::Wall => clock.wall().ok_or(CallError::Unavailable).map(Some),
            Request::SetAlarm(deadline) => {
                clock.set_alarm(from.index(), deadline, ring);
                Ok(None)
            }
        }
    }
}

fn ring(client: usize) {
    Channel::new(client).notify();
}
