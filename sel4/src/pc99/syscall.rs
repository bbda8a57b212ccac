//! The system call instruction.
//!
//! Calling convention of seL4 5.0.0 (libsel4, x86_64): rdx holds the system call's number, rdi the capability
//! pointer (back: the badge), rsi the message tag, and r10, r8, r9, r15 the first four message registers. `syscall`
//! itself destroys rcx and r11. The kernel does not keep rsp on this path, so it is parked in r14.

use core::arch::asm;

use crate::{IpcBuffer, Word};

/// The message registers that travel in registers of the processor.
type Direct = [Word; 4];

/// System call numbers.
#[derive(Clone, Copy)]
#[repr(i64)]
pub(super) enum Number {
    Call = -1,
    ReplyRecv = -2,
    Send = -3,
    NbSend = -4,
    Recv = -5,
    Reply = -6,
    Yield = -7,
    DebugPutChar = -9,
    DebugCapIdentify = -11,
    DebugNameThread = -13,
}

/// What a receiving system call delivers.
struct Received {
    badge: Word,
    info: Word,
    direct: Direct,
}

/// Sends; blocks until somebody receives.
pub(crate) fn send(target: Word, info: Word, buffer: &mut IpcBuffer) {
    exchange(Number::Send, target, info, direct(buffer));
}

/// Sends if somebody waits.
pub(crate) fn nb_send(target: Word, info: Word, buffer: &mut IpcBuffer) {
    exchange(Number::NbSend, target, info, direct(buffer));
}

/// Sends and waits for the answer.
pub(crate) fn call(target: Word, info: Word, buffer: &mut IpcBuffer) -> Word {
    receive(Number::Call, target, info, buffer).0
}

/// Signals a notification.
pub(crate) fn signal(notification: Word) {
    exchange(Number::Send, notification, 0, [0; 4]);
}

/// Lets the other threads of this priority run.
pub(crate) fn r#yield() {
    exchange(Number::Yield, 0, 0, [0; 4]);
}

/// Answers the last call.
pub(super) fn reply(info: Word, buffer: &mut IpcBuffer) {
    exchange(Number::Reply, 0, info, direct(buffer));
}

/// A system call that sends and receives: tag and badge.
pub(super) fn receive(
    number: Number,
    target: Word,
    info: Word,
    buffer: &mut IpcBuffer,
) -> (Word, Word) {
    let received = exchange(number, target, info, direct(buffer));
    buffer.msg_regs_mut()[..4].copy_from_slice(&received.direct);
    (received.info, received.badge)
}

/// The message registers that travel in registers of the processor.
fn direct(buffer: &IpcBuffer) -> Direct {
    let regs = buffer.msg_regs();
    [regs[0], regs[1], regs[2], regs[3]]
}

/// Any system call.
#[inline]
fn exchange(number: Number, target: Word, info: Word, direct: Direct) -> Received {
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
    exchange(Number::DebugPutChar, byte.into(), 0, [0; 4]);
}

/// The kind of a capability; an unknown system call in kernels that do not print.
pub(super) fn debug_cap_identify(capability: Word) -> Word {
    exchange(Number::DebugCapIdentify, capability, 0, [0; 4]).badge
}

/// Names a thread by the text in the message registers; an unknown system call in kernels that do not print.
pub(crate) fn debug_name_thread(thread: Word) {
    exchange(Number::DebugNameThread, thread, 0, [0; 4]);
}
