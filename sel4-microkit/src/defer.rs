//! Actions that the receive point carries out, so that a kernel that can joins them with the receive.

use crate::{Channel, IrqAckError};

/// A signal or an acknowledgement, to be done before the next receive.
#[derive(Debug, Copy, Clone, Eq, PartialEq)]
pub struct DeferredAction {
    channel: Channel,
    interface: DeferredActionInterface,
}

/// What a [`DeferredAction`] does.
#[derive(Debug, Copy, Clone, Eq, PartialEq)]
pub enum DeferredActionInterface {
    /// [`Channel::notify`].
    Notify,
    /// [`Channel::irq_ack`].
    IrqAck,
}

impl DeferredAction {
    /// An action on this channel.
    pub fn new(channel: Channel, interface: DeferredActionInterface) -> Self {
        Self { channel, interface }
    }

    /// [`Channel::notify`] on this channel.
    pub fn new_notify(channel: Channel) -> Self {
        Self::new(channel, DeferredActionInterface::Notify)
    }

    /// [`Channel::irq_ack`] on this channel.
    pub fn new_irq_ack(channel: Channel) -> Self {
        Self::new(channel, DeferredActionInterface::IrqAck)
    }

    /// The channel.
    pub fn channel(&self) -> Channel {
        self.channel
    }

    /// What is done on it.
    pub fn interface(&self) -> DeferredActionInterface {
        self.interface
    }

    /// Does it.
    ///
    /// # Errors
    /// Those of [`Channel::irq_ack`].
    pub fn execute_now(self) -> Result<(), IrqAckError> {
        match self.interface {
            DeferredActionInterface::Notify => {
                self.channel.notify();
                Ok(())
            }
            DeferredActionInterface::IrqAck => self.channel.irq_ack(),
        }
    }
}

/// Room for one [`DeferredAction`]: a second one makes the first be done at once.
#[derive(Debug, Default)]
pub struct DeferredActionSlot {
    inner: Option<DeferredAction>,
}

impl DeferredActionSlot {
    /// An empty slot.
    pub const fn new() -> Self {
        Self { inner: None }
    }

    /// Empties the slot.
    pub fn take(&mut self) -> Option<DeferredAction> {
        self.inner.take()
    }

    /// Fills the slot; what was in it is done.
    ///
    /// # Errors
    /// Those of [`Channel::irq_ack`].
    pub fn defer(&mut self, action: DeferredAction) -> Result<(), IrqAckError> {
        self.inner
            .replace(action)
            .map_or(Ok(()), DeferredAction::execute_now)
    }

    /// [`defer`](Self::defer) of [`Channel::notify`].
    ///
    /// # Errors
    /// Those of [`Channel::irq_ack`].
    pub fn defer_notify(&mut self, channel: Channel) -> Result<(), IrqAckError> {
        self.defer(DeferredAction::new_notify(channel))
    }

    /// [`defer`](Self::defer) of [`Channel::irq_ack`].
    ///
    /// # Errors
    /// Those of [`Channel::irq_ack`].
    pub fn defer_irq_ack(&mut self, channel: Channel) -> Result<(), IrqAckError> {
        self.defer(DeferredAction::new_irq_ack(channel))
    }
}
