//! The back end for the kernels of a Microkit SDK. They are MCS kernels: whom to answer is in a reply object, and a send
//! that blocks nobody can be joined with the receive.

use core::sync::atomic::{AtomicU64, Ordering};

use sel4::{Badge, IpcBuffer, MessageInfo, cap, cap_type};

use sel4::microkit::abi;
pub(crate) use sel4::microkit::abi::slot;

use crate::ipc::Source;
use crate::{DeferredAction, DeferredActionInterface, pd_is_passive};

/// Where the SDK's tool maps it.
const IPC_BUFFER: usize = abi::IPC_BUFFER;

/// The address behind the stack's last byte. Between it and the IPC buffer is a page that is not mapped.
pub const STACK_TOP: usize = IPC_BUFFER - 0x1000;

/// These two are in libmicrokit's `main.c` and in no header.
const INPUT: cap::Endpoint = cap::Endpoint::from_bits(1);
const REPLY: cap::Reply = cap::Reply::from_bits(4);

/// A passive PD tells the monitor here that it is ready to be without a scheduling context.
const MONITOR: cap::Unspecified = cap::Unspecified::from_bits(slot::MONITOR);

/// What the first receive answers: the label for the caller of a passive PD that starts over; 0 if it does not.
static OWED: AtomicU64 = AtomicU64::new(0);

/// The first receive. A passive PD gives up its scheduling context in the same system call, so that it waits already
/// when it has none any more; one that starts over has done so before.
pub(crate) fn receive_first(action: Option<DeferredAction>) -> (MessageInfo, Badge) {
    if !pd_is_passive() {
        return receive(None, action);
    }
    let owed = OWED.swap(0, Ordering::Relaxed);
    if owed != 0 {
        return receive(Some(MessageInfo::new(owed, 0, 0, 0)), action);
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

/// An MCS kernel saves them whenever it switches to another thread that uses them, so any protected call to a PD that
/// does will do. A yield would give away the rest of a budget instead.
pub(crate) fn save_vector_registers() {}

/// Before anything else that speaks to the kernel.
pub(crate) fn set_ipc_buffer() {
    // SAFETY: the tool maps the page for this purpose alone, and this is the first and only reference to it.
    sel4::set_ipc_buffer(unsafe { &mut *(IPC_BUFFER as *mut IpcBuffer) });
}

/// The reply object holds the caller. The next receive would bind it to another one, and that caller would wait for
/// ever. A message without content touches no message register in memory, and sending to a reply object that holds
/// nobody does nothing.
///
/// A passive PD runs on its caller's scheduling context here, which goes back with the answer: it would stand still before
/// it could receive. So it begins again first, and the first receive answers. If the fault was in a notification, it runs on
/// that of its notification object, which the receive gives back; if it was before the first receive of all, it keeps its own
/// from then on.
pub(crate) fn answer_stranded_caller(info: MessageInfo) {
    match pd_is_passive() {
        true => OWED.store(info.label(), Ordering::Relaxed),
        false => REPLY.send(info),
    }
}

pub(crate) fn source(badge: Badge) -> Source {
    Source::of_microkit(badge)
}
