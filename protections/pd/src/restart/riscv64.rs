//! The entries, and the wiping of the stack.

use core::arch::{global_asm, naked_asm};

use sel4_microkit::restart::STACK_TOP;

use super::{rebuild, refuse};

// Assembly outside functions is not told what the target can do, so it says itself that there is floating point.
global_asm!(
    ".option push",
    ".option arch, +d",
    ".pushsection .text._restart, \"ax\", @progbits",
    ".globl _restart",
    "_restart:",
    "lla a0, _start",
    "j 2f",
    ".globl _retire",
    "_retire:",
    "lla a0, 3f",
    "2:",
    "li sp, {stack_top}",
    "fscsr zero",
    "li s0, 0",
    "li ra, 0",
    "call {rebuild}",
    "3:",
    "call {refuse}",
    "unimp",
    ".popsection",
    ".option pop",
    refuse = sym refuse,
    rebuild = sym rebuild,
    stack_top = const STACK_TOP,
);

/// Zeroes the floating point registers.
#[unsafe(naked)]
#[rustfmt::skip]
pub(super) extern "C" fn clear_vector_registers() {
    naked_asm!(
        ".option push", ".option arch, +d",
        "fmv.d.x f0, zero", "fmv.d.x f1, zero", "fmv.d.x f2, zero", "fmv.d.x f3, zero",
        "fmv.d.x f4, zero", "fmv.d.x f5, zero", "fmv.d.x f6, zero", "fmv.d.x f7, zero",
        "fmv.d.x f8, zero", "fmv.d.x f9, zero", "fmv.d.x f10, zero", "fmv.d.x f11, zero",
        "fmv.d.x f12, zero", "fmv.d.x f13, zero", "fmv.d.x f14, zero", "fmv.d.x f15, zero",
        "fmv.d.x f16, zero", "fmv.d.x f17, zero", "fmv.d.x f18, zero", "fmv.d.x f19, zero",
        "fmv.d.x f20, zero", "fmv.d.x f21, zero", "fmv.d.x f22, zero", "fmv.d.x f23, zero",
        "fmv.d.x f24, zero", "fmv.d.x f25, zero", "fmv.d.x f26, zero", "fmv.d.x f27, zero",
        "fmv.d.x f28, zero", "fmv.d.x f29, zero", "fmv.d.x f30, zero", "fmv.d.x f31, zero",
        "ret",
        ".option pop",
    )
}

/// Zeroes `words` words (more than none) from `stack` on, and goes on at `next` with an
/// empty stack.
///
/// # Safety
/// The words are this thread's stack; `next` does not return.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn wipe_stack(stack: u64, words: u64, next: usize) -> ! {
    naked_asm!(
        "2:",
        "sd zero, 0(a0)",
        "addi a0, a0, 8",
        "addi a1, a1, -1",
        "bnez a1, 2b",
        "mv sp, a0",
        "jr a2",
    )
}
