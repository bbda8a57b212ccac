//! Receiving. This kernel keeps whom to answer in the thread.

use super::syscall::{self, Number};
use crate::ipc_buffer::with_ipc_buffer_mut;
use crate::{Badge, IpcBuffer, MessageInfo, Word, cap};

impl cap::Endpoint {
    /// Waits for a message, or for a signal on the notification that is bound to this thread.
    pub fn recv(self) -> (MessageInfo, Badge) {
        receive(Number::Recv, self.bits(), 0)
    }

    /// Answers the last call, then waits like [`recv`](Self::recv).
    pub fn reply_recv(self, info: MessageInfo) -> (MessageInfo, Badge) {
        receive(Number::ReplyRecv, self.bits(), info.word())
    }
}

impl cap::Notification {
    /// Waits for a signal; returns the word.
    pub fn wait(self) -> Badge {
        receive(Number::Recv, self.bits(), 0).1
    }
}

/// Answers the last call; does nothing when there is none.
pub fn reply(ipc_buffer: &mut IpcBuffer, info: MessageInfo) {
    syscall::reply(info.word(), ipc_buffer);
}

fn receive(number: Number, source: Word, info: Word) -> (MessageInfo, Badge) {
    let (info, badge) =
        with_ipc_buffer_mut(|buffer| syscall::receive(number, source, info, buffer));
    (MessageInfo::from_word(info), badge)
}
