//! The kernel's console, which only debug kernels have.

use crate::cap;
use crate::ipc_buffer::with_ipc_buffer_mut;
use crate::kernel::syscall;

/// Whether this program was built for a kernel that prints (`--cfg selkie_kernel="debug"`).
pub const PRINTING: bool = cfg!(selkie_kernel = "debug");

/// Prints a byte on the kernel's console; nothing, when the kernel has none.
pub fn debug_put_char(byte: u8) {
    if PRINTING {
        syscall::debug_put_char(byte);
    }
}

/// Names a thread in what a debug kernel prints; nothing, when the kernel prints nothing. The name is cut to 64 bytes.
pub fn debug_name_thread(thread: cap::Tcb, name: &str) {
    if PRINTING {
        with_ipc_buffer_mut(|buffer| {
            let bytes = buffer.msg_bytes_mut();
            let length = name.len().min(64);
            bytes[..length].copy_from_slice(&name.as_bytes()[..length]);
            bytes[length] = 0;
        });
        syscall::debug_name_thread(thread.bits());
    }
}
