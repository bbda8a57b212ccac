//! The wiring, and what is derived from it at the start.

use core::ptr::NonNull;

use sel4_microkit::memory_region_symbol;
use wiring::{HEADER, Span, Wiring};

use crate::single::Once;
use crate::{counter, log, ports};

static WIRING: Once<Wiring> = Once::new();
static UPTIME: Once<fn() -> u64> = Once::new();

/// What this PD is connected to.
///
/// # Panics
/// On the first call, when the region does not hold a wiring: the system was not made by Selkie's builder.
pub fn wiring() -> &'static Wiring {
    WIRING.get_or_init(|| {
        log::set_panic_hook();
        Wiring::from_bytes(region()).unwrap_or_else(|error| panic!("{error}"))
    })
}

/// The read-only bytes of a data region, such as `site`.
///
/// # Panics
/// When the wiring has no data of this name.
pub fn data(name: &str) -> &'static [u8] {
    let span = wiring()
        .data(name)
        .unwrap_or_else(|error| panic!("data: {error}"));
    // SAFETY: the builder maps data regions read-only for ever, and no PD can write them.
    unsafe { core::slice::from_raw_parts(span.address as *const u8, span.size as usize) }
}

/// Monotonic time in nanoseconds, for log lines; 0 without a clock.
pub fn monotonic() -> u64 {
    match (ports::log_clock(), UPTIME.get()) {
        (Some(clock), _) => clock.now().unwrap_or(0),
        (None, Some(uptime)) => uptime(),
        (None, None) => 0,
    }
}

/// Timestamps log lines with the time that the clock publishes, for a PD that may not call it: its
/// `uptime` port. Called explicitly, so that only the programs that need the code contain it.
pub fn time_log_by_uptime() {
    UPTIME.get_or_init(|| || ports::uptime_reader().map_or(0, |uptime| uptime.now(counter::read)));
}

/// Wall-clock time in nanoseconds since 1970-01-01 00:00 UTC, if there is a clock that knows it.
pub fn wall_clock() -> Option<u64> {
    ports::log_clock()?.wall().ok()
}

/// The memory of the heap.
pub(crate) fn heap_region() -> Option<NonNull<[u8]>> {
    let Span { address, size } = Wiring::heap_of(region()).ok()??;
    let start = NonNull::new(address as *mut u8)?;
    Some(NonNull::slice_from_raw_parts(start, size as usize))
}

/// The wiring region's content.
pub(crate) fn region() -> &'static [u8] {
    let start = memory_region_symbol!(selkie_wiring: *mut [u8; HEADER]);
    // SAFETY: the builder sets the symbol to the address of a prefilled, read-only region that stays mapped
    // and begins with a header.
    let header = unsafe { start.as_ref() };
    let size = Wiring::size_of(header).unwrap_or_else(|error| panic!("{error}"));
    // SAFETY: the header, which only the builder writes, gives the length of what it wrote there.
    unsafe { core::slice::from_raw_parts(start.cast::<u8>().as_ptr(), size) }
}
