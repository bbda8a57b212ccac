//! The `http` protection domain: serves a site and the system's status over HTTP/1.1.
//!
//! Duties: answers requests from the connections that its `streams` port brings, from the TCP stack or from
//! TLS alike; bounds what each may take up in memory and time; shows the counters of the protection domains
//! whose status it may read.
//!
//! Prohibitions: it holds no secret and asks for none. It reads a request's head from memory that a neighbour
//! can write once only, and never waits for a peer: one that does not move holds up only its own connection.
#![no_std]
#![no_main]

extern crate alloc;

mod system;

use core::convert::Infallible;

use http::Service;
use sel4_microkit::{ChannelSet, Handler, protection_domain};
use system::System;

struct Http {
    service: Service<System>,
    time: channel::time::Time,
    alarm: Option<u64>,
    last: u64,
}

#[protection_domain]
fn init() -> Http {
    let mut http = Http {
        service: system::service(),
        time: pd::time(),
        alarm: None,
        last: 0,
    };
    http.work();
    http
}

impl Handler for Http {
    type Error = Infallible;

    fn notified(&mut self, _: ChannelSet) -> Result<(), Infallible> {
        self.work();
        Ok(())
    }
}

impl Http {
    /// Rounds of bounded work until the connections are idle.
    fn work(&mut self) {
        loop {
            let now = self.now();
            match self.service.poll(now) {
                Ok(turn) => {
                    self.set_alarm(turn.deadline, now);
                    if !turn.more {
                        return;
                    }
                }
                Err(peer) => return self.service.server().state.misbehaved(peer),
            }
        }
    }

    /// Monotonic nanoseconds; should the clock refuse, the time stands still and no connection expires.
    fn now(&mut self) -> u64 {
        self.last = self.time.now().unwrap_or(self.last);
        self.last
    }

    /// Calls the clock only for a deadline that is earlier than the alarm that is set.
    fn set_alarm(&mut self, deadline: Option<u64>, now: u64) {
        self.alarm = self.alarm.filter(|alarm| *alarm > now);
        if let Some(deadline) = deadline
            && self.alarm.is_none_or(|alarm| deadline < alarm)
            && self.time.set_alarm(Some(deadline)).is_ok()
        {
            self.alarm = Some(deadline);
        }
    }
}
