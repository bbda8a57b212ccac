//! The system call instruction.
//!
//! Calling convention of seL4 5.0.0 (libsel4, x86_64): rdx holds the system call's number, rdi the capability
//! pointer (back: the badge), rsi the message tag, and r10, r8, r9, r15 the first four message registers. `syscall`
//! itself destroys rcx and r11. The kernel does not keep rsp on this path, so it is parked in r14.

use core::arch::asm;

use crate::Word;

/// The message registers that travel in registers of the processor.
pub(crate) type Direct = [Word; 4];

/// System call numbers.
#[derive(Clone, Copy)]
#[repr(i64)]
pub(crate) enum Number {
    Call = -1,
    ReplyRecv = -2,
    Send = -3,
    NbSend = -4,
    Recv = -5,
    Reply = -6,
    Yield = -7,
    DebugPutChar = -9,
    DebugNameThread = -13,
}

/// What a receiving system call delivers.
pub(crate) struct Received {
    pub(crate) badge: Word,
    pub(crate) info: Word,
    pub(crate) direct: Direct,
}

/// A system call that sends only.
#[inline]
pub(crate) fn send(number: Number, target: Word, info: Word, direct: Direct) {
    exchange(number, target, info, direct);
}

/// A system call that sends and receives.
#[inline]
pub(crate) fn exchange(number: Number, target: Word, info: Word, direct: Direct) -> Received {
    let [mut mr0, mut mr1, mut mr2, mut mr3] = direct;
    let (badge, tag);
    // SAFETY: the kernel keeps all registers but those named here, does not touch the stack, and writes no memory
    // but the thread's IPC buffer, which the compiler must take to be changed (no `nomem` option).
    unsafe {
        asm!(
            "mov r14, rsp",
            "syscall",
            "mov rsp, r14",
            in("rdx") number as i64,
            inlateout("rdi") target => badge,
            inlateout("rsi") info => tag,
            inlateout("r10") mr0,
            inlateout("r8") mr1,
            inlateout("r9") mr2,
            inlateout("r15") mr3,
            out("r14") _,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    Received {
        badge,
        info: tag,
        direct: [mr0, mr1, mr2, mr3],
    }
}

/// Prints a byte; an unknown system call in kernels that do not print.
pub(crate) fn debug_put_char(byte: u8) {
    send(Number::DebugPutChar, byte.into(), 0, [0; 4]);
}

/// Names a thread by the text in the message registers; an unknown system call in kernels that do not print.
pub(crate) fn debug_name_thread(thread: Word) {
    send(Number::DebugNameThread, thread, 0, [0; 4]);
}
