//! A PD's entry points and the loop that runs them.

use core::fmt;

pub use core::convert::Infallible;

use crate::ipc::{self, Event};
use crate::{Channel, ChannelSet, Child, DeferredAction, MessageInfo, symbols};

/// The entry points of a PD. Each runs to its end before the next event is received.
pub trait Handler {
    /// What makes a PD give up: it is shown as a panic.
    type Error: fmt::Display;

    /// Signals came on these channels. Several signals on one channel may have become one.
    ///
    /// # Errors
    /// Whatever the PD cannot go on with.
    fn notified(&mut self, channels: ChannelSet) -> Result<(), Self::Error> {
        panic!(
            "unexpected notification from channels {}",
            channels.display()
        )
    }

    /// The PD at the other end of `channel` calls; the result answers it.
    ///
    /// # Errors
    /// Whatever the PD cannot go on with.
    fn protected(
        &mut self,
        channel: Channel,
        msg_info: MessageInfo,
    ) -> Result<MessageInfo, Self::Error> {
        panic!("unexpected protected procedure call from {channel:?} with {msg_info:?}")
    }

    /// A child faulted. With an answer the child goes on at the instruction that faulted.
    ///
    /// # Errors
    /// Whatever the PD cannot go on with.
    fn fault(
        &mut self,
        child: Child,
        msg_info: MessageInfo,
    ) -> Result<Option<MessageInfo>, Self::Error> {
        panic!("unexpected fault of {child:?} with {msg_info:?}")
    }

    /// Something that is to be done right before the next receive.
    fn take_deferred_action(&mut self) -> Option<DeferredAction> {
        None
    }

    #[doc(hidden)]
    fn run(&mut self) -> Result<Never, Self::Error> {
        acknowledge_interrupts();
        let mut event = ipc::receive_first(self.take_deferred_action());
        loop {
            let reply = match event {
                Event::Notified(channels) => {
                    self.notified(channels)?;
                    None
                }
                Event::Protected(channel, msg_info) => Some(self.protected(channel, msg_info)?),
                Event::Fault(child, msg_info) => self.fault(child, msg_info)?,
            };
            event = ipc::receive(reply, self.take_deferred_action());
        }
    }
}

/// Interrupts that came before the PD was ready are let through again (seL4 issue 1536).
fn acknowledge_interrupts() {
    let irqs = symbols::pd_irqs();
    for index in (0..usize::BITS as usize).filter(|index| irqs & (1 << index) != 0) {
        let acknowledged = Channel::new(index).irq_ack();
        assert!(
            acknowledged.is_ok(),
            "interrupt channel {index}: {acknowledged:?}"
        );
    }
}

#[doc(hidden)]
pub enum Never {}

impl Handler for Never {
    type Error = Infallible;
}

/// A handler for a PD that expects no event.
pub struct NullHandler(());

impl NullHandler {
    /// The handler.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(())
    }
}

impl Handler for NullHandler {
    type Error = Infallible;
}
