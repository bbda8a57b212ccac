//! `console` owns the serial port and writes the log lines of all protection domains (PDs) to it.
//!
//! Duties: print every line with its time and the name of the PD that wrote it (which follows from the channel, so
//! no PD can speak for another), and say how many lines of a PD were lost.
//!
//! It must never wait for the serial line: while the line is slow, lines stay in the PDs' own rings, and these
//! overflow instead of blocking anyone. It calls nobody. After a fault it starts over with the port; lines that it had taken and
//! not printed are lost.
#![no_std]
#![no_main]

extern crate alloc;

mod clients;
mod port;

use alloc::boxed::Box;

use log_line::Console;
use sel4_microkit::{ChannelSet, Handler, Infallible, debug_println, protection_domain};
use uart::Transmitter;

use crate::clients::Clients;

struct Serial {
    uart: Option<Box<dyn Transmitter>>,
    console: Console,
    clients: Clients,
}

#[protection_domain]
fn init() -> Serial {
    let uart = port::open();
    let uart = uart.inspect_err(|error| debug_println!("{error}")).ok();
    let (console, clients) = (Console::after_others(), Clients::new());
    let mut serial = Serial {
        uart,
        console,
        clients,
    };
    serial.work();
    serial
}

impl Handler for Serial {
    type Error = Infallible;

    fn notified(&mut self, channels: ChannelSet) -> Result<(), Infallible> {
        let interrupted = channels.contains(device::interrupt());
        if interrupted && let Some(uart) = &mut self.uart {
            uart.acknowledge();
        }
        self.work();
        if interrupted {
            device::acknowledge(device::interrupt());
        }
        Ok(())
    }
}

impl Serial {
    /// Prints until there is nothing to print, or the line is busy and will interrupt.
    fn work(&mut self) {
        loop {
            let pending = self.console.pending();
            // Without a port, lines are thrown away.
            let uart = self.uart.as_mut();
            let sent = uart.map_or(pending.len(), |uart| uart.write(pending));
            self.console.sent(sent);
            if !self.console.has_room() {
                return;
            }
            let lines = self.clients.fetch();
            if !lines.is_empty() {
                self.console.push(&self.clients.names(), lines);
            } else if self.clients.sleep() {
                return;
            }
        }
    }
}
