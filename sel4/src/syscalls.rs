//! System calls on endpoints and notifications. Receiving is the back ends', since MCS kernels want a reply object for it.

use crate::ipc_buffer::with_ipc_buffer_mut;
use crate::kernel::syscall;
use crate::{Cap, CapType, MessageInfo, cap};

impl<T: CapType> Cap<T> {
    /// Sends the message registers; blocks until they are received.
    pub fn send(self, info: MessageInfo) {
        with_ipc_buffer_mut(|buffer| syscall::send(self.bits(), info.word(), buffer));
    }

    /// Sends the message registers if somebody waits for them, else does nothing.
    pub fn nb_send(self, info: MessageInfo) {
        with_ipc_buffer_mut(|buffer| syscall::nb_send(self.bits(), info.word(), buffer));
    }

    /// Sends the message registers and waits for the answer. There is no time-out: a server that dies strands the
    /// caller until somebody resets one of the two.
    pub fn call(self, info: MessageInfo) -> MessageInfo {
        MessageInfo::from_word(with_ipc_buffer_mut(|buffer| {
            syscall::call(self.bits(), info.word(), buffer)
        }))
    }
}

impl cap::Notification {
    /// Sets the capability's badge in the notification's word and wakes who waits for it.
    pub fn signal(self) {
        syscall::signal(self.bits());
    }
}

/// Lets the other threads of this priority run.
pub fn r#yield() {
    syscall::r#yield();
}
