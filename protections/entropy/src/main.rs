//! `entropy` gives all protection domains their random numbers.
//!
//! Duties: hear two sources, a virtio device and the processor's instruction, watch their health, and give out
//! nothing before both were heard; take new noise every mebibyte and every five minutes.
//!
//! It must never give out bytes of which it cannot say that nobody can predict them: an unseeded generator
//! refuses. It must never let its state or what it gave out remain where another could find it: its heap
//! wipes what is freed, buffers on the stack are wiped (the message registers hold the last answer until the next
//! message). It waits for nobody but, once and within bounds, at its
//! start for the device: clients start after it, and would find it unseeded. After a fault it starts over, and is seeded anew.
#![no_std]
#![no_main]

mod refresh;
mod sources;

use channel::CallError;
use channel::random::{MAX_BYTES, Request, encode};
use sel4_microkit::{Channel, ChannelSet, Handler, Infallible, MessageInfo, protection_domain};
use zeroize::Zeroizing;

use crate::sources::Sources;

struct Random {
    sources: Sources,
    interrupt: Channel,
}

#[protection_domain]
fn init() -> Random {
    pd::wipe_released_memory();
    let mut sources = Sources::new();
    sources.wait_for_seed();
    refresh::set_alarm();
    Random {
        sources,
        interrupt: device::interrupt(),
    }
}

impl Handler for Random {
    type Error = Infallible;

    fn notified(&mut self, channels: ChannelSet) -> Result<(), Infallible> {
        if channels.contains(self.interrupt) {
            self.sources.interrupt();
            device::acknowledge(self.interrupt);
        }
        if channels.iter().any(|channel| channel != self.interrupt) {
            self.sources.entropy.refresh();
            refresh::set_alarm();
        }
        self.sources.feed();
        Ok(())
    }

    fn protected(&mut self, _: Channel, info: MessageInfo) -> Result<MessageInfo, Infallible> {
        let message = pd::request(&info);
        let mut words = Zeroizing::new([0; MAX_BYTES / 8]);
        let result = Request::decode(message.label, &message.words)
            .and_then(|Request::Fill { bytes }| self.fill(bytes, &mut *words));
        Ok(pd::answer(result, &*words))
    }
}

impl Random {
    fn fill(&mut self, bytes: usize, words: &mut [u64]) -> Result<usize, CallError> {
        let mut buffer = Zeroizing::new([0; MAX_BYTES]);
        let buffer = buffer.get_mut(..bytes).ok_or(CallError::BadRequest)?;
        self.sources
            .entropy
            .fill(buffer)
            .map_err(|_| CallError::Unavailable)?;
        self.sources.feed();
        Ok(encode(buffer, words))
    }
}
