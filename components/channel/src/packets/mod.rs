//! Frames between a network driver and a stack.
//!
//! A pool of equal buffers, writable by both and by the device, and four rings of descriptors:
//!
//! | ring | from | to | carries |
//! |---|---|---|---|
//! | receive free | stack | driver | empty buffers for the device to fill |
//! | receive full | driver | stack | received frames |
//! | transmit full | stack | driver | frames to send |
//! | transmit free | driver | stack | buffers whose frame was sent |
//!
//! The first half of the pool's buffers receives, the second half transmits. Who holds a buffer has a token for
//! it that cannot be copied, and each side knows which buffers the other one holds: a descriptor for any other
//! buffer is [`PeerMisbehaved`]. The driver never reads payload; the stack copies a
//! received frame out once and builds frames to send in place.
//!
//! A frame begins at byte [`HEADROOM`] of its buffer, so that the driver can put a header in front of it.
//!
//! Either side may start over (`epoch`). All buffers are then as at first: the driver has those that receive, the stack those
//! that transmit. A driver's device may still read frames of a stack that is no more: the driver joins the next one only when
//! it has all of them back. A stack joins the next driver at once: that one begins with a device that it has reset.

mod driver;
mod stack;

pub use driver::Driver;
pub use stack::Stack;

use alloc::boxed::Box;
use alloc::vec;
use core::ptr::NonNull;

use crate::epoch::Epoch;
use crate::memory::{LINE, OwnRegion, PeerRegion};
use crate::read::Read;
use crate::{LayoutError, PeerMisbehaved, doorbell, epoch, ring};

/// Bytes in front of every frame, for the driver's use.
pub const HEADROOM: usize = 16;

/// News of returned buffers, which wakes only a side that waits for one.
const RETURNED: u64 = 2;
/// The words that tell the stack about the link.
const LINK_WORDS: usize = LINE;
/// Words of a descriptor: the buffer's index in the lower, the frame's length in the upper half.
const DESCRIPTOR: usize = 1;

/// How many buffers there are and how large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    buffers: usize,
    buffer_size: usize,
}

impl Layout {
    /// A pool of `buffers` buffers for each direction (a power of two, 2 to 1024) of `buffer_size` bytes
    /// (a multiple of 64, 128 to 65536).
    ///
    /// # Errors
    /// [`LayoutError::OutOfRange`] for other numbers.
    pub const fn new(buffers: usize, buffer_size: usize) -> Result<Self, LayoutError> {
        let sizes = buffer_size >= 128 && buffer_size <= 65536 && buffer_size.is_multiple_of(64);
        if !buffers.is_power_of_two() || buffers < 2 || buffers > 1024 || !sizes {
            return Err(LayoutError::OutOfRange);
        }
        Ok(Self {
            buffers,
            buffer_size,
        })
    }

    /// Buffers for each direction.
    pub const fn buffers(&self) -> usize {
        self.buffers
    }

    /// Bytes of a buffer.
    pub const fn buffer_size(&self) -> usize {
        self.buffer_size
    }

    /// The longest frame in bytes.
    pub const fn frame_size(&self) -> usize {
        self.buffer_size - HEADROOM
    }

    /// Bytes of the pool.
    pub const fn pool_size(&self) -> usize {
        2 * self.buffers * self.buffer_size
    }

    /// Bytes of the region that the provider (the driver) writes.
    pub const fn provider_size(&self) -> usize {
        8 * (self.rings_words() + LINK_WORDS)
    }

    /// Bytes of the region that the consumer (the stack) writes.
    pub const fn consumer_size(&self) -> usize {
        8 * self.rings_words()
    }

    /// Each side writes its epoch, its bell, two rings as a producer and two as a consumer.
    const fn rings_words(&self) -> usize {
        epoch::WORDS
            + doorbell::WORDS
            + 2 * ring::producer_words(self.buffers, DESCRIPTOR)
            + 2 * ring::consumer_words()
    }
}

/// What the driver knows of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The card's hardware address.
    pub address: [u8; 6],
    /// Whether a carrier is there.
    pub up: bool,
    /// The largest payload of a frame in bytes, without the Ethernet header.
    pub mtu: u16,
}

impl Link {
    const KNOWN: u64 = 1 << 63;
    const UP: u64 = 1 << 62;

    /// One word, so that it cannot be read half old and half new; the MTU has 14 bits of it.
    fn to_word(self) -> u64 {
        let address = self
            .address
            .iter()
            .fold(0, |word, &byte| word << 8 | u64::from(byte));
        let mtu = u64::from(self.mtu.min(0x3fff)) << 48;
        Self::KNOWN | if self.up { Self::UP } else { 0 } | mtu | address
    }

    fn from_word(word: u64) -> Option<Self> {
        let bytes = word.to_be_bytes();
        (word & Self::KNOWN != 0).then(|| Self {
            address: [bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7]],
            up: word & Self::UP != 0,
            mtu: (word >> 48 & 0x3fff) as u16,
        })
    }
}

/// A pool buffer for a received frame, in the hands of its present owner.
#[derive(Debug, PartialEq, Eq)]
pub struct ReceiveBuffer(u16);

/// A pool buffer for a frame to send, in the hands of its present owner.
#[derive(Debug, PartialEq, Eq)]
pub struct TransmitBuffer(u16);

/// What both kinds of buffer have.
pub trait Buffer: sealed::Sealed {
    /// The buffer's number in the pool.
    fn index(&self) -> usize;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::ReceiveBuffer {}
    impl Sealed for super::TransmitBuffer {}
}

