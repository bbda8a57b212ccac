//! Memory that a device may transfer from and to.
//!
//! One program drives one device, so there is one set of regions a program: the driver's own memory for
//! queues, and a pool that it shares with the user of the device. The `virtio-drivers` crate asks
//! for memory and for physical addresses through functions without a receiver ([`Hal`]), so the set is static.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use virtio_drivers::{BufferDirection, PAGE_SIZE, PhysAddr};

/// Contiguous memory whose physical address is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// First byte as this program sees it, aligned to a page.
    pub base: NonNull<u8>,
    /// Physical address of the first byte, aligned to a page and not 0.
    pub physical: u64,
    /// Length in bytes.
    pub size: usize,
}

/// A part of the regions that were [`install`]ed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dma {
    pointer: NonNull<u8>,
    size: usize,
    physical: u64,
}

// SAFETY: a `Dma` is an address and a length; what is done at that address is up to unsafe code.
unsafe impl Send for Dma {}

impl Dma {
    /// First byte.
    pub fn pointer(&self) -> NonNull<u8> {
        self.pointer
    }
    /// Length in bytes; at least 1.
    pub fn size(&self) -> usize {
        self.size
    }
    /// Physical address of the first byte.
    pub fn physical(&self) -> u64 {
        self.physical
    }

    /// The bytes from `offset` on, `size` of them; none if they are not inside or are none.
    pub fn part(&self, offset: usize, size: usize) -> Option<Self> {
        (size > 0 && offset.checked_add(size)? <= self.size).then(|| Self {
            // SAFETY: `offset` lies inside this memory, as just checked.
            pointer: unsafe { self.pointer.add(offset) },
            size,
            physical: self.physical + offset as u64,
        })
    }
}

/// The regions of this program.
struct Memory {
    own: Place,
    pool: Place,
    /// Bytes of `own` in use by queues, from its start. They are all given back at once.
    queues: AtomicUsize,
    /// Allocations by queues that are alive.
    alive: AtomicUsize,
    /// Bytes of `own` in use for good, from its end.
    kept: AtomicUsize,
}

/// A [`Region`] in a static; size 0 while there is none.
struct Place {
    base: AtomicUsize,
    physical: AtomicU64,
    size: AtomicUsize,
}

impl Place {
    const fn none() -> Self {
        Self {
            base: AtomicUsize::new(0),
            physical: AtomicU64::new(0),
            size: AtomicUsize::new(0),
        }
    }

    fn set(&self, region: Region) {
        self.base
            .store(region.base.as_ptr().expose_provenance(), Ordering::Relaxed);
        self.physical.store(region.physical, Ordering::Relaxed);
        self.size.store(region.size, Ordering::Relaxed);
    }

    fn region(&self) -> Option<Region> {
        let base = self.base.load(Ordering::Relaxed);
        Some(Region {
            base: NonNull::new(core::ptr::with_exposed_provenance_mut(base))?,
            physical: self.physical.load(Ordering::Relaxed),
            size: self.size.load(Ordering::Relaxed),
        })
    }

    /// The part of the region that begins at `pointer`, if it is one.
    fn find(&self, pointer: NonNull<u8>, size: usize) -> Option<Dma> {
        let region = self.region()?;
        let offset = pointer.addr().get().checked_sub(region.base.addr().get())?;
        Dma {
            pointer: region.base,
            size: region.size,
            physical: region.physical,
        }
        .part(offset, size)
    }
}

impl Memory {
    const fn new() -> Self {
        Self {
            own: Place::none(),
            pool: Place::none(),
            queues: AtomicUsize::new(0),
            alive: AtomicUsize::new(0),
            kept: AtomicUsize::new(0),
        }
    }
}

#[cfg(not(any(test, feature = "testing")))]
fn memory() -> &'static Memory {
    static MEMORY: Memory = Memory::new();
    &MEMORY
}

/// In tests every thread is a program of its own.
#[cfg(any(test, feature = "testing"))]
fn memory() -> &'static Memory {
    std::thread_local! {
        static MEMORY: &'static Memory = Box::leak(Box::new(Memory::new()));
    }
    MEMORY.with(|memory| *memory)
}

/// Names the memory that the device may use: the driver's own, and a pool if it has one. Call it once,
/// before anything else of this crate.
///
/// # Safety
/// Both regions must stay mapped readable and writable for the life of the program. Nothing but this crate and the
/// device may access the driver's own, and this program must access the pool only by means that allow
/// others to write there at any moment.
pub unsafe fn install(own: Region, pool: Option<Region>) {
    let memory = memory();
    memory.own.set(own);
    if let Some(pool) = pool {
        memory.pool.set(pool);
    }
    memory.queues.store(0, Ordering::Relaxed);
    memory.alive.store(0, Ordering::Relaxed);
    memory.kept.store(0, Ordering::Relaxed);
}

/// Memory of the driver's own for as long as the program runs, zeroed and aligned to 64 bytes; none if
/// there is not so much.
pub fn allocate(size: usize) -> Option<Dma> {
    let memory = memory();
    let own = memory.own.region()?;
    let kept = memory
        .kept
        .load(Ordering::Relaxed)
        .checked_add(size.checked_next_multiple_of(64)?)?;
    let offset = own.size.checked_sub(kept)?;
    if offset < memory.queues.load(Ordering::Relaxed) {
        return None;
    }
    let dma = Dma {
        pointer: own.base,
        size: own.size,
        physical: own.physical,
    }
    .part(offset, size)?;
    memory.kept.store(kept, Ordering::Relaxed);
    // SAFETY: these bytes belong to this crate (promised to `install`), and nothing has them yet.
    unsafe { dma.pointer.write_bytes(0, size) };
    Some(dma)
}

