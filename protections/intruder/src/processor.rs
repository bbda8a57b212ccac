//! What only the processor stops.

use core::arch::asm;

/// An instruction that there is not.
#[inline(never)]
pub fn undefined() {
    // SAFETY: none: whether the kernel stops it is the question. In a system that is right it does.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        asm!("ud2");
        #[cfg(target_arch = "aarch64")]
        asm!("udf #0");
        #[cfg(target_arch = "riscv64")]
        asm!("unimp");
    }
}

/// Stops the processor, or reads what only the kernel may, if it may.
#[inline(never)]
pub fn privileged() {
    // SAFETY: as in `undefined`.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        asm!("hlt");
        #[cfg(target_arch = "aarch64")]
        asm!("mrs {0}, vbar_el1", out(reg) _);
        #[cfg(target_arch = "riscv64")]
        asm!("csrr {0}, sstatus", out(reg) _);
    }
}

/// Divides by zero, which is no exception on aarch64 and riscv64.
#[inline(never)]
pub fn divide() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as in `undefined`.
    unsafe {
        asm!("div {0:e}", in(reg) 0, inout("eax") 1 => _, inout("edx") 0 => _)
    };
}

/// Runs what lies at an address.
#[inline(never)]
pub fn jump(address: u64) {
    // SAFETY: as in `undefined`.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        asm!("call {}", in(reg) address, clobber_abi("C"));
        #[cfg(target_arch = "aarch64")]
        asm!("blr {}", in(reg) address, clobber_abi("C"));
        #[cfg(target_arch = "riscv64")]
        asm!("jalr {}", in(reg) address, clobber_abi("C"));
    }
}
