//! The back end for the kernels of a Microkit SDK. They are MCS kernels: whom to answer is in a reply object, and a send
//! that blocks nobody can be joined with the receive.

use sel4::{Badge, MessageInfo, cap, cap_type};

use sel4::microkit::abi;
pub(crate) use sel4::microkit::abi::slot;

use crate::ipc::Source;
use crate::{DeferredAction, DeferredActionInterface, pd_is_passive};

/// Where the SDK's tool maps it.
#[cfg(selkie_freestanding)]
pub(crate) const IPC_BUFFER: usize = abi::IPC_BUFFER;

/// These two are in libmicrokit's `main.c` and in no header.
const INPUT: cap::Endpoint = cap::Endpoint::from_bits(1);
const REPLY: cap::Reply = cap::Reply::from_bits(4);

/// A passive PD tells the monitor here that it is ready to be without a scheduling context.
const MONITOR: cap::Unspecified = cap::Unspecified::from_bits(slot::MONITOR);

/// The first receive. A passive PD gives up its scheduling context in the same system call, so that it waits already
/// when it has none any more.
pub(crate) fn receive_first(action: Option<DeferredAction>) -> (MessageInfo, Badge) {
    if !pd_is_passive() {
        return receive(None, action);
    }
    if let Some(action) = action {
        let (target, info) = prepare(action);
        target.send(info);
    }
    MONITOR.nb_send_recv(MessageInfo::new(0, 0, 0, 0), INPUT, REPLY)
}

pub(crate) fn receive(
    reply: Option<MessageInfo>,
    action: Option<DeferredAction>,
) -> (MessageInfo, Badge) {
    match (reply, action.map(prepare)) {
        (Some(info), action) => {
            if let Some((target, info)) = action {
                target.send(info);
            }
            INPUT.reply_recv(info, REPLY)
        }
        (None, Some((target, info))) => target.nb_send_recv(info, INPUT, REPLY),
        (None, None) => INPUT.recv(REPLY),
    }
}

/// What an action sends, and where. Neither blocks; nothing answers, so message registers stay as they are.
fn prepare(action: DeferredAction) -> (sel4::Cap<cap_type::Unspecified>, MessageInfo) {
    let channel = action.channel();
    match action.interface() {
        DeferredActionInterface::Notify => {
            (channel.notification().cast(), MessageInfo::new(0, 0, 0, 0))
        }
        DeferredActionInterface::IrqAck => (
            channel.irq_handler().cast(),
            MessageInfo::new(abi::IRQ_ACK, 0, 0, 0),
        ),
    }
}

pub(crate) fn source(badge: Badge) -> Source {
    Source::of_microkit(badge)
}
