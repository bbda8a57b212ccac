//! Memory that two protection domains share: all `unsafe` of this crate.
//!
//! A region is carved from its front into *words* (atomic 64-bit cells for indices, flags and descriptors)
//! and *bytes* (payload). Both sides carve in the same order, so they agree on every offset.
//!
//! | type | who writes | access |
//! |---|---|---|
//! | [`OwnRegion`], [`OwnWords`], [`OwnBytes`] | this side alone | plain |
//! | [`PeerRegion`], [`PeerWords`], [`PeerBytes`] | the peer, at any moment | words: one atomic load; bytes: one copy out |
//!
//! # Views of a peer's bytes
//!
//! [`PeerBytes::view`] and [`PeerBytes::view_mut`] give slices of memory that the peer may change while they are
//! read, for code that reads a payload exactly once on its way to somewhere else (smoltcp emits a segment
//! from it, rustls seals a record from it). Rust's rules for references do not foresee such memory, so the
//! *constructor* [`PeerRegion::new`] is unsafe and its caller vouches for every view. Who uses a view keeps
//! to this contract:
//!
//! * Read each byte at most once, and copy or consume it in that pass. Never check a byte and then read it
//!   again from the view: the second read may differ.
//! * Never interpret it in place (no parsing, no lengths, no UTF-8).
//! * Never write through it; the memory is mapped read-only and the PD would fault.
//!
//! What the peer changes meanwhile then only changes the bytes of the peer's own stream. An optimisation
//! barrier behind each view and copy keeps the compiler from reading again later what it read before.

#[cfg(not(loom))]
mod mapped;
#[cfg(loom)]
mod modelled;

#[cfg(not(loom))]
use mapped as backing;
#[cfg(loom)]
use modelled as backing;

pub(crate) use backing::store_load_fence;
pub use backing::{OwnBytes, OwnRegion, OwnWords, PeerBytes, PeerRegion, PeerWords};
#[cfg(loom)]
pub(crate) use modelled::pair as modelled_pair;

/// Words in a cache line: what the two sides write lies in different lines. A model has none.
pub(crate) const LINE: usize = if cfg!(loom) { 1 } else { 8 };

/// Overwrites bytes of a ring that the peer is done with, so that the compiler cannot leave the writes out. Does nothing with
/// `--cfg selkie_unwiped`, in the control build of `selkie audit secrets`.
#[allow(unsafe_code)]
#[inline(never)]
pub(crate) fn wipe_spent(bytes: &mut [u8]) {
    if cfg!(selkie_unwiped) {
        return;
    }
    bytes.fill(0);
    // SAFETY: no instruction is emitted. As far as the compiler knows the bytes are read here, so the stores above stay.
    #[cfg(not(any(miri, loom)))]
    unsafe {
        core::arch::asm!("/* {0} */", in(reg) bytes.as_ptr(), options(nostack, preserves_flags));
    }
}

/// Overwrites words that held a secret, so that the compiler cannot leave the writes out.
#[allow(unsafe_code)]
#[inline(never)]
pub fn wipe(words: &mut [u64]) {
    for word in words {
        // SAFETY: `word` is a valid, aligned, exclusive reference.
        unsafe { core::ptr::write_volatile(word, 0) };
    }
}
