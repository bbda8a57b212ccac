//! The processor's counter: the time-stamp counter (x86_64), the generic timer's counter (aarch64),
//! or the register `time` (riscv64).

/// Reads the counter. The kernel must allow user level to read it: on x86_64 and riscv64 all
/// kernels used here do, on aarch64 those that allow it to the clock.
pub fn read() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every processor that the kernel supports has the instruction, and the kernel allows
    // it.
    unsafe {
        core::arch::x86_64::_rdtsc()
    }
    #[cfg(target_arch = "aarch64")]
    {
        let count;
        // SAFETY: it reads a register and touches no memory; the caller ensures that the kernel
        // allows it.
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
