//! What a program without an operating system and without a C library has to bring along.

use core::arch::global_asm;
use core::panic::PanicInfo;

use crate::verdict::fail;

// The kernel starts the root task without a stack, and with the address of the boot information in rdi.
global_asm!(
    ".pushsection .bss.stack, \"aw\", @nobits",
    ".balign 16",
    "stack_bottom: .skip 0x10000",
    "stack_top:",
    ".popsection",
    ".globl _start",
    "_start:",
    "lea rsp, [rip + stack_top]",
    "xor ebp, ebp",
    "call main",
    "ud2",
);

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    fail(format_args!("{info}"))
}

/// `core` is compiled with unwinding; nothing here unwinds, so nobody calls these.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() {}

// The compiler calls these for copies and fills. The string instructions cannot be turned back into such calls.
global_asm!(
    ".globl memcpy, memmove, memset, memcmp, bcmp",
    "memcpy:",
    "mov rax, rdi",
    "mov rcx, rdx",
    "rep movsb",
    "ret",
    "memmove:",
    "mov rax, rdi",
    "mov rcx, rdx",
    "cmp rdi, rsi",
    "jbe 2f",
    "lea rdi, [rdi + rdx - 1]",
    "lea rsi, [rsi + rdx - 1]",
    "std",
    "2: rep movsb",
    "cld",
    "ret",
    "memset:",
    "mov r8, rdi",
    "mov eax, esi",
    "mov rcx, rdx",
    "rep stosb",
    "mov rax, r8",
    "ret",
    "memcmp:",
    "bcmp:",
    "xor eax, eax",
    "mov rcx, rdx",
    "cmp rax, rax",
    "repe cmpsb",
    "je 3f",
    "movzx eax, byte ptr [rdi - 1]",
    "movzx ecx, byte ptr [rsi - 1]",
    "sub eax, ecx",
    "3: ret",
);
