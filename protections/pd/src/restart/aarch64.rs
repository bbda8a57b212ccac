//! The entries, and the wiping of the stack.

use core::arch::{global_asm, naked_asm};

use sel4_microkit::restart::STACK_TOP;

use super::{rebuild, refuse};

global_asm!(
    ".pushsection .text._restart, \"ax\", @progbits",
    ".globl _restart",
    "_restart:",
    "adrp x0, _start",
    "add x0, x0, :lo12:_start",
    "b 2f",
    ".globl _retire",
    "_retire:",
    "adr x0, 3f",
    "2:",
    "movz x1, #{top_high}, lsl #32",
    "movk x1, #{top_middle}, lsl #16",
    "movk x1, #{top_low}",
    "mov sp, x1",
    "msr fpcr, xzr",
    "msr fpsr, xzr",
    "mov x29, xzr",
    "mov x30, xzr",
    "bl {rebuild}",
    "3:",
    "bl {refuse}",
    "udf #0",
    ".popsection",
    refuse = sym refuse,
    rebuild = sym rebuild,
    top_high = const STACK_TOP >> 32 & 0xffff,
    top_middle = const STACK_TOP >> 16 & 0xffff,
    top_low = const STACK_TOP & 0xffff,
);

/// Zeroes the vector registers.
#[unsafe(naked)]
#[rustfmt::skip]
pub(super) extern "C" fn clear_vector_registers() {
    naked_asm!(
        "movi v0.2d, #0", "movi v1.2d, #0", "movi v2.2d, #0", "movi v3.2d, #0",
        "movi v4.2d, #0", "movi v5.2d, #0", "movi v6.2d, #0", "movi v7.2d, #0",
        "movi v8.2d, #0", "movi v9.2d, #0", "movi v10.2d, #0", "movi v11.2d, #0",
        "movi v12.2d, #0", "movi v13.2d, #0", "movi v14.2d, #0", "movi v15.2d, #0",
        "movi v16.2d, #0", "movi v17.2d, #0", "movi v18.2d, #0", "movi v19.2d, #0",
        "movi v20.2d, #0", "movi v21.2d, #0", "movi v22.2d, #0", "movi v23.2d, #0",
        "movi v24.2d, #0", "movi v25.2d, #0", "movi v26.2d, #0", "movi v27.2d, #0",
        "movi v28.2d, #0", "movi v29.2d, #0", "movi v30.2d, #0", "movi v31.2d, #0",
        "ret",
    )
}

/// Zeroes `words` words (more than none) from `stack` on, and goes on at `next` with an empty
/// stack.
///
/// # Safety
/// The words are this thread's stack; `next` does not return.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn wipe_stack(stack: u64, words: u64, next: usize) -> ! {
    naked_asm!(
        "2:",
        "str xzr, [x0], #8",
        "subs x1, x1, #1",
        "b.ne 2b",
        "mov sp, x0",
        "br x2",
    )
}
