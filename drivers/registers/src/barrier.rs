//! The order between a device's registers and ordinary memory.
//!
//! Rust's fences order accesses among processors. A device is none: on RISC-V its accesses are of another class, and
//! on ARM the barrier must name the outer domain. On x86_64 uncached accesses keep the order of the program.

/// Makes what was written to memory visible to devices before the next register is written.
pub fn before_write() {
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a barrier changes nothing. The compiler may not move memory accesses over it.
    unsafe {
        core::arch::asm!("dmb oshst", options(nostack, preserves_flags));
    }
    #[cfg(any(target_arch = "riscv32", target_arch = "riscv64"))]
    // SAFETY: as above.
    unsafe {
        core::arch::asm!("fence w, o", options(nostack, preserves_flags));
    }
    #[cfg(target_arch = "x86_64")]
    core::sync::atomic::compiler_fence(core::sync::atomic::Ordering::Release);
}

/// Keeps reads of memory that follow from being done before the register was read.
pub fn after_read() {
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above.
    unsafe {
        core::arch::asm!("dmb oshld", options(nostack, preserves_flags));
    }
    #[cfg(any(target_arch = "riscv32", target_arch = "riscv64"))]
    // SAFETY: as above.
    unsafe {
        core::arch::asm!("fence i, r", options(nostack, preserves_flags));
    }
    #[cfg(target_arch = "x86_64")]
    core::sync::atomic::compiler_fence(core::sync::atomic::Ordering::Acquire);
}
