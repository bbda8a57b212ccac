//! Counts the heap bytes that the code of a test allocates, in the units of a PD's heap.
//!
//! A program's manifest says how much heap it needs for each connection. The test of its component measures that:
//!
//! ```
//! #[global_allocator]
//! static HEAP: heap_meter::Meter = heap_meter::Meter;
//!
//! let ((), used) = heap_meter::measure(|| drop(vec![0_u8; 1000]));
//! assert_eq!((used.kept, used.most), (0, 1024));
//! ```

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Bytes that the heap of a PD (`rlsf::Tlsf`) puts in front of each block.
const HEADER: usize = 16;
/// Its blocks are a multiple of this many bytes.
const GRANULE: usize = 32;

thread_local! {
    static MEASURING: Cell<bool> = const { Cell::new(false) };
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

/// The allocator of a program that measures.
pub struct Meter;

/// The heap use of a piece of code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Bytes that it allocated and did not release; negative if it released what was allocated before.
    pub kept: isize,
    /// The most bytes that it had allocated at once.
    pub most: isize,
}

/// Runs the code and counts the bytes that this thread allocates in it. Calls must not be nested.
pub fn measure<R>(code: impl FnOnce() -> R) -> (R, Used) {
    LIVE.set(0);
    MOST.set(0);
    MEASURING.set(true);
    let result = code();
    MEASURING.set(false);
    let used = Used {
        kept: LIVE.get(),
        most: MOST.get(),
    };
    (result, used)
}

/// Returns the bytes of a size such as `"48K"` that a manifest gives for a key of one of its lines:
/// `size_in(manifest, "streams", "per_connection")` of `streams = { …, per_connection = "48K" }`.
pub fn size_in(manifest: &str, line: &str, key: &str) -> Option<usize> {
    let start = format!("{line} = ");
    let line = manifest.lines().find(|text| text.starts_with(&start))?;
    let (_, value) = line.split_once(&format!("{key} = \""))?;
    let (value, _) = value.split_once('"')?;
    match value.strip_suffix('K') {
        Some(number) => Some(number.parse::<usize>().ok()? * 1024),
        None => value.parse().ok(),
    }
}

fn count(bytes: isize) {
    // The thread's last blocks may be released after its variables are gone.
    let _ = MEASURING.try_with(|measuring| {
        if measuring.get() {
            let live = LIVE.get() + bytes;
            LIVE.set(live);
            MOST.set(MOST.get().max(live));
        }
    });
}

fn block(layout: Layout) -> isize {
    (layout.size() + HEADER).next_multiple_of(GRANULE) as isize
}

// SAFETY: every call goes to the system's allocator as it is.
unsafe impl GlobalAlloc for Meter {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(block(layout));
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-block(layout));
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[global_allocator]
    static HEAP: Meter = Meter;

    #[test]
    fn counts_blocks_with_their_headers() {
        let (kept, used) = measure(|| {
            drop(vec![0_u8; 100]);
            Box::new([0_u8; 17])
        });
        assert_eq!((used.kept, used.most), (64, 128));
        let ((), used) = measure(|| drop(kept));
        assert_eq!(used.kept, -64);
    }

    #[test]
    fn a_block_that_grows_is_there_twice_for_a_moment() {
        let (bytes, used) = measure(|| {
            let mut bytes = Vec::with_capacity(1000);
            bytes.extend([0_u8; 1000]);
            bytes.reserve_exact(1000);
            bytes
        });
        assert_eq!((used.kept, used.most), (2016, 1024 + 2016));
        drop(bytes);
    }

    #[test]
    fn sizes_are_read_from_a_manifest() {
        let manifest =
            "memory = \"1M\"\nstreams = { role = \"consumer\", per_connection = \"48K\" }\n";
        assert_eq!(size_in(manifest, "streams", "per_connection"), Some(49_152));
        assert_eq!(size_in(manifest, "clients", "per_connection"), None);
        assert_eq!(size_in(manifest, "streams", "other"), None);
    }
}
