//! System calls, as `kernel.c` exports them.

use crate::{IpcBuffer, Word};

/// What a receiving system call delivers.
#[repr(C)]
pub(super) struct Received {
    pub(super) info: Word,
    pub(super) badge: Word,
}

// SAFETY: the declarations are those of kernel.c. Of memory, the functions use only the IPC buffer and the variable
// that libsel4 finds it in; an IPC buffer from the wrong place or a wrong capability is the kernel's to refuse.
unsafe extern "C" {
    safe fn selkie_send(buffer: &mut IpcBuffer, target: Word, info: Word);
    safe fn selkie_nb_send(buffer: &mut IpcBuffer, target: Word, info: Word);
    safe fn selkie_call(buffer: &mut IpcBuffer, target: Word, info: Word) -> Word;
    safe fn selkie_recv(buffer: &mut IpcBuffer, source: Word, reply: Word) -> Received;
    safe fn selkie_reply_recv(
        buffer: &mut IpcBuffer,
        source: Word,
        info: Word,
        reply: Word,
    ) -> Received;
    safe fn selkie_nb_send_recv(
        buffer: &mut IpcBuffer,
        target: Word,
        info: Word,
        source: Word,
        reply: Word,
    ) -> Received;
    safe fn selkie_signal(notification: Word);
    safe fn selkie_yield();
    safe fn selkie_debug_put_char(byte: u8);
}

/// Sends; blocks until somebody receives.
pub(crate) fn send(target: Word, info: Word, buffer: &mut IpcBuffer) {
    selkie_send(buffer, target, info);
}

/// Sends if somebody waits.
pub(crate) fn nb_send(target: Word, info: Word, buffer: &mut IpcBuffer) {
    selkie_nb_send(buffer, target, info);
}

/// Sends and waits for the answer.
pub(crate) fn call(target: Word, info: Word, buffer: &mut IpcBuffer) -> Word {
    selkie_call(buffer, target, info)
}

/// Signals a notification.
pub(crate) fn signal(notification: Word) {
    selkie_signal(notification);
}

/// Lets the other threads of this priority run.
pub(crate) fn r#yield() {
    selkie_yield();
}

/// Prints a byte; nothing in kernels that do not print.
pub(crate) fn debug_put_char(byte: u8) {
    selkie_debug_put_char(byte);
}

pub(super) fn recv(source: Word, reply: Word, buffer: &mut IpcBuffer) -> Received {
    selkie_recv(buffer, source, reply)
}

pub(super) fn reply_recv(
    source: Word,
    info: Word,
    reply: Word,
    buffer: &mut IpcBuffer,
) -> Received {
    selkie_reply_recv(buffer, source, info, reply)
}

pub(super) fn nb_send_recv(
    (target, info): (Word, Word),
    source: Word,
    reply: Word,
    buffer: &mut IpcBuffer,
) -> Received {
    selkie_nb_send_recv(buffer, target, info, source, reply)
}
