//! Channels to other PDs and to interrupts, and children.

use core::fmt;

use crate::symbols::{pd_irqs, pd_notifications, pd_pps};
use crate::{MessageInfo, board};

/// Channels have identifiers 0 to 61 (Microkit manual, section "Channels").
const MAX_CHANNELS: usize = 62;

/// One end of a channel, or an interrupt.
#[derive(Debug, Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Channel {
    index: usize,
}

impl Channel {
    /// The channel with this identifier, 0 to 61.
    ///
    /// # Panics
    /// When the identifier is larger; at compile time, in a constant.
    pub const fn new(index: usize) -> Self {
        assert!(index < MAX_CHANNELS);
        Self { index }
    }

    /// The channel's identifier.
    pub const fn index(&self) -> usize {
        self.index
    }

    /// Signals the PD at the other end.
    ///
    /// # Panics
    /// When the system description does not let this PD notify on this channel.
    pub fn notify(&self) {
        self.notification().signal();
    }

    /// Lets the interrupt's next occurrence through.
    ///
    /// # Errors
    /// When the kernel refuses.
    ///
    /// # Panics
    /// When this channel is no interrupt.
    pub fn irq_ack(&self) -> Result<(), IrqAckError> {
        self.irq_handler().irq_handler_ack().map_err(IrqAckError)
    }

    /// Calls the PD at the other end and waits for its answer. There is no time-out.
    ///
    /// # Panics
    /// When the system description does not let this PD call on this channel.
    pub fn pp_call(&self, msg_info: MessageInfo) -> MessageInfo {
        MessageInfo::from_inner(self.endpoint().call(msg_info.into_inner()))
    }

    #[doc(hidden)]
    pub fn notification(&self) -> sel4::cap::Notification {
        self.cap("notify", pd_notifications(), board::slot::NOTIFICATIONS)
    }

    #[doc(hidden)]
    pub fn irq_handler(&self) -> sel4::cap::IrqHandler {
        self.cap("irq_ack", pd_irqs(), board::slot::IRQS)
    }

    #[doc(hidden)]
    pub fn endpoint(&self) -> sel4::cap::Endpoint {
        self.cap("pp_call", pd_pps(), board::slot::ENDPOINTS)
    }

    fn cap<T: sel4::CapType>(&self, method: &str, mask: usize, base: u64) -> sel4::Cap<T> {
        assert!(
            mask & (1 << self.index) != 0,
            "{method}: not valid for channel {}",
            self.index
        );
        sel4::Cap::from_bits(base + self.index as u64)
    }
}

/// The kernel's refusal to acknowledge an interrupt.
#[derive(Debug, PartialEq, Eq)]
pub struct IrqAckError(sel4::Error);

impl fmt::Display for IrqAckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot acknowledge the interrupt: {}", self.0)
    }
}

impl core::error::Error for IrqAckError {}

/// A PD whose faults this one handles.
#[derive(Debug, Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Child {
    index: usize,
}

impl Child {
    /// The child with this identifier, 0 to 61.
    pub const fn new(index: usize) -> Self {
        Self { index }
    }

    /// The child's identifier.
    pub const fn index(&self) -> usize {
        self.index
    }

    #[doc(hidden)]
    pub fn tcb(&self) -> sel4::cap::Tcb {
        sel4::Cap::from_bits(board::slot::CHILDREN + self.index as u64)
    }
}
