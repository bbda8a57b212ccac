//! Where a protection domain (PD) goes on after a fault.
//!
//! The supervisor sends the thread to `_restart` or `_retire`, with all other registers zero. Nothing that the PD could
//! write is believed there: what is to be done stands in the wiring region, which it may only read, as the address of
//! that region does. In this order:
//!
//! 1. All memory that the PD alone writes is overwritten with zeros: data, heap, its own side of all channels, message
//!    registers. A region that a peer reads loses its first line, with the epoch, before the rest, so that the peer can
//!    tell (crate `channel`, module `epoch`).
//! 2. The initialised data is written anew.
//! 3. A caller whose protected call was in flight gets [`CallError::Restarted`]; it would wait for ever otherwise.
//! 4. The vector registers are zeroed, and with them the kernel's copy; then the whole stack, by code that uses none.
//! 5. `_restart` begins at `_start`. `_retire` wakes all peers, so that they find their channels dead, and refuses calls
//!    for ever, so that nobody hangs on a PD that is no more.

#[cfg_attr(target_arch = "x86_64", path = "x86_64.rs")]
#[cfg_attr(target_arch = "aarch64", path = "aarch64.rs")]
#[cfg_attr(target_arch = "riscv64", path = "riscv64.rs")]
mod entry;

use core::convert::Infallible;
use core::sync::atomic::{Ordering, fence};

use channel::CallError;
use sel4_microkit::restart::{answer_stranded_caller, notify_all};
use sel4_microkit::save_vector_registers;
use sel4_microkit::{Channel, ChannelSet, Handler, MessageInfo};
use wiring::{RestartImage, Span};

use crate::start::{heap_region, region};

/// Wipes, rebuilds, answers, and goes on at `next`.
extern "C" fn rebuild(next: usize) -> ! {
    let Ok(image) = RestartImage::of(region()) else {
        // A system that Selkie's builder did not make.
        panicked()
    };
    for span in image.wiped() {
        if cfg!(selkie_unwiped) && is_heap(span) {
            continue;
        }
        // SAFETY: the builder lists memory that this PD alone writes, in whole pages. None of it is in use: what used it
        // has faulted, and this function has its variables on the stack.
        unsafe { wipe_memory(span) };
    }
    let (address, data) = image.data();
    // SAFETY: the builder gives the place that the program's file has these bytes for.
    unsafe { core::ptr::copy_nonoverlapping(data.as_ptr(), address as *mut u8, data.len()) };
    answer_stranded_caller(MessageInfo::new(CallError::Restarted.label(), 0));
    entry::clear_vector_registers();
    save_vector_registers();
    let stack = image.stack();
    // SAFETY: the builder gives the stack's lowest address and its size in bytes, whole pages; `next` never returns.
    unsafe { entry::wipe_stack(stack.address, stack.size / 8, next) }
}

/// Whether the span is the heap, which the control build of `selkie audit secrets` does not wipe.
fn is_heap(span: Span) -> bool {
    heap_region().is_some_and(|heap| heap.addr().get() as u64 == span.address)
}

/// Overwrites a span with zeros, its first line before the rest.
///
/// # Safety
/// The span consists of whole pages that may be written and that nothing refers to.
unsafe fn wipe_memory(Span { address, size }: Span) {
    const LINE: u64 = 64;
    if size == 0 {
        return;
    }
    // SAFETY: the caller's promise; a page has more than one line.
    unsafe { wipe_words(address, LINE) };
    // What a peer sees of the rest, it sees after the first line.
    fence(Ordering::SeqCst);
    // SAFETY: as above.
    unsafe { wipe_words(address + LINE, size - LINE) };
}

/// Overwrites `size` bytes, whole words, with zeros.
///
/// # Safety
/// They may be written, and nothing refers to them.
#[inline(never)]
unsafe fn wipe_words(address: u64, size: u64) {
    let first = address as *mut u64;
    for word in 0..(size / 8) as usize {
        // SAFETY: the caller's promise. The compiler may not leave volatile stores out.
        unsafe { first.add(word).write_volatile(0) };
    }
}

extern "C" fn refuse() -> ! {
    notify_all();
    sel4_microkit::restart::run(Retired)
}

/// What is left of a PD that does not start over.
struct Retired;

impl Handler for Retired {
    type Error = Infallible;

    fn notified(&mut self, _: ChannelSet) -> Result<(), Infallible> {
        Ok(())
    }

    fn protected(&mut self, _: Channel, _: MessageInfo) -> Result<MessageInfo, Infallible> {
        Ok(MessageInfo::new(CallError::Unavailable.label(), 0))
    }
}

unsafe extern "C" {
    /// The runtime's: a fault, which the supervisor names.
    safe fn panicked() -> !;
}
