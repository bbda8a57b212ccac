//! Copying and filling on aarch64. Accesses are not aligned, which normal memory allows and device memory does not.

use core::arch::naked_asm;

/// Copies `n` bytes: the ABI's `memcpy`.
///
/// # Safety
/// As C's.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
    naked_asm!(
        "mov x3, x0",
        "cmp x2, #16",
        "b.lo 3f",
        // The last 16 bytes, kept for the end: they may overlap what the loop copied.
        "add x4, x1, x2",
        "add x5, x0, x2",
        "ldr q4, [x4, #-16]",
        "subs x2, x2, #64",
        "b.lo 5f",
        "2:",
        "ldp q0, q1, [x1]",
        "ldp q2, q3, [x1, #32]",
        "add x1, x1, #64",
        "stp q0, q1, [x3]",
        "stp q2, q3, [x3, #32]",
        "add x3, x3, #64",
        "subs x2, x2, #64",
        "b.hs 2b",
        "5:",
        "adds x2, x2, #48",
        "b.mi 7f",
        "6:",
        "ldr q0, [x1], #16",
        "str q0, [x3], #16",
        "subs x2, x2, #16",
        "b.pl 6b",
        "7:",
        "str q4, [x5, #-16]",
        "ret",
        // Fewer than 16 bytes: two overlapping words of 8, 4 or 2, or one byte.
        "3:",
        "add x4, x1, x2",
        "add x5, x0, x2",
        "cmp x2, #8",
        "b.lo 4f",
        "ldr x6, [x1]",
        "ldr x7, [x4, #-8]",
        "str x6, [x0]",
        "str x7, [x5, #-8]",
        "ret",
        "4:",
        "cmp x2, #4",
        "b.lo 8f",
        "ldr w6, [x1]",
        "ldr w7, [x4, #-4]",
        "str w6, [x0]",
        "str w7, [x5, #-4]",
        "ret",
        "8:",
        "cmp x2, #2",
        "b.lo 9f",
        "ldrh w6, [x1]",
        "ldrh w7, [x4, #-2]",
        "strh w6, [x0]",
        "strh w7, [x5, #-2]",
        "ret",
        "9:",
        "cbz x2, 20f",
        "ldrb w6, [x1]",
        "strb w6, [x0]",
        "20:",
        "ret",
    )
}

/// Copies `n` bytes between ranges that may overlap: the ABI's `memmove`.
///
/// # Safety
/// As C's.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
    naked_asm!(
        "sub x3, x0, x1",
        "cmp x3, x2",
        // Unsigned: `to` lies before `from` or behind its end.
        "b.hs 3f",
        // Backwards, 16 bytes at a time and then one.
        "add x4, x1, x2",
        "add x5, x0, x2",
        "2:",
        "subs x2, x2, #16",
        "b.lo 4f",
        "ldr q0, [x4, #-16]!",
        "str q0, [x5, #-16]!",
        "b 2b",
        "4:",
        "adds x2, x2, #16",
        "b.eq 5f",
        "6:",
        "ldrb w6, [x4, #-1]!",
        "strb w6, [x5, #-1]!",
        "subs x2, x2, #1",
        "b.ne 6b",
        "5:",
        "ret",
        // Forwards. `to` before `from`: a load is never of what was stored already.
        "3:",
        "mov x3, x0",
        "subs x2, x2, #16",
        "b.lo 8f",
        "7:",
        "ldr q0, [x1], #16",
        "str q0, [x3], #16",
        "subs x2, x2, #16",
        "b.hs 7b",
        "8:",
        "adds x2, x2, #16",
        "b.eq 20f",
        "9:",
        "ldrb w6, [x1], #1",
        "strb w6, [x3], #1",
        "subs x2, x2, #1",
        "b.ne 9b",
        "20:",
        "ret",
    )
}

/// Fills `n` bytes: the ABI's `memset`.
///
/// # Safety
/// As C's.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, n: usize) -> *mut u8 {
    naked_asm!(
        "mov x3, x0",
        "dup v0.16b, w1",
        "subs x2, x2, #16",
        "b.lo 3f",
        // The last 16 bytes: they may overlap what the loop filled.
        "add x4, x0, x2",
        "2:",
        "str q0, [x3], #16",
        "subs x2, x2, #16",
        "b.hs 2b",
        "str q0, [x4]",
        "ret",
        "3:",
        "adds x2, x2, #16",
        "b.eq 5f",
        "4:",
        "strb w1, [x3], #1",
        "subs x2, x2, #1",
        "b.ne 4b",
        "5:",
        "ret",
    )
}
