//! `pci` owns PCI configuration space, which is authority over every device on the bus: whoever writes there can
//! place a device's registers over another's and let it write to all memory.
//!
//! Duties: at start, give the functions that have a driver in this system the addresses that the board fixes, let
//! them master the bus, and take that from all others. Later, read for a driver what its own function says.
//!
//! It must never write to configuration space after its start, and never answer for another function
//! than the caller's: that one follows from the channel, not from the request. It calls nobody but the log's
//! clock, so that no driver can make it wait.
#![no_std]
#![no_main]

extern crate alloc;

mod clients;

use channel::CallError;
use channel::pci::Request;
use device::PortRange;
use pci::Space;
use pd::Message;
use sel4_microkit::{Channel, ChannelSet, Handler, Infallible, MessageInfo, protection_domain};

use crate::clients::Clients;

struct Pci {
    space: Space<PortRange>,
    clients: Clients,
}

#[protection_domain]
fn init() -> Pci {
    let mut space = Space::new(device::ports());
    let clients = Clients::set_up(&mut space);
    Pci { space, clients }
}

impl Handler for Pci {
    type Error = Infallible;

    /// The clock rings all who may set alarms when it starts; here there is none.
    fn notified(&mut self, _: ChannelSet) -> Result<(), Infallible> {
        Ok(())
    }

    fn protected(&mut self, from: Channel, info: MessageInfo) -> Result<MessageInfo, Infallible> {
        let mut words = [0; 64];
        let result = self.answer(from, &pd::request(&info), &mut words);
        Ok(pd::answer(result, &words))
    }
}

impl Pci {
    fn answer(
        &mut self,
        from: Channel,
        message: &Message,
        words: &mut [u64],
    ) -> Result<usize, CallError> {
        let client = self.clients.find(from).ok_or(CallError::BadRequest)?;
        let description = client.description.as_ref().ok_or(CallError::Unavailable)?;
        match Request::decode(message.label, &message.words)? {
            Request::Describe => Ok(description.encode(words)),
            Request::Read { register } => {
                let offset = u8::try_from(register).map_err(|_| CallError::BadRequest)?;
                words[0] = self.space.read(client.address, offset).into();
                Ok(1)
            }
        }
    }
}
