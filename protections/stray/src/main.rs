//! `stray` is a network driver that gives its device an address that is not its own, for the tests of the IOMMU.
//!
//! Duties: ask the gateway for its hardware address (ARP), with a receive buffer that lies outside of all memory that this
//! PD has: just behind its memory for transfers, where the board's file has that of the next PD. Say what the device
//! makes of it. Then ask once more, with a buffer inside, and say what came: so the network did answer, and the first
//! answer did go somewhere.
//!
//! With an entropy device instead, this program is the next PD: it says where its memory for transfers lies, and does
//! nothing. What became of that memory, the test reads from outside. It never polls.
#![no_std]
#![no_main]

mod nic;

use pd::{error, info};
use sel4_microkit::{ChannelSet, Handler, Infallible, protection_domain};

use crate::nic::{Attempt, Nic};

/// None for the bystander, and when the device cannot be driven.
struct Stray(Option<Nic>);

#[protection_domain]
fn init() -> Stray {
    let own = nic::own_memory();
    info!(
        "memory for transfers {:#x} {:#x}",
        own.physical, own.span.size
    );
    if device::wiring().kind != "virtio-net" {
        return Stray(None);
    }
    let nic = Nic::open().and_then(|mut nic| {
        nic.ask(Attempt::Outside)?;
        Ok(nic)
    });
    Stray(nic.inspect_err(|error| error!("{error}")).ok())
}

impl Handler for Stray {
    type Error = Infallible;

    fn notified(&mut self, channels: ChannelSet) -> Result<(), Infallible> {
        let interrupt = device::interrupt();
        if !channels.contains(interrupt) {
            return Ok(());
        }
        if let Some(nic) = &mut self.0
            && let Some((attempt, outcome)) = nic.outcome()
        {
            info!("{attempt}: {outcome}");
            if attempt == Attempt::Outside
                && let Err(error) = nic.ask(Attempt::Inside)
            {
                error!("{error}");
            }
        }
        device::acknowledge(interrupt);
        Ok(())
    }
}
