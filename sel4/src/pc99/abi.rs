//! Numbers and layouts of seL4 5.0.0's interface for x86_64, as the configuration in `system/kernel` makes them
//! (one core, IOMMU support compiled in, no VT-x, no debug registers, no huge pages).

use crate::Word;

/// Message registers.
pub const MESSAGE_REGISTERS: usize = 120;
/// The mask of a tag's label, after shifting.
pub const LABEL_MASK: Word = 0xf_ffff;
/// Where a tag's label begins.
pub const LABEL_SHIFT: usize = 12;
/// Words of a thread's registers: rip, rsp, rflags, rax … r15, TLS base.
pub const USER_CONTEXT_WORDS: usize = 19;
/// Which of them is the instruction pointer.
pub const USER_CONTEXT_PC: usize = 0;
/// Which of them is the stack pointer.
pub const USER_CONTEXT_SP: usize = 1;
/// log2 of the bytes of a capability slot.
pub const SLOT_BITS: u8 = 5;
/// Bits of an endpoint capability's badge; the kernel cuts the rest.
pub const ENDPOINT_BADGE_BITS: u8 = 28;

/// Labels of fault messages.
#[allow(missing_docs)]
pub mod fault {
    use crate::Word;

    pub const CAP: Word = 1;
    pub const UNKNOWN_SYSCALL: Word = 2;
    pub const USER_EXCEPTION: Word = 3;
    pub const VM: Word = 5;
}

/// Labels of invocations.
#[allow(missing_docs)]
pub mod label {
    use crate::Word;

    pub const UNTYPED_RETYPE: Word = 1;
    pub const TCB_READ_REGISTERS: Word = 2;
    pub const TCB_WRITE_REGISTERS: Word = 3;
    pub const TCB_CONFIGURE: Word = 5;
    pub const TCB_SUSPEND: Word = 10;
    pub const TCB_RESUME: Word = 11;
    pub const TCB_BIND_NOTIFICATION: Word = 12;
    pub const CNODE_DELETE: Word = 15;
    pub const CNODE_COPY: Word = 17;
    pub const CNODE_MINT: Word = 18;
    pub const IRQ_ACK: Word = 24;
    pub const IRQ_SET_NOTIFICATION: Word = 25;
    pub const PDPT_MAP: Word = 28;
    pub const PAGE_DIRECTORY_MAP: Word = 30;
    pub const PAGE_TABLE_MAP: Word = 33;
    pub const PAGE_MAP: Word = 37;
    pub const PAGE_UNMAP: Word = 39;
    pub const PAGE_GET_ADDRESS: Word = 41;
    pub const ASID_POOL_ASSIGN: Word = 43;
    pub const IRQ_ISSUE_IOAPIC: Word = 50;
}

/// Labels of invocations, named as in the kernel's own headers.
#[allow(non_upper_case_globals, missing_docs)]
pub mod invocation_label {
    pub const X86IOPortIn8: u32 = 44;
    pub const X86IOPortIn32: u32 = 46;
    pub const X86IOPortOut8: u32 = 47;
    pub const X86IOPortOut32: u32 = 49;
}
