//! The global allocator over the heap region of the wiring.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, Ordering};

use rlsf::Tlsf;

use crate::single::Exclusive;
use crate::start::heap_region;

/// Two-level segregated fit: allocation and release take constant time, which a PD that bounds the work
/// of one wake-up needs. 22 first-level classes of 32-byte granules cover blocks up to 128 MiB.
type Blocks = Tlsf<'static, u32, u16, 22, 16>;

#[global_allocator]
static HEAP: Heap = Heap(Exclusive::new(None));

struct Heap(Exclusive<Option<Blocks>>);

impl Heap {
    fn with<R>(&self, function: impl FnOnce(&mut Blocks) -> R) -> Option<R> {
        self.0.try_with(|blocks| {
            let blocks = blocks.get_or_insert_with(|| {
                let mut blocks = Blocks::new();
                if let Some(region) = heap_region() {
                    // SAFETY: the builder maps the heap region for this PD alone and for ever; it is given to
                    // this allocator once, here.
                    unsafe { blocks.insert_free_block_ptr(region) };
                }
                blocks
            });
            function(blocks)
        })
    }
}

// Not inlined: the compiler would otherwise put the allocator's code into hundreds of places. A block changes its size by
// another one, never in place: one that moved inside the allocator would leave its old place as it was, and a second way for
// programs that do not wipe would be code in all of them.
// SAFETY: the blocks come from a TLSF allocator that keeps to the layouts, over memory of its own.
unsafe impl GlobalAlloc for Heap {
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.with(|blocks| blocks.allocate(layout))
            .flatten()
            .map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    #[inline(never)]
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let Some(block) = NonNull::new(pointer) else {
            return;
        };
        if cfg!(selkie_unwiped) && WIPE.load(Ordering::Relaxed) {
            return;
        }
        wipe(block, layout.size());
        // SAFETY: the caller vouches that the block was allocated here with this layout.
        self.with(|blocks| unsafe { blocks.deallocate(block, layout.align()) });
    }
}

/// Returns whether a block of `bytes` bytes is free. If so, allocations of less than that in total,
/// each with up to 32 bytes of overhead and alignment, do not fail. Takes constant time and does
/// not access the block.
///
/// A failed allocation ends the PD. Work whose memory use a peer controls is therefore started only
/// after this function has returned `true` for its maximum; otherwise it is refused.
pub fn has_room(bytes: usize) -> bool {
    let Ok(layout) = Layout::from_size_align(bytes, 16) else {
        return false;
    };
    let found = HEAP.with(|blocks| {
        let block = blocks.allocate(layout)?;
        // SAFETY: the block was allocated here with this layout, and no other reference to it
        // exists.
        unsafe { blocks.deallocate(block, layout.align()) };
        Some(())
    });
    found.flatten().is_some()
}

/// Returns the size of the heap in bytes, as set by the description or the builder.
pub fn size() -> usize {
    heap_region().map_or(0, |region| region.len())
}

static WIPE: AtomicBool = AtomicBool::new(false);

/// From here on memory is overwritten when it is released. A protection domain that handles secrets calls this
/// before it touches the first.
///
/// With `--cfg selkie_unwiped`, in the control build of `selkie audit secrets`, it is left as it is and never used again.
pub fn wipe_released_memory() {
    WIPE.store(true, Ordering::Relaxed);
}

/// Overwrites a block that is about to be released, if this program wants that.
#[inline]
fn wipe(block: NonNull<u8>, size: usize) {
    if WIPE.load(Ordering::Relaxed) {
        // SAFETY: the block is `size` bytes long and its owner has given it up.
        unsafe { overwrite(block, size) };
    }
}

/// # Safety
/// `size` bytes may be written.
#[inline(never)]
unsafe fn overwrite(block: NonNull<u8>, size: usize) {
    // SAFETY: the caller's promise.
    unsafe { block.write_bytes(0, size) };
    // SAFETY: no instruction is emitted. As far as the compiler knows the block is read here, so the stores
    // above stay.
    unsafe {
        core::arch::asm!("/* {0} */", in(reg) block.as_ptr(), options(nostack, preserves_flags))
    };
}
