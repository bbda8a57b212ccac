//! The kernel's console, which only debug kernels have.

use crate::kernel::syscall;

/// Whether this program was built for a kernel that prints (`--cfg selkie_kernel="debug"`).
pub const PRINTING: bool = cfg!(selkie_kernel = "debug");

/// Prints a byte on the kernel's console; nothing, when the kernel has none.
pub fn debug_put_char(byte: u8) {
    if PRINTING {
        syscall::debug_put_char(byte);
    }
}
