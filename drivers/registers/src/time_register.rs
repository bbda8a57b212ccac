//! The time register of RISC-V processors.

/// A counter that never stops, and that is 0 when the processor is reset.
pub trait Counter {
    /// Its count.
    fn count(&self) -> u64;
}

/// The register `time` (RISC-V unprivileged specification, chapter "Counters"). Firmware and kernel must let programs read
/// it (`scounteren`, bit `TM`), as OpenSBI does; otherwise the first access is a fault. How fast it counts is a fact of the board.
#[derive(Debug)]
pub struct TimeRegister(());

impl TimeRegister {
    /// The register, on a processor of this kind.
    pub fn find() -> Option<Self> {
        cfg!(target_arch = "riscv64").then_some(Self(()))
    }
}

impl Counter for TimeRegister {
    #[cfg(target_arch = "riscv64")]
    fn count(&self) -> u64 {
        let count: u64;
        // SAFETY: reading this register changes nothing.
        unsafe {
            core::arch::asm!("rdtime {}", out(reg) count, options(nomem, nostack, preserves_flags));
        }
        count
    }

    /// Elsewhere there is none: `find` never makes one.
    #[cfg(not(target_arch = "riscv64"))]
    fn count(&self) -> u64 {
        0
    }
}
