//! Fault messages.

use crate::kernel::abi::fault;
use crate::{IpcBuffer, MessageInfo, Word};

/// What a thread did that the kernel could not go on with (seL4 manual, section 6).
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
    pub fn new(ipc_buffer: &IpcBuffer, info: &MessageInfo) -> Self {
        let word = |index: usize| ipc_buffer.msg_regs()[index];
        match info.label() {
            fault::CAP => Self::CapFault(CapFault {
                ip: word(fault::CAP_IP),
                addr: word(fault::CAP_ADDRESS),
                in_receive_phase: word(fault::CAP_IN_RECEIVE) != 0,
            }),
            fault::UNKNOWN_SYSCALL => Self::UnknownSyscall(UnknownSyscall {
                fault_ip: word(fault::SYSCALL_IP),
                syscall: word(fault::SYSCALL_NUMBER),
            }),
            fault::USER_EXCEPTION => Self::UserException(UserException {
                fault_ip: word(fault::EXCEPTION_IP),
                stack: word(fault::EXCEPTION_STACK),
                number: word(fault::EXCEPTION_NUMBER),
                code: word(fault::EXCEPTION_CODE),
            }),
            fault::VM => Self::VmFault(VmFault {
                ip: word(fault::VM_IP),
                addr: word(fault::VM_ADDRESS),
                prefetch: word(fault::VM_PREFETCH) != 0,
                fsr: word(fault::VM_STATUS),
            }),
            label => Self::NullFault(NullFault { label }),
        }
    }
}

/// See [`Fault::NullFault`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NullFault {
    label: Word,
}

impl NullFault {
    /// The message's label.
    pub fn label(&self) -> Word {
        self.label
    }
}

/// See [`Fault::CapFault`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapFault {
    ip: Word,
    addr: Word,
    in_receive_phase: bool,
}

impl CapFault {
    /// The instruction.
    pub fn ip(&self) -> Word {
        self.ip
    }

    /// The capability pointer.
    pub fn addr(&self) -> Word {
        self.addr
    }

    /// Whether the thread was about to receive.
    pub fn in_recv_phase(&self) -> bool {
        self.in_receive_phase
    }
}

/// See [`Fault::UnknownSyscall`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownSyscall {
    fault_ip: Word,
    syscall: Word,
}

impl UnknownSyscall {
    /// The instruction.
    pub fn fault_ip(&self) -> Word {
        self.fault_ip
    }

    /// The system call's number.
    pub fn syscall(&self) -> Word {
        self.syscall
    }
}

/// See [`Fault::UserException`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserException {
    fault_ip: Word,
    stack: Word,
    number: Word,
    code: Word,
}

impl UserException {
    /// The instruction.
    pub fn fault_ip(&self) -> Word {
        self.fault_ip
    }

    /// The stack pointer.
    pub fn stack(&self) -> Word {
        self.stack
    }

    /// Which exception: the vector on x86_64, ESR on aarch64, scause on riscv64.
    pub fn number(&self) -> Word {
        self.number
    }

    /// The exception's error code; 0 where the processor has none.
    pub fn code(&self) -> Word {
        self.code
    }
}

/// See [`Fault::VmFault`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmFault {
    ip: Word,
    addr: Word,
    prefetch: bool,
    fsr: Word,
}

impl VmFault {
    /// The instruction.
    pub fn ip(&self) -> Word {
        self.ip
    }

    /// The address that it touched.
    pub fn addr(&self) -> Word {
        self.addr
    }

    /// Whether the processor was fetching an instruction. Without an NX bit (pc99) it does not tell: there this is
    /// false, and a fetch shows in that [`addr`](Self::addr) is [`ip`](Self::ip).
    pub fn is_prefetch(&self) -> bool {
        self.prefetch
    }

    /// The processor's fault status: the page fault's error code on x86_64, ESR on aarch64, scause on riscv64. The
    /// crate `symbols` knows what it says.
    pub fn fsr(&self) -> Word {
        self.fsr
    }
}
