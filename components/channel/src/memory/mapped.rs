//! Regions in the PD's address space.
#![allow(unsafe_code)]

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering, fence};

use crate::LayoutError;

/// Orders every store before it and every load after it, on all cores (a store-load barrier).
pub(crate) fn store_load_fence() {
    fence(Ordering::SeqCst);
}

/// Memory that only this side writes and the peer maps read-only.
#[derive(Debug)]
pub struct OwnRegion(Front);

/// Memory that the peer writes: everything in it is hostile.
#[derive(Debug)]
pub struct PeerRegion(Front);

/// The part of a region that has not been carved yet.
#[derive(Debug)]
struct Front {
    base: NonNull<u8>,
    size: usize,
}

// SAFETY: a region is plain memory; nothing about it belongs to a thread.
unsafe impl Send for Front {}

impl Front {
    fn new(base: NonNull<u8>, size: usize) -> Result<Self, LayoutError> {
        if !base.as_ptr().addr().is_multiple_of(align_of::<AtomicU64>()) {
            return Err(LayoutError::Unaligned);
        }
        Ok(Self { base, size })
    }

    /// The first `size` bytes, which no later call gives again.
    fn carve(&mut self, size: usize) -> Result<NonNull<u8>, LayoutError> {
        let rest = self.size.checked_sub(size).ok_or(LayoutError::TooSmall)?;
        let piece = self.base;
        // SAFETY: `size` bytes are left, so the result is in the region or one behind its end.
        self.base = unsafe { piece.add(size) };
        self.size = rest;
        Ok(piece)
    }

    fn carve_words(&mut self, count: usize) -> Result<&'static [AtomicU64], LayoutError> {
        if !self
            .base
            .as_ptr()
            .addr()
            .is_multiple_of(align_of::<AtomicU64>())
        {
            return Err(LayoutError::Unaligned);
        }
        let bytes = count.checked_mul(8).ok_or(LayoutError::TooSmall)?;
        let piece = self.carve(bytes)?.cast::<AtomicU64>();
        // SAFETY: the piece is aligned, lies in a region that stays mapped for ever (constructor), and
        // atomic cells may be shared with whoever else writes them.
        Ok(unsafe { core::slice::from_raw_parts(piece.as_ptr(), count) })
    }
}

impl OwnRegion {
    /// The region of `size` bytes at `base`.
    ///
    /// # Errors
    /// [`LayoutError::Unaligned`] unless `base` is a multiple of 8.
    ///
    /// # Safety
    /// The memory is mapped readable and writable for the rest of the program, nothing else in this
    /// program refers to it, and no other program can write it.
    pub unsafe fn new(base: NonNull<u8>, size: usize) -> Result<Self, LayoutError> {
        Front::new(base, size).map(Self)
    }

    /// Carves the next `count` words.
    ///
    /// # Errors
    /// [`LayoutError::TooSmall`] when the region has not as many left.
    pub fn words(&mut self, count: usize) -> Result<OwnWords, LayoutError> {
        self.0.carve_words(count).map(OwnWords)
    }

    /// Leaves the next `count` words unused.
    ///
    /// # Errors
    /// [`LayoutError::TooSmall`] when the region has not as many left.
    pub fn skip(&mut self, count: usize) -> Result<(), LayoutError> {
        self.0.carve_words(count).map(drop)
    }

    /// Carves the next `size` bytes.
    ///
    /// # Errors
    /// [`LayoutError::TooSmall`] when the region has not as many left.
    pub fn bytes(&mut self, size: usize) -> Result<OwnBytes, LayoutError> {
        let base = self.0.carve(size)?;
        Ok(OwnBytes { base, size })
    }
}

impl PeerRegion {
    /// The region of `size` bytes at `base`.
    ///
    /// # Errors
    /// [`LayoutError::Unaligned`] unless `base` is a multiple of 8.
    ///
    /// # Safety
    /// The memory is mapped readable for the rest of the program and nothing in this program refers to it
    /// otherwise. The caller accepts that views of it change while they exist, as the module's documentation
    /// describes, and that whoever uses one keeps to the contract given there.
    pub unsafe fn new(base: NonNull<u8>, size: usize) -> Result<Self, LayoutError> {
        Front::new(base, size).map(Self)
    }

    /// Carves the next `count` words.
    ///
    /// # Errors
    /// [`LayoutError::TooSmall`] when the region has not as many left.
    pub fn words(&mut self, count: usize) -> Result<PeerWords, LayoutError> {
        self.0.carve_words(count).map(PeerWords)
    }

    /// Leaves the next `count` words unused.
    ///
    /// # Errors
    /// [`LayoutError::TooSmall`] when the region has not as many left.
    pub fn skip(&mut self, count: usize) -> Result<(), LayoutError> {
        self.0.carve_words(count).map(drop)
    }

    /// Carves the next `size` bytes.
    ///
    /// # Errors
    /// [`LayoutError::TooSmall`] when the region has not as many left.
    pub fn bytes(&mut self, size: usize) -> Result<PeerBytes, LayoutError> {
        let base = self.0.carve(size)?;
        Ok(PeerBytes { base, size })
    }
}

