//! Copying and filling on x86_64.

use core::arch::naked_asm;

/// Copies `n` bytes: the ABI's `memcpy`.
///
/// Sixteen bytes at a time: `rep movsb` is as fast on processors with ERMS, but takes a step a byte in an emulator.
///
/// # Safety
/// As C's.
#[cfg_attr(not(test), unsafe(no_mangle))]
#[unsafe(naked)]
pub(super) unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
    naked_asm!(
        "mov rax, rdi",
        "cmp rdx, 16",
        "jb 3f",
        // The last 16 bytes, kept for the end: they may overlap what the loop copied.
        "movups xmm4, [rsi + rdx - 16]",
        "lea rcx, [rdi + rdx - 16]",
        "sub rdx, 64",
        "jb 5f",
        "2:",
        "movups xmm0, [rsi]",
        "movups xmm1, [rsi + 16]",
        "movups xmm2, [rsi + 32]",
        "movups xmm3, [rsi + 48]",
        "movups [rdi], xmm0",
        "movups [rdi + 16], xmm1",
        "movups [rdi + 32], xmm2",
        "movups [rdi + 48], xmm3",
        "add rsi, 64",
        "add rdi, 64",
        "sub rdx, 64",
        "jae 2b",
        "5:",
        "add rdx, 48",
        "js 7f",
        "6:",
        "movups xmm0, [rsi]",
        "movups [rdi], xmm0",
        "add rsi, 16",
        "add rdi, 16",
        "sub rdx, 16",
        "jns 6b",
        "7:",
        "movups [rcx], xmm4",
        "ret",
        // Fewer than 16 bytes: two overlapping words of 8, 4 or 2, or one byte.
        "3:",
        "cmp edx, 8",
        "jb 4f",
        "mov rcx, [rsi]",
        "mov r8, [rsi + rdx - 8]",
        "mov [rdi], rcx",
        "mov [rdi + rdx - 8], r8",
        "ret",
        "4:",
        "cmp edx, 4",
        "jb 8f",
        "mov ecx, [rsi]",
        "mov r8d, [rsi + rdx - 4]",
        "mov [rdi], ecx",
        "mov [rdi + rdx - 4], r8d",
        "ret",
        "8:",
        "cmp edx, 2",
        "jb 9f",
        "movzx ecx, word ptr [rsi]",
        "movzx r8d, word ptr [rsi + rdx - 2]",
        "mov [rdi], cx",
        "mov [rdi + rdx - 2], r8w",
        "ret",
        "9:",
        "test edx, edx",
        "jz 20f",
        "movzx ecx, byte ptr [rsi]",
        "mov [rdi], cl",
        "20:",
        "ret",
    )
}

/// Copies `n` bytes between ranges that may overlap: the ABI's `memmove`.
///
/// # Safety
/// As C's.
#[cfg_attr(not(test), unsafe(no_mangle))]
#[unsafe(naked)]
pub(super) unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
    naked_asm!(
        "mov rax, rdi",
        "mov rcx, rdi",
        "sub rcx, rsi",
        "cmp rcx, rdx",
        // Unsigned: `to` lies before `from` or behind its end.
        "jae 3f",
        // Backwards, 16 bytes at a time and then one.
        "2:",
        "sub rdx, 16",
        "jb 4f",
        "movups xmm0, [rsi + rdx]",
        "movups [rdi + rdx], xmm0",
        "jmp 2b",
        "4:",
        "add rdx, 16",
        "jz 5f",
        "6:",
        "movzx ecx, byte ptr [rsi + rdx - 1]",
        "mov [rdi + rdx - 1], cl",
        "dec rdx",
        "jnz 6b",
        "5:",
        "ret",
        // Forwards. `to` before `from`: a load is never of what was stored already.
        "3:",
        "sub rdx, 16",
        "jb 8f",
        "7:",
        "movups xmm0, [rsi]",
        "movups [rdi], xmm0",
        "add rsi, 16",
        "add rdi, 16",
        "sub rdx, 16",
        "jae 7b",
        "8:",
        "add rdx, 16",
        "jz 10f",
        "9:",
        "movzx ecx, byte ptr [rsi]",
        "mov [rdi], cl",
        "inc rsi",
        "inc rdi",
        "dec rdx",
        "jnz 9b",
        "10:",
        "ret",
    )
}

/// Fills `n` bytes: the ABI's `memset`.
///
/// # Safety
/// As C's.
#[cfg_attr(not(test), unsafe(no_mangle))]
#[unsafe(naked)]
pub(super) unsafe extern "C" fn memset(to: *mut u8, byte: i32, n: usize) -> *mut u8 {
    naked_asm!(
        "mov rax, rdi",
        "movzx esi, sil",
        "mov r8, 0x0101010101010101",
        "imul rsi, r8",
        "cmp rdx, 16",
        "jb 3f",
        "movq xmm0, rsi",
        "punpcklqdq xmm0, xmm0",
        "lea rcx, [rdi + rdx - 16]",
        "sub rdx, 64",
        "jb 6f",
        // Long fills wipe what was released: four stores a turn, which costs half of what one does.
        "2:",
        "movups [rdi], xmm0",
        "movups [rdi + 16], xmm0",
        "movups [rdi + 32], xmm0",
        "movups [rdi + 48], xmm0",
        "add rdi, 64",
        "sub rdx, 64",
        "jae 2b",
        // Less than that is left; the last store may overlap the one before it.
        "6:",
        "cmp rdi, rcx",
        "jae 7f",
        "movups [rdi], xmm0",
        "add rdi, 16",
        "jmp 6b",
        "7:",
        "movups [rcx], xmm0",
        "ret",
        "3:",
        "test rdx, rdx",
        "jz 5f",
        "4:",
        "mov [rdi], sil",
        "inc rdi",
        "dec rdx",
        "jnz 4b",
        "5:",
        "ret",
    )
}
