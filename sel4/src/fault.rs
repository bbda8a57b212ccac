//! Fault messages.

use crate::kernel::abi::fault;
use crate::{IpcBuffer, MessageInfo};

/// What a thread did that the kernel could not go on with (seL4 manual, section "Fault Delivery"). The particulars are in
/// the message registers; the crate `symbols` reads them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// No fault, or one that the kernel does not document.
    NullFault(NullFault),
    /// A system call on a capability that is not there.
    CapFault(CapFault),
    /// A system call number that does not exist.
    UnknownSyscall(UnknownSyscall),
    /// An exception of the processor.
    UserException(UserException),
    /// An access to memory that is not mapped so.
    VmFault(VmFault),
}

impl Fault {
    /// The fault that a message from the kernel describes.
    pub fn new(_: &IpcBuffer, info: &MessageInfo) -> Self {
        match info.label() {
            fault::CAP => Self::CapFault(CapFault(())),
            fault::UNKNOWN_SYSCALL => Self::UnknownSyscall(UnknownSyscall(())),
            fault::USER_EXCEPTION => Self::UserException(UserException(())),
            fault::VM => Self::VmFault(VmFault(())),
            _ => Self::NullFault(NullFault(())),
        }
    }
}

/// See [`Fault::NullFault`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NullFault(());

/// See [`Fault::CapFault`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapFault(());

/// See [`Fault::UnknownSyscall`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownSyscall(());

/// See [`Fault::UserException`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserException(());

/// See [`Fault::VmFault`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmFault(());
