//! System calls on endpoints and notifications.

use crate::ipc_buffer::with_ipc_buffer_mut;
use crate::kernel::syscall::{self, Direct, Number};
use crate::{Badge, Cap, CapType, IpcBuffer, MessageInfo, Word, cap};

impl<T: CapType> Cap<T> {
    /// Sends the message registers; blocks until they are received.
    pub fn send(self, info: MessageInfo) {
        with_ipc_buffer_mut(|buffer| {
            syscall::send(Number::Send, self.bits(), info.word(), direct(buffer));
        });
    }

    /// Sends the message registers if somebody waits for them, else does nothing.
    pub fn nb_send(self, info: MessageInfo) {
        with_ipc_buffer_mut(|buffer| {
            syscall::send(Number::NbSend, self.bits(), info.word(), direct(buffer));
        });
    }

    /// Sends the message registers and waits for the answer. There is no time-out: a server that dies strands the
    /// caller until somebody resets one of the two.
    pub fn call(self, info: MessageInfo) -> MessageInfo {
        with_ipc_buffer_mut(|buffer| exchange(Number::Call, self.bits(), info.word(), buffer).0)
    }
}

impl cap::Endpoint {
    /// Waits for a message, or for a signal on the notification that is bound to this thread.
    pub fn recv(self) -> (MessageInfo, Badge) {
        with_ipc_buffer_mut(|buffer| exchange(Number::Recv, self.bits(), 0, buffer))
    }

    /// Answers the last call, then waits like [`recv`](Self::recv).
    pub fn reply_recv(self, info: MessageInfo) -> (MessageInfo, Badge) {
        with_ipc_buffer_mut(|buffer| exchange(Number::ReplyRecv, self.bits(), info.word(), buffer))
    }
}

impl cap::Notification {
    /// Sets the capability's badge in the notification's word and wakes who waits for it.
    pub fn signal(self) {
        syscall::send(Number::Send, self.bits(), 0, [0; 4]);
    }

    /// Waits for a signal; returns the word.
    pub fn wait(self) -> Badge {
        with_ipc_buffer_mut(|buffer| exchange(Number::Recv, self.bits(), 0, buffer).1)
    }
}

/// Answers the last call; does nothing when there is none.
pub fn reply(ipc_buffer: &mut IpcBuffer, info: MessageInfo) {
    syscall::send(Number::Reply, 0, info.word(), direct(ipc_buffer));
}

/// Lets the other threads of this priority run.
pub fn r#yield() {
    syscall::send(Number::Yield, 0, 0, [0; 4]);
}

/// The message registers that travel in registers of the processor.
fn direct(buffer: &IpcBuffer) -> Direct {
    let regs = buffer.msg_regs();
    [regs[0], regs[1], regs[2], regs[3]]
}

fn exchange(
    number: Number,
    target: Word,
    info: Word,
    buffer: &mut IpcBuffer,
) -> (MessageInfo, Badge) {
    let received = syscall::exchange(number, target, info, direct(buffer));
    buffer.msg_regs_mut()[..4].copy_from_slice(&received.direct);
    (MessageInfo::from_word(received.info), received.badge)
}