/// Words that this side writes. Indices are its own: one out of range is a bug and panics.
#[derive(Debug)]
pub struct OwnWords(&'static [AtomicU64]);

impl OwnWords {
    /// Stores a word that some later [`OwnWords::publish`] makes visible.
    pub fn set(&self, index: usize, value: u64) {
        self.0[index].store(value, Ordering::Relaxed);
    }

    /// Stores a word; a peer that loads it sees everything that was written before.
    pub fn publish(&self, index: usize, value: u64) {
        self.0[index].store(value, Ordering::Release);
    }
}

/// Words that the peer writes.
#[derive(Debug)]
pub struct PeerWords(&'static [AtomicU64]);

impl PeerWords {
    /// Loads a word once; what the peer wrote before it published the word is visible after.
    pub fn load(&self, index: usize) -> u64 {
        #[cfg(feature = "hostile")]
        crate::testing::before_load();
        self.0[index].load(Ordering::Acquire)
    }
}

/// Bytes that this side writes.
#[derive(Debug)]
pub struct OwnBytes {
    base: NonNull<u8>,
    size: usize,
}

// SAFETY: as `Front`.
unsafe impl Send for OwnBytes {}

impl OwnBytes {
    /// The number of bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The bytes from `start`, at most `length` and not behind the end; for writing in place.
    pub fn slice_mut(&mut self, start: usize, length: usize) -> &mut [u8] {
        let start = start.min(self.size);
        let length = length.min(self.size - start);
        // SAFETY: the range lies in the piece that was carved for this value, and `&mut self` is the only way
        // to it in this program; the peer only reads.
        unsafe { core::slice::from_raw_parts_mut(self.base.as_ptr().add(start), length) }
    }

    /// All bytes, given away for ever.
    pub fn into_slice(self) -> &'static mut [u8] {
        // SAFETY: `self` was the only way to these bytes, and the region stays mapped.
        unsafe { core::slice::from_raw_parts_mut(self.base.as_ptr(), self.size) }
    }

    /// Divides the bytes in front of `at`, which is cut to the size.
    pub fn split(self, at: usize) -> (Self, Self) {
        let at = at.min(self.size);
        let front = Self {
            base: self.base,
            size: at,
        };
        let back = Self {
            // SAFETY: `at` is at most the size.
            base: unsafe { self.base.add(at) },
            size: self.size - at,
        };
        (front, back)
    }
}

/// Bytes that the peer may change at any moment. See [`memory`](crate::memory) for what views demand.
#[derive(Debug)]
pub struct PeerBytes {
    base: NonNull<u8>,
    size: usize,
}

// SAFETY: as `Front`.
unsafe impl Send for PeerBytes {}

impl PeerBytes {
    /// The number of bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Copies the bytes from `start` into `target` in one pass and says how many there were: less than
    /// `target` holds only at the end of the piece.
    pub fn copy_to(&self, start: usize, target: &mut [u8]) -> usize {
        let start = start.min(self.size);
        let length = target.len().min(self.size - start);
        // SAFETY: both ranges are valid for `length` bytes, and `target` is private memory, so they do not
        // overlap. The peer may write meanwhile: the copy then holds some mixture of old and new bytes.
        unsafe {
            core::ptr::copy_nonoverlapping(
                self.base.as_ptr().add(start),
                target.as_mut_ptr(),
                length,
            );
        }
        barrier(self.base);
        length
    }

    /// The bytes from `start`, at most `length` and not behind the end.
    pub fn view(&self, start: usize, length: usize) -> &[u8] {
        let start = start.min(self.size);
        let length = length.min(self.size - start);
        barrier(self.base);
        // SAFETY: the range lies in the piece; who made the region vouched for its views.
        unsafe { core::slice::from_raw_parts(self.base.as_ptr().add(start), length) }
    }

    /// All bytes as the type that smoltcp asks for its buffers, which it only reads. Never write to it.
    pub fn view_mut(&self) -> &'static mut [u8] {
        // SAFETY: who made the region vouched for its views; the endpoint gives this one out once.
        unsafe { core::slice::from_raw_parts_mut(self.base.as_ptr(), self.size) }
    }

    /// Divides the bytes in front of `at`, which is cut to the size.
    pub fn split(self, at: usize) -> (Self, Self) {
        let at = at.min(self.size);
        let front = Self {
            base: self.base,
            size: at,
        };
        let back = Self {
            // SAFETY: `at` is at most the size.
            base: unsafe { self.base.add(at) },
            size: self.size - at,
        };
        (front, back)
    }
}

/// Keeps the compiler from assuming that memory behind `base` is still what it read before.
fn barrier(base: NonNull<u8>) {
    // SAFETY: no instruction is emitted; without `nomem` the block counts as touching all memory.
    #[cfg(not(miri))]
    unsafe {
        core::arch::asm!("/* {0} */", in(reg) base.as_ptr(), options(nostack, preserves_flags));
    }
    #[cfg(miri)]
    let _ = base;
}
