//! Receiving. An MCS kernel keeps whom to answer in a reply object.

use super::syscall::{self, Received};
use crate::ipc_buffer::with_ipc_buffer_mut;
use crate::{Badge, Cap, CapType, MessageInfo, cap};

impl<T: CapType> Cap<T> {
    /// Waits for a message, or for a signal on the notification that is bound to this thread. A caller can be answered
    /// through `reply` afterwards; one that still waited for that will wait for ever.
    pub fn recv(self, reply: cap::Reply) -> (MessageInfo, Badge) {
        delivered(with_ipc_buffer_mut(|buffer| {
            syscall::recv(self.bits(), reply.bits(), buffer)
        }))
    }

    /// Answers the caller in `reply`, then waits like [`recv`](Self::recv).
    pub fn reply_recv(self, info: MessageInfo, reply: cap::Reply) -> (MessageInfo, Badge) {
        delivered(with_ipc_buffer_mut(|buffer| {
            syscall::reply_recv(self.bits(), info.word(), reply.bits(), buffer)
        }))
    }

    /// Sends the message registers if somebody waits for them, then receives from `source`, in one system call.
    pub fn nb_send_recv<U: CapType>(
        self,
        info: MessageInfo,
        source: Cap<U>,
        reply: cap::Reply,
    ) -> (MessageInfo, Badge) {
        delivered(with_ipc_buffer_mut(|buffer| {
            let send = (self.bits(), info.word());
            syscall::nb_send_recv(send, source.bits(), reply.bits(), buffer)
        }))
    }
}

fn delivered(received: Received) -> (MessageInfo, Badge) {
    (MessageInfo::from_word(received.info), received.badge)
}
