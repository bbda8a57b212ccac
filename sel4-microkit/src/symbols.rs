//! Values that the builder patches into a PD's image.

use core::cell::UnsafeCell;
use core::hint::black_box;
use core::str::{self, Utf8Error};

/// A value in the image that only the builder changes, before the PD runs. Its section lies among the constants: nothing
/// that goes wrong in the PD changes it, and a PD that starts over finds it as it was.
#[repr(transparent)]
pub struct ImmutableCell<T>(UnsafeCell<T>);

// SAFETY: nothing writes the cell while the PD runs.
unsafe impl<T: Sync> Sync for ImmutableCell<T> {}

impl<T> ImmutableCell<T> {
    /// A cell that holds this value until the builder patches it.
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// The value. The compiler does not know it.
    pub fn get(&self) -> &T {
        // SAFETY: the pointer is `self`'s, and nothing writes the cell while the PD runs.
        unsafe { &*black_box(self.0.get()) }
    }
}

/// Declares a variable that a `setvar` of the system description sets, and gives a reference to its value:
/// `*var!(rate: usize = 100)`.
#[macro_export]
macro_rules! var {
    ($(#[$attrs:meta])* $symbol:ident: $ty:ty = $default:expr) => {{
        $(#[$attrs])*
        #[allow(non_upper_case_globals)]
        #[used]
        #[unsafe(no_mangle)]
        #[unsafe(link_section = ".data.patched")]
        static $symbol: $crate::_private::ImmutableCell<$ty> =
            $crate::_private::ImmutableCell::new($default);

        $symbol.get()
    }};
}

/// Declares the symbol of a memory region's address (`setvar_vaddr`) and gives a pointer to it:
/// `memory_region_symbol!(registers: *mut u32)` or, for a slice,
/// `memory_region_symbol!(ring: *mut [u8], n = 4096)`.
#[macro_export]
macro_rules! memory_region_symbol {
    ($(#[$attrs:meta])* $symbol:ident: *mut [$ty:ty], n = $n:expr, bytes = $bytes:expr $(,)?) => {{
        assert!($bytes == $n * core::mem::size_of::<$ty>());
        $crate::memory_region_symbol!($(#[$attrs])* $symbol: *mut [$ty], n = $n)
    }};
    ($(#[$attrs:meta])* $symbol:ident: *mut $ty:ty, bytes = $bytes:expr $(,)?) => {{
        assert!($bytes == core::mem::size_of::<$ty>());
        $crate::memory_region_symbol!($(#[$attrs])* $symbol: *mut $ty)
    }};
    ($(#[$attrs:meta])* $symbol:ident: *mut [$ty:ty], n = $n:expr $(,)?) => {{
        core::ptr::NonNull::slice_from_raw_parts(
            $crate::memory_region_symbol!($(#[$attrs])* $symbol: *mut $ty),
            $n,
        )
    }};
    ($(#[$attrs:meta])* $symbol:ident: *mut $ty:ty $(,)?) => {{
        core::ptr::NonNull::new(*$crate::var!($(#[$attrs])* $symbol: usize = 0) as *mut $ty)
            .unwrap_or_else(|| panic!("{} is null", stringify!($symbol)))
    }};
}

/// Whether the PD runs only in calls (Microkit's `passive`).
pub fn pd_is_passive() -> bool {
    *var!(microkit_passive: bool = false)
}

/// A bit for each channel that is an interrupt.
pub(crate) fn pd_irqs() -> usize {
    *var!(microkit_irqs: usize = 0)
}

/// A bit for each channel that the PD may notify on.
pub(crate) fn pd_notifications() -> usize {
    *var!(microkit_notifications: usize = 0)
}

/// A bit for each channel that the PD may call on.
pub(crate) fn pd_pps() -> usize {
    *var!(microkit_pps: usize = 0)
}

/// A bit for each range of I/O ports. The Microkit tool sets this symbol in every program that has I/O ports; the runtime
/// does not read it.
#[allow(dead_code)]
fn pd_ioports() -> usize {
    *var!(microkit_ioports: usize = 0)
}

/// The PD's name in the system description.
///
/// # Errors
/// When the builder wrote other than UTF-8.
pub fn pd_name() -> Result<&'static str, Utf8Error> {
    let bytes = var!(microkit_name: [u8; 64] = [0; 64]);
    let length = bytes.iter().position(|byte| *byte == 0);
    str::from_utf8(&bytes[..length.unwrap_or(bytes.len())])
}
