//! The TCP/IP stack between the network driver and the protection domains that use byte streams.
//!
//! Duties: to wire the component `tcpip` to its channels, to ask for the time once a wake-up, and to set
//! the alarm that the component wants. It trusts neither the network, nor the driver, nor its consumers, and never
//! waits for one of them; it calls only the clock and the entropy source, whose priorities are higher.
//! Without randomness it does not start: its sequence numbers could be guessed.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::error::Error;

use channel::time::Time;
use sel4_microkit::{ChannelSet, Handler, Infallible, protection_domain};
use tcpip::{Consumer, Keys, Policy, Settings, Stack};

struct TcpIp {
    stack: Stack,
    time: Time,
}

#[protection_domain]
fn init() -> TcpIp {
    let mut tcpip = TcpIp::new().unwrap_or_else(|error| panic!("{error}"));
    tcpip.work();
    tcpip
}

impl TcpIp {
    fn new() -> Result<Self, Box<dyn Error>> {
        let settings = Settings::from_wiring(pd::wiring())?;
        let mut consumers = Vec::new();
        for (connection, provider) in pd::streams_providers("clients") {
            let policy = Policy::from_connection(connection)?;
            let name = connection.peer.clone();
            consumers.push(Consumer {
                name,
                policy,
                provider,
            });
        }
        let mut random = [0; Keys::LENGTH];
        pd::fill_random(&mut random)?;
        let (time, packets) = (pd::time(), pd::packets_stack("packets"));
        let keys = Keys::from(random);
        let mut stack = Stack::new(settings, packets, consumers, keys, time.now()?)?;
        pd::status("status")
            .into_iter()
            .for_each(|publisher| stack.publish(publisher));
        Ok(Self { stack, time })
    }

    fn work(&mut self) {
        // Without the time nothing can be done; the next notification tries again.
        let Ok(now) = self.time.now() else { return };
        let next = self.stack.run(now);
        if let Some(alarm) = next.alarm {
            let _ = self.time.set_alarm(Some(alarm));
        }
        while let Some(notice) = self.stack.notice() {
            pd::info!("{notice}");
        }
    }
}

impl Handler for TcpIp {
    type Error = Infallible;

    fn notified(&mut self, _: ChannelSet) -> Result<(), Infallible> {
        self.work();
        Ok(())
    }
}
