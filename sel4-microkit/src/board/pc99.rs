//! The back end for seL4 5.0.0 on x86_64: no MCS, so no reply objects and no joined send and receive.
//!
//! Endpoint badges have 28 bits there, too few for Microkit's bits 62 and 63. So the initialiser marks the badges of
//! *notification* capabilities, which have 64 bits, with bit 63; a badge without it is an endpoint's. No PD can
//! forge one: badges are in capabilities.

use sel4::{Badge, IpcBuffer, MessageInfo, cap};

use crate::DeferredAction;
use crate::ipc::Source;

/// Where a PD's capabilities are (Microkit 2.3.0's `microkit.h`).
pub(crate) mod slot {
    pub(crate) const INPUT: u64 = 1;
    pub(crate) const NOTIFICATIONS: u64 = 10;
    pub(crate) const ENDPOINTS: u64 = 74;
    pub(crate) const IRQS: u64 = 138;
    pub(crate) const CHILDREN: u64 = 202;
}

/// The last page but one of the address space. The last one stays empty: a `syscall` at its end would return to an
/// address that is not canonical.
const IPC_BUFFER: usize = 0x7fff_ffff_e000;

/// The address behind the stack's last byte. Between it and the IPC buffer is a page that is not mapped.
pub const STACK_TOP: usize = IPC_BUFFER - 0x1000;

const INPUT: cap::Endpoint = cap::Endpoint::from_bits(slot::INPUT);

const SIGNAL_BADGE: Badge = 1 << 63;
const CALL_BADGE: Badge = 1 << 27;
const FAULT_BADGE: Badge = 1 << 26;

/// The first receive: without scheduling contexts there are no passive PDs.
pub(crate) fn receive_first(action: Option<DeferredAction>) -> (MessageInfo, Badge) {
    receive(None, action)
}

pub(crate) fn receive(
    reply: Option<MessageInfo>,
    action: Option<DeferredAction>,
) -> (MessageInfo, Badge) {
    if let Some(Err(error)) = action.map(DeferredAction::execute_now) {
        panic!("deferred action: {error}");
    }
    match reply {
        Some(info) => INPUT.reply_recv(info),
        None => INPUT.recv(),
    }
}

/// This kernel lets the registers of whoever used them last be, until somebody else uses them. Only after 65 returns from
/// the kernel without that it takes them to be out of use and saves them: `CONFIG_FPU_MAX_RESTORES_SINCE_SWITCH` is 64.
pub(crate) fn save_vector_registers() {
    for _ in 0..=65 {
        sel4::r#yield();
    }
}

/// Before anything else that speaks to the kernel.
pub(crate) fn set_ipc_buffer() {
    // SAFETY: the builder maps the page for this purpose alone, and this is the first and only reference to it.
    sel4::set_ipc_buffer(unsafe { &mut *(IPC_BUFFER as *mut IpcBuffer) });
}

/// The kernel keeps the caller's reply capability in the thread until the next receive.
pub(crate) fn answer_stranded_caller(info: MessageInfo) {
    // SAFETY: as above; whoever held a reference to it has faulted and does not go on.
    sel4::pc99::reply(unsafe { &mut *(IPC_BUFFER as *mut IpcBuffer) }, info);
}

pub(crate) fn source(badge: Badge) -> Source {
    if badge & SIGNAL_BADGE != 0 {
        Source::Signals(badge & !SIGNAL_BADGE)
    } else if badge & CALL_BADGE != 0 {
        Source::Call(badge & !CALL_BADGE)
    } else {
        Source::Fault(badge & !FAULT_BADGE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn badges_tell_signals_calls_and_faults_apart() {
        assert_eq!(source(SIGNAL_BADGE | 0b101), Source::Signals(0b101));
        assert_eq!(
            source(SIGNAL_BADGE | CALL_BADGE | FAULT_BADGE),
            Source::Signals(1 << 27 | 1 << 26),
            "channels 26 and 27 signalled"
        );
        assert_eq!(source(CALL_BADGE | 61), Source::Call(61));
        assert_eq!(source(FAULT_BADGE | 7), Source::Fault(7));
    }
}
