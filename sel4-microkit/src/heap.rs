//! The static heap that `#[protection_domain(heap_size = …)]` declares.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::{RefCell, UnsafeCell};
use core::mem::MaybeUninit;
use core::ptr::{self, NonNull};

use rlsf::Tlsf;

type Allocator = Tlsf<'static, u32, u32, 24, 8>;

/// A heap of `N` bytes inside the image.
pub struct StaticHeap<const N: usize> {
    memory: UnsafeCell<[MaybeUninit<u8>; N]>,
    allocator: RefCell<Option<Allocator>>,
}

// SAFETY: a PD has one thread.
unsafe impl<const N: usize> Sync for StaticHeap<N> {}

impl<const N: usize> StaticHeap<N> {
    /// A heap whose memory lies in the image's zeroed part.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self {
            memory: UnsafeCell::new([MaybeUninit::uninit(); N]),
            allocator: RefCell::new(None),
        }
    }

    fn with<T>(&'static self, f: impl FnOnce(&mut Allocator) -> T) -> T {
        let mut slot = self.allocator.borrow_mut();
        f(slot.get_or_insert_with(|| {
            let mut allocator = Allocator::new();
            // SAFETY: the allocator is made once and is alone in using the memory.
            allocator.insert_free_block(unsafe { &mut *self.memory.get() });
            allocator
        }))
    }

    /// The heap is only ever a `static`.
    fn forever(&self) -> &'static Self {
        // SAFETY: `declare_protection_domain!` makes the one value, as a `static`.
        unsafe { &*ptr::from_ref(self) }
    }
}

// SAFETY: the methods hand out what the TLSF allocator does, which keeps to `GlobalAlloc`'s rules.
unsafe impl<const N: usize> GlobalAlloc for StaticHeap<N> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.forever()
            .with(|allocator| allocator.allocate(layout))
            .map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if let Some(pointer) = NonNull::new(pointer) {
            self.forever().with(|allocator| {
                // SAFETY: the caller got `pointer` from `alloc` with this layout.
                unsafe { allocator.deallocate(pointer, layout.align()) };
            });
        }
    }
}
