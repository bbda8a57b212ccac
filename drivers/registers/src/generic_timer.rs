//! The registers of ARM's generic timer.

/// A timer inside the processor: a counter that never stops, and a comparator. Registers and bits as in the Arm
/// Architecture Reference Manual, chapter "The Generic Timer in AArch64 state".
pub trait GenericTimer {
    /// Counts a second (`CNTFRQ_EL0`), as the firmware has set it.
    fn frequency(&self) -> u64;
    /// The counter (`CNTPCT_EL0`).
    fn count(&self) -> u64;
    /// Sets the comparator (`CNTP_CVAL_EL0`).
    fn set_compare(&mut self, count: u64);
    /// Sets the control register (`CNTP_CTL_EL0`); the interrupt line follows before this returns.
    fn set_control(&mut self, control: u32);
}

/// The EL1 physical timer. The kernel must let programs use it (seL4's `KernelArmExportPCNTUser` and
/// `KernelArmExportPTMRUser`); otherwise the first access is a fault. It is one a processor, and where the kernel lets
/// one program use it, it lets all.
#[derive(Debug)]
pub struct PhysicalTimer(());

impl PhysicalTimer {
    /// The timer, on a processor of this kind. Call it once.
    pub fn find() -> Option<Self> {
        cfg!(target_arch = "aarch64").then_some(Self(()))
    }
}

#[cfg(target_arch = "aarch64")]
impl GenericTimer for PhysicalTimer {
    fn frequency(&self) -> u64 {
        let frequency: u64;
        // SAFETY: reading this register changes nothing.
        unsafe {
            core::arch::asm!(
                "mrs {}, cntfrq_el0",
                out(reg) frequency,
                options(nomem, nostack, preserves_flags)
            );
        }
        frequency
    }

    fn count(&self) -> u64 {
        let count: u64;
        // SAFETY: as above. Without the barrier the counter might be read before what precedes it.
        unsafe {
            core::arch::asm!(
                "isb",
                "mrs {}, cntpct_el0",
                out(reg) count,
                options(nostack, preserves_flags)
            );
        }
        count
    }

    fn set_compare(&mut self, count: u64) {
        // SAFETY: the register decides when an interrupt comes, and nothing else.
        unsafe {
            core::arch::asm!(
                "msr cntp_cval_el0, {}",
                "isb",
                in(reg) count,
                options(nostack, preserves_flags)
            );
        }
    }

    fn set_control(&mut self, control: u32) {
        // SAFETY: the register decides whether an interrupt comes, and nothing else.
        unsafe {
            core::arch::asm!(
                "msr cntp_ctl_el0, {}",
                "isb",
                in(reg) u64::from(control),
                options(nostack, preserves_flags)
            );
        }
    }
}

/// Elsewhere there is none: `find` never makes one.
#[cfg(not(target_arch = "aarch64"))]
impl GenericTimer for PhysicalTimer {
    fn frequency(&self) -> u64 {
        0
    }
    fn count(&self) -> u64 {
        0
    }
    fn set_compare(&mut self, _: u64) {}
    fn set_control(&mut self, _: u32) {}
}
