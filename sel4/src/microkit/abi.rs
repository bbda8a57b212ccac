//! Numbers of the kernel's interface, from the SDK's headers.

use crate::Word;

#[allow(missing_docs)]
mod sdk {
    include!(concat!(env!("OUT_DIR"), "/constants.rs"));
}

/// Message registers.
pub const MESSAGE_REGISTERS: usize = sdk::MESSAGE_REGISTERS as usize;
/// The mask of a tag's label, after shifting (seL4 manual 16, section "Message Info").
pub const LABEL_MASK: Word = (1 << 52) - 1;
/// Where a tag's label begins.
pub const LABEL_SHIFT: usize = 12;
/// Words of a thread's registers.
pub const USER_CONTEXT_WORDS: usize = sdk::USER_CONTEXT_WORDS as usize;
/// Which of them is the instruction pointer.
pub const USER_CONTEXT_PC: usize = sdk::USER_CONTEXT_PC as usize;
/// Which of them is the stack pointer.
pub const USER_CONTEXT_SP: usize = sdk::USER_CONTEXT_SP as usize;
/// Where the SDK's tool maps the IPC buffer: the last page of user level.
pub const IPC_BUFFER: usize = sdk::IPC_BUFFER as usize;
/// The label that acknowledges an interrupt.
pub const IRQ_ACK: Word = sdk::IRQ_ACK;

/// Labels of fault messages.
#[allow(missing_docs)]
pub mod fault {
    use super::sdk;
    use crate::Word;

    pub const CAP: Word = sdk::FAULT_CAP;
    pub const UNKNOWN_SYSCALL: Word = sdk::FAULT_UNKNOWN_SYSCALL;
    pub const USER_EXCEPTION: Word = sdk::FAULT_USER_EXCEPTION;
    pub const VM: Word = sdk::FAULT_VM;
}

/// Where a PD's capabilities are: what `microkit.h` says.
#[allow(missing_docs)]
pub mod slot {
    use super::sdk;
    use crate::Word;

    pub const MONITOR: Word = sdk::SLOT_MONITOR;
    pub const NOTIFICATIONS: Word = sdk::SLOT_NOTIFICATIONS;
    pub const ENDPOINTS: Word = sdk::SLOT_ENDPOINTS;
    pub const IRQS: Word = sdk::SLOT_IRQS;
    pub const CHILDREN: Word = sdk::SLOT_CHILDREN;
}

/// Labels of invocations, named as in the kernel's own headers. On other processors there are no I/O ports.
#[cfg(target_arch = "x86_64")]
#[allow(non_upper_case_globals, missing_docs)]
pub mod invocation_label {
    use super::sdk;

    pub const X86IOPortIn8: u32 = sdk::IO_PORT_IN_8 as u32;
    pub const X86IOPortIn32: u32 = sdk::IO_PORT_IN_32 as u32;
    pub const X86IOPortOut8: u32 = sdk::IO_PORT_OUT_8 as u32;
    pub const X86IOPortOut32: u32 = sdk::IO_PORT_OUT_32 as u32;
}
