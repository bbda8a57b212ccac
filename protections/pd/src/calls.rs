//! Protected procedure calls over Microkit's message registers.

use channel::{Call, OK, Reply};
use heapless::Vec;
use sel4_microkit::{Channel, MessageInfo, with_msg_regs, with_msg_regs_mut};

/// Most words of a message: 512 bytes hold an RSA-4096 signature.
pub const MAX_WORDS: usize = 64;

/// The client's end of a channel.
pub(crate) struct Client(pub Channel);

impl Call for Client {
    fn call(&self, label: u64, request: &[u64], reply: &mut [u64]) -> Reply {
        let count = request.len().min(MAX_WORDS);
        with_msg_regs_mut(|registers| registers[..count].copy_from_slice(&request[..count]));
        let answer = self.0.pp_call(MessageInfo::new(label, count));
        let count = answer.count().min(reply.len()).min(MAX_WORDS);
        with_msg_regs_mut(|registers| {
            reply[..count].copy_from_slice(&registers[..count]);
            // The answer may be a secret, such as random bytes.
            registers[..count].fill(0);
        });
        Reply {
            label: answer.label(),
            count,
        }
    }
}

/// A request, copied out of the message registers.
pub struct Message {
    /// What is asked.
    pub label: u64,
    /// Its arguments.
    pub words: Vec<u64, MAX_WORDS>,
}

/// The request that `protected` was called with; words beyond 64 are dropped.
pub fn request(info: &MessageInfo) -> Message {
    let count = info.count().min(MAX_WORDS);
    let words = with_msg_regs(|registers| registers[..count].iter().copied().collect());
    Message {
        label: info.label(),
        words,
    }
}

/// The answer that `protected` returns: so many of the words, or the error's label.
pub fn answer<E: Into<u64>>(result: Result<usize, E>, words: &[u64]) -> MessageInfo {
    match result {
        Ok(count) => {
            let count = count.min(words.len()).min(MAX_WORDS);
            with_msg_regs_mut(|registers| registers[..count].copy_from_slice(&words[..count]));
            MessageInfo::new(OK, count)
        }
        Err(error) => MessageInfo::new(error.into(), 0),
    }
}