impl Buffer for ReceiveBuffer {
    fn index(&self) -> usize {
        self.0.into()
    }
}

impl Buffer for TransmitBuffer {
    fn index(&self) -> usize {
        self.0.into()
    }
}

/// The pool's memory, which the peer and the device may write at any moment.
#[derive(Debug)]
pub struct Pool {
    base: NonNull<u8>,
}

// The pool is memory that two PDs and a device write, so it is neither an own nor a peer's region.
#[allow(unsafe_code)]
mod pool {
    use super::{HEADROOM, Layout, NonNull, Pool};

    // SAFETY: plain memory; nothing about it belongs to a thread.
    unsafe impl Send for Pool {}

    impl Pool {
        /// The pool at `base`.
        ///
        /// # Safety
        /// [`Layout::pool_size`] bytes are mapped there, readable and writable, for the rest of the program,
        /// and nothing else in this program refers to them. The caller accepts that the peer and the device
        /// change them while a view exists (see [`memory`](crate::memory)).
        pub unsafe fn new(base: NonNull<u8>) -> Self {
            Self { base }
        }

        /// The whole buffer, for a device to work on.
        pub(super) fn buffer(&self, layout: &Layout, index: usize) -> NonNull<[u8]> {
            // SAFETY: indices come from tokens, which are made for the pool's buffers only.
            let first = unsafe { self.base.add(index * layout.buffer_size) };
            NonNull::slice_from_raw_parts(first, layout.buffer_size)
        }

        /// Copies a frame out in one pass; `frame` is at most [`Layout::frame_size`] long.
        pub(super) fn copy_frame(&self, layout: &Layout, index: usize, frame: &mut [u8]) {
            let length = frame.len().min(layout.frame_size());
            let buffer = self.buffer(layout, index).cast::<u8>();
            // SAFETY: the frame's bytes lie in the buffer; `frame` is private memory and so apart from it.
            unsafe {
                let source = buffer.add(HEADROOM);
                core::ptr::copy_nonoverlapping(source.as_ptr(), frame.as_mut_ptr(), length);
            }
        }

        /// The place for a frame.
        pub(super) fn frame_mut(&mut self, layout: &Layout, index: usize) -> &mut [u8] {
            let buffer = self.buffer(layout, index).cast::<u8>();
            // SAFETY: the bytes lie in the buffer; who made the pool vouched for its views.
            unsafe {
                let first = buffer.add(HEADROOM);
                core::slice::from_raw_parts_mut(first.as_ptr(), layout.frame_size())
            }
        }
    }
}

/// The peer: the incarnation that this endpoint has joined, and whether the peer has violated the
/// protocol.
struct Peer {
    epoch: Epoch,
    failed: Option<PeerMisbehaved>,
}

impl Peer {
    fn new(own: &mut OwnRegion, peers: &mut PeerRegion) -> Result<Self, LayoutError> {
        Ok(Self {
            epoch: Epoch::new(own, peers)?,
            failed: None,
        })
    }

    fn check(&self) -> Result<(), PeerMisbehaved> {
        self.failed.map_or(Ok(()), Err)
    }

    /// Judges a read of the peer's words. Words that violate the protocol fail the port, unless the peer has restarted.
    fn judge<T>(&mut self, read: Result<T, PeerMisbehaved>) -> Result<Read<T>, PeerMisbehaved> {
        match read {
            Ok(value) => Ok(Read::Value(value)),
            Err(_) if self.epoch.has_changed() => Ok(Read::Restarted),
            Err(misbehaved) => Err(*self.failed.get_or_insert(misbehaved)),
        }
    }

    /// Judges a push as [`Peer::judge`] does. The caller continues in either case: the next
    /// [`Peer::check`] returns a violation, and the next check of the epoch detects a restart.
    fn judge_push(&mut self, pushed: Result<bool, PeerMisbehaved>) {
        let _ = self.judge(pushed);
    }
}

/// Which buffers of one direction the peer holds.
struct Lent {
    first: usize,
    peers: Box<[bool]>,
}

impl Lent {
    fn new(first: usize, count: usize, peers: bool) -> Self {
        Self {
            first,
            peers: vec![peers; count].into(),
        }
    }

    /// The peer holds all from now on.
    fn give_all(&mut self) {
        self.peers.fill(true);
    }

    /// The peer holds none any more; those that it held.
    fn take_all_back(&mut self) -> impl Iterator<Item = u16> {
        let held = self.peers.iter_mut().enumerate();
        held.filter_map(|(slot, peers)| {
            core::mem::take(peers).then_some((self.first + slot) as u16)
        })
    }

    fn give(&mut self, index: u16) {
        self.peers[usize::from(index) - self.first] = true;
    }

    /// Checks that the peer may return the buffer, and takes it back.
    fn take_back(&mut self, index: u32) -> Result<u16, PeerMisbehaved> {
        let slot = (index as usize)
            .checked_sub(self.first)
            .and_then(|slot| self.peers.get_mut(slot))
            .ok_or(PeerMisbehaved::NoSuchBuffer)?;
        if !core::mem::take(slot) {
            return Err(PeerMisbehaved::NotItsBuffer);
        }
        Ok(index as u16)
    }
}

fn descriptor(index: u16, length: usize) -> [u64; DESCRIPTOR] {
    [u64::from(index) | (length as u64) << 32]
}

/// Index and length of a descriptor.
fn parts([word]: [u64; DESCRIPTOR]) -> (u32, usize) {
    (word as u32, (word >> 32) as usize)
}
