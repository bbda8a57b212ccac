//! The processor's counter: the time-stamp counter, the generic timer's, or the time register.

/// Reads it. Only for a PD that knows that the kernel lets user level read it: on x86_64 and riscv64 every kernel here does, on
/// aarch64 one that lets the clock do so.
pub fn read() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every processor that the kernel runs on has the instruction, and the kernel does not forbid it.
    unsafe {
        core::arch::x86_64::_rdtsc()
    }
    #[cfg(target_arch = "aarch64")]
    {
        let count;
        // SAFETY: it reads a register and touches no memory; the caller knows that it may.
        unsafe {
            core::arch::asm!("mrs {}, cntpct_el0", out(reg) count, options(nomem, nostack, preserves_flags));
        }
        count
    }
    #[cfg(target_arch = "riscv64")]
    {
        let count;
        // SAFETY: it reads a register and touches no memory.
        unsafe {
            core::arch::asm!("rdtime {}", out(reg) count, options(nomem, nostack, preserves_flags));
        }
        count
    }
}