/// The memory at `pointer`, if all of it is inside the driver's own memory or the pool.
pub fn find(pointer: NonNull<u8>, size: usize) -> Option<Dma> {
    let memory = memory();
    memory
        .own
        .find(pointer, size)
        .or_else(|| memory.pool.find(pointer, size))
}

/// The driver's own memory at a physical address, `size` bytes of it.
pub(crate) fn at(physical: u64, size: usize) -> Option<Dma> {
    let own = memory().own.region()?;
    let offset = usize::try_from(physical.checked_sub(own.physical)?).ok()?;
    Dma {
        pointer: own.base,
        size: own.size,
        physical: own.physical,
    }
    .part(offset, size)
}

/// Gives the `virtio-drivers` crate its memory, and no physical address outside of it.
#[derive(Debug)]
pub struct Hal;

// SAFETY: each function says how it keeps its part of the trait's contract.
unsafe impl virtio_drivers::Hal for Hal {
    // Pages between those of earlier calls and those kept for good: mapped, zeroed, and nobody else's. A physical
    // address of 0 makes the crate report that there is no memory.
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let memory = memory();
        let used = memory.queues.load(Ordering::Relaxed);
        let allocated = memory
            .own
            .region()
            .zip(pages.checked_mul(PAGE_SIZE))
            .and_then(|(own, size)| {
                let end = used.checked_add(size)?;
                if end > own.size.checked_sub(memory.kept.load(Ordering::Relaxed))? {
                    return None;
                }
                memory.queues.store(end, Ordering::Relaxed);
                Dma {
                    pointer: own.base,
                    size: own.size,
                    physical: own.physical,
                }
                .part(used, size)
            });
        let Some(dma) = allocated else {
            return (0, NonNull::dangling());
        };
        memory.alive.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the pages belong to this crate and nothing has them yet.
        unsafe { dma.pointer.write_bytes(0, dma.size) };
        (dma.physical, dma.pointer)
    }

    // All queues of a device are dropped together when it is reset; so memory is given back when the last is.
    unsafe fn dma_dealloc(_: PhysAddr, _: NonNull<u8>, _: usize) -> i32 {
        let memory = memory();
        if memory.alive.fetch_sub(1, Ordering::Relaxed) == 1 {
            memory.queues.store(0, Ordering::Relaxed);
        }
        0
    }

    // Only the crate's own PCI transport asks for this, which is not used.
    unsafe fn mmio_phys_to_virt(_: PhysAddr, _: usize) -> NonNull<u8> {
        NonNull::dangling()
    }

    // `Queue` hands over nothing that is not `Dma`. Were it otherwise, the device would get the address of a
    // page at the top of the address space, where nothing answers.
    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        const NOWHERE: PhysAddr = !0xfff;
        find(buffer.cast(), buffer.len()).map_or(NOWHERE, |dma| dma.physical)
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Guest;
    use virtio_drivers::Hal as _;

    #[test]
    fn only_installed_memory_has_a_physical_address() {
        let guest = Guest::install(8 * PAGE_SIZE, 2 * PAGE_SIZE);
        let (own, pool) = (guest.own(), guest.pool());
        assert_eq!(find(own.base, 1).unwrap().physical(), own.physical);
        // SAFETY: all offsets lie inside the regions or one past their end.
        let (middle, end) = unsafe { (pool.base.add(100), pool.base.add(pool.size)) };
        assert_eq!(find(middle, 50).unwrap().physical(), pool.physical + 100);
        assert_eq!(find(middle, pool.size), None);
        assert_eq!(find(middle, usize::MAX), None);
        assert_eq!(find(end, 1), None);
        assert_eq!(find(own.base, 0), None);
        let local = [0u8; 8];
        let buffer = NonNull::slice_from_raw_parts(NonNull::from(&local).cast(), 8);
        // SAFETY: the buffer is valid; `share` does not access it.
        let physical = unsafe { Hal::share(buffer, BufferDirection::DriverToDevice) };
        assert_eq!(physical, !0xfff);
    }

    #[test]
    fn memory_runs_out_and_comes_back_with_the_last_queue() {
        let _guest = Guest::install(4 * PAGE_SIZE, 0);
        let kept = allocate(100).unwrap();
        let (first, _) = Hal::dma_alloc(1, BufferDirection::Both);
        let (second, at) = Hal::dma_alloc(2, BufferDirection::Both);
        assert_eq!(second, first + PAGE_SIZE as u64);
        assert_eq!(
            Hal::dma_alloc(1, BufferDirection::Both).0,
            0,
            "the last page is in use"
        );
        assert_eq!(Hal::dma_alloc(usize::MAX, BufferDirection::Both).0, 0);
        assert_eq!(allocate(2 * PAGE_SIZE), None);
        // SAFETY: both were allocated above.
        unsafe {
            at.write_bytes(0xff, 2 * PAGE_SIZE);
            Hal::dma_dealloc(second, at, 2);
            assert_eq!(Hal::dma_alloc(1, BufferDirection::Both).0, 0);
            Hal::dma_dealloc(first, at, 1);
        }
        let (again, at) = Hal::dma_alloc(3, BufferDirection::Both);
        assert_eq!(again, first);
        // SAFETY: just allocated, 3 pages.
        let bytes = unsafe { core::slice::from_raw_parts(at.as_ptr(), 3 * PAGE_SIZE) };
        assert!(bytes.iter().all(|&byte| byte == 0));
        assert!(kept.physical() >= again + 3 * PAGE_SIZE as u64);
    }
}
