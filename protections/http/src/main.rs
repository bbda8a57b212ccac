//! The `http` protection domain: serves a site and the system's status over HTTP/1.1.
//!
//! Duties: answers requests from the connections that its `streams` port brings, from the TCP stack or from
//! TLS alike; bounds what each may take up in memory and time; shows the counters of the protection domains
//! whose status it may read.
//!
//! Prohibitions: it holds no key and asks for none, and keeps nothing of what a connection carried: what it releases it
//! overwrites. It reads a request's head from memory that a neighbour
//! can write once only, and never waits for a peer: one that does not move holds up only its own connection.
#![no_std]
#![no_main]

extern crate alloc;

mod clock;
mod system;

use core::convert::Infallible;

use clock::Clock;
use http::Service;
use sel4_microkit::{ChannelSet, Handler, protection_domain};
use system::System;

struct Http {
    service: Service<System>,
    clock: Clock,
}

#[protection_domain]
fn init() -> Http {
    pd::wipe_released_memory();
    let service = system::service();
    let clock = Clock::new();
    let mut http = Http { service, clock };
    http.work();
    http
}

impl Handler for Http {
    type Error = Infallible;

    fn notified(&mut self, channels: ChannelSet) -> Result<(), Infallible> {
        self.clock.hear(channels);
        self.work();
        Ok(())
    }
}

impl Http {
    /// Rounds of bounded work until the connections are idle.
    fn work(&mut self) {
        loop {
            match self.service.poll(self.clock.now()) {
                Ok(turn) => {
                    self.clock.wake_by(turn.deadline);
                    if !turn.more {
                        return;
                    }
                }
                Err(peer) => return self.service.server().state.misbehaved(peer),
            }
        }
    }
}
