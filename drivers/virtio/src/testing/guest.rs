use std::alloc::{Layout, alloc_zeroed};
use std::ptr::NonNull;

use virtio_drivers::PAGE_SIZE;

use crate::memory::{Region, install};

/// Memory of a pretended guest: leaked, so that it outlives every driver.
#[derive(Clone, Copy, Debug)]
pub struct Guest {
    own: Region,
    pool: Region,
}

impl Guest {
    /// Makes memory of these sizes (multiples of a page) and [`install`]s it for this thread.
    pub fn install(own: usize, pool: usize) -> Self {
        let guest = Self {
            own: region(0x0100_0000, own),
            pool: region(0x0200_0000, pool),
        };
        // SAFETY: the memory is leaked and was allocated just now; tests reach it by raw pointers only.
        unsafe { install(guest.own, Some(guest.pool)) };
        guest
    }

    /// Zeroes the memory and installs it again, as for a new guest. The drivers of the old one must be gone.
    pub fn renew(&self) {
        for region in [self.own, self.pool] {
            // SAFETY: the memory is leaked and nobody uses it any more.
            unsafe { region.base.write_bytes(0, region.size) };
        }
        // SAFETY: as in `install`.
        unsafe { install(self.own, Some(self.pool)) };
    }

    /// The driver's own memory.
    pub fn own(&self) -> Region {
        self.own
    }

    /// The pool.
    pub fn pool(&self) -> Region {
        self.pool
    }

    /// Whether these bytes are in the guest's memory.
    pub fn contains(&self, physical: u64, size: usize) -> bool {
        self.find(physical, size).is_some()
    }

    /// Where a device finds a physical address.
    ///
    /// # Panics
    /// When the bytes are not in the guest's memory: the driver gave the device a wrong address.
    pub fn at(&self, physical: u64, size: usize) -> NonNull<u8> {
        let found = self.find(physical, size);
        found.unwrap_or_else(|| panic!("{size} bytes at {physical:#x} are not for transfers"))
    }

    fn find(&self, physical: u64, size: usize) -> Option<NonNull<u8>> {
        [self.own, self.pool].into_iter().find_map(|region| {
            let offset = usize::try_from(physical.checked_sub(region.physical)?).ok()?;
            // SAFETY: the offset is inside the region.
            (offset.checked_add(size)? <= region.size).then(|| unsafe { region.base.add(offset) })
        })
    }
}

fn region(physical: u64, size: usize) -> Region {
    let layout = Layout::from_size_align(size.max(PAGE_SIZE), PAGE_SIZE).expect("a small size");
    // SAFETY: the size is not 0.
    let base = NonNull::new(unsafe { alloc_zeroed(layout) }).expect("memory");
    Region {
        base,
        physical,
        size,
    }
}
