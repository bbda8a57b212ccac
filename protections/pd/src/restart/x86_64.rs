//! The entries, and the wiping of the stack.

use core::arch::{global_asm, naked_asm};

use sel4_microkit::restart::STACK_TOP;

use super::{rebuild, refuse};

// The direction flag and the state of the floating point units may be the faulting code's.
global_asm!(
    ".pushsection .text._restart, \"ax\", @progbits",
    ".globl _restart",
    "_restart:",
    "lea rdi, [rip + _start]",
    "jmp 2f",
    ".globl _retire",
    "_retire:",
    "lea rdi, [rip + 3f]",
    "2:",
    "cld",
    "movabs rsp, {stack_top}",
    "fninit",
    "push 0x1f80",
    "ldmxcsr [rsp]",
    "add rsp, 8",
    "xor ebp, ebp",
    "call {rebuild}",
    "3:",
    "call {refuse}",
    "ud2",
    ".popsection",
    refuse = sym refuse,
    rebuild = sym rebuild,
    stack_top = const STACK_TOP,
);

/// Zeroes the vector registers.
#[unsafe(naked)]
#[rustfmt::skip]
pub(super) extern "C" fn clear_vector_registers() {
    naked_asm!(
        "pxor xmm0, xmm0", "pxor xmm1, xmm1", "pxor xmm2, xmm2", "pxor xmm3, xmm3",
        "pxor xmm4, xmm4", "pxor xmm5, xmm5", "pxor xmm6, xmm6", "pxor xmm7, xmm7",
        "pxor xmm8, xmm8", "pxor xmm9, xmm9", "pxor xmm10, xmm10", "pxor xmm11, xmm11",
        "pxor xmm12, xmm12", "pxor xmm13, xmm13", "pxor xmm14, xmm14", "pxor xmm15, xmm15",
        "ret",
    )
}

/// Zeroes `words` words from `stack` on, and goes on at `next` with an empty stack.
///
/// # Safety
/// The words are this thread's stack; `next` does not return.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn wipe_stack(stack: u64, words: u64, next: usize) -> ! {
    naked_asm!(
        "mov rcx, rsi",
        "xor eax, eax",
        "rep stosq",
        "mov rsp, rdi",
        "jmp rdx",
    )
}
