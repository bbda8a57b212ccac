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

use channel::status::{Counter, Publisher};
use channel::time::Time;
use pd::{info, warn};
use sel4_microkit::{ChannelSet, Handler, Infallible, protection_domain};
use tcpip::{Consumer, Keys, Notice, Policy, Settings, Stack};

#[protection_domain]
fn init() -> TcpIp {
    let time = pd::time();
    let mut stack = start(&time).unwrap_or_else(|error| panic!("{error}"));
    let counters =
        pd::status("status").map_or(Vec::new(), |publisher| counters(publisher, &mut stack));
    let mut tcpip = TcpIp {
        stack,
        time,
        counters,
    };
    tcpip.run();
    tcpip
}

fn start(time: &Time) -> Result<Stack, Box<dyn Error>> {
    let settings = Settings::from_wiring(pd::wiring())?;
    let mut consumers = Vec::new();
    for (connection, provider) in pd::streams_providers("clients") {
        let policy = Policy::from_connection(connection)?;
        consumers.push(Consumer {
            name: connection.peer.clone(),
            policy,
            provider,
        });
    }
    let mut random = [0; Keys::LENGTH];
    pd::fill_random(&mut random)?;
    let packets = pd::packets_stack("packets");
    Ok(Stack::new(
        settings,
        packets,
        consumers,
        Keys::from(random),
        time.now()?,
    )?)
}

fn counters(mut publisher: Publisher, stack: &mut Stack) -> Vec<Counter> {
    let entries = stack.counters().entries();
    entries
        .iter()
        .map_while(|(name, _)| publisher.counter(name))
        .collect()
}

struct TcpIp {
    stack: Stack,
    time: Time,
    /// What the status page reads, in the order of [`tcpip::Counters::entries`].
    counters: Vec<Counter>,
}

impl TcpIp {
    fn run(&mut self) {
        // Without the time nothing can be done; the next notification tries again.
        let Ok(now) = self.time.now() else { return };
        let next = self.stack.run(now);
        if let Some(alarm) = next.alarm {
            let _ = self.time.set_alarm(Some(alarm));
        }
        while let Some(notice) = self.stack.notice() {
            match notice {
                Notice::Addresses(_) => info!("{notice}"),
                _ => warn!("{notice}"),
            }
        }
        for (counter, (_, value)) in self
            .counters
            .iter_mut()
            .zip(self.stack.counters().entries())
        {
            counter.set(value);
        }
    }
}

impl Handler for TcpIp {
    type Error = Infallible;

    fn notified(&mut self, _: ChannelSet) -> Result<(), Infallible> {
        self.run();
        Ok(())
    }
}
