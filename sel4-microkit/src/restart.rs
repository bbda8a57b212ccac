//! What a protection domain (PD) that goes on after a fault needs of the kernel. Upstream has no such thing.
//!
//! Microkit's `microkit_pd_restart` (manual, section "libmicrokit") sets a PD's instruction pointer and nothing else: a
//! caller whose protected call was in flight would wait for ever, and memory is as it was. So whoever restarts a PD
//! sends it to an entry that rebuilds its memory, calls [`answer_stranded_caller`], and then begins again.

use crate::{Channel, Handler, MessageInfo, board, symbols};

pub use board::STACK_TOP;

/// Answers the caller whose protected call was in flight, at the latest with the first receive, without content; does nothing
/// when there is none. The label is not 0. The program's memory is as it was when the PD began.
pub fn answer_stranded_caller(info: MessageInfo) {
    board::set_ipc_buffer();
    board::answer_stranded_caller(info.into_inner());
}

/// Signals every PD that this one may signal: each finds that it is no more what it was.
pub fn notify_all() {
    let channels = symbols::pd_notifications();
    for index in (0..usize::BITS as usize).filter(|index| channels & (1 << index) != 0) {
        Channel::new(index).notify();
    }
}

/// Runs a handler instead of the program's own, from memory as it was when the PD began.
pub fn run(handler: impl Handler) -> ! {
    board::set_ipc_buffer();
    crate::entry::run_main(|| handler)
}
