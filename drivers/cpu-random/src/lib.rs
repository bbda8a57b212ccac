//! The processor's own random numbers: the instruction RDRAND of x86_64, the register RNDR of aarch64. riscv64's
//! entropy source is not for user level.
//!
//! Its output comes from a generator inside the processor that nobody can look into; so it is one source
//! among several, and health tests watch it like the others (some processors are known to return all ones after a
//! suspend).
#![cfg_attr(not(test), no_std)]

/// Attempts at one word. Intel's guide for implementers (section 5.2.1) says that 10 in a row never fail
/// in a processor that works.
const ATTEMPTS: u32 = 10;

/// The processor gave no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted;

impl core::fmt::Display for Exhausted {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the processor's random number generator gives nothing")
    }
}

impl core::error::Error for Exhausted {}

/// The instruction, on a processor that has it.
#[derive(Clone, Copy, Debug)]
pub struct CpuRandom(());

impl CpuRandom {
    /// Looks whether the processor has the instruction.
    pub fn find() -> Option<Self> {
        imp::is_present().then_some(Self(()))
    }

    /// Fills `bytes`.
    ///
    /// # Errors
    /// [`Exhausted`]; then `bytes` must not be used.
    pub fn fill(&self, bytes: &mut [u8]) -> Result<(), Exhausted> {
        for chunk in bytes.chunks_mut(8) {
            let word = (0..ATTEMPTS).find_map(|_| self.word()).ok_or(Exhausted)?;
            chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }

    fn word(&self) -> Option<u64> {
        // SAFETY: `find` saw that the processor has the instruction.
        unsafe { imp::word() }
    }
}

#[cfg(target_arch = "x86_64")]
mod imp {
    use core::arch::x86_64::{__cpuid, _rdrand64_step};

    /// CPUID leaf 1, register ECX (Intel SDM volume 2, CPUID).
    const RDRAND: u32 = 1 << 30;

    pub fn is_present() -> bool {
        __cpuid(1).ecx & RDRAND != 0
    }

    /// # Safety
    /// The processor has RDRAND.
    #[target_feature(enable = "rdrand")]
    pub unsafe fn word() -> Option<u64> {
        let mut word = 0;
        (_rdrand64_step(&mut word) == 1).then_some(word)
    }
}

#[cfg(all(target_arch = "aarch64", target_feature = "rand"))]
mod imp {
    use core::arch::asm;

    /// User level cannot ask the processor; the program was compiled for one that has it (FEAT_RNG).
    pub fn is_present() -> bool {
        true
    }

    /// # Safety
    /// The processor has RNDR.
    pub unsafe fn word() -> Option<u64> {
        let (word, valid): (u64, u64);
        // SAFETY: the caller's promise. The read sets the zero flag when there is no number (Arm ARM, RNDR).
        unsafe {
            asm!(
                "mrs {word}, s3_3_c2_c4_0",
                "cset {valid}, ne",
                word = out(reg) word,
                valid = out(reg) valid,
                options(nomem, nostack),
            );
        }
        (valid != 0).then_some(word)
    }
}

#[cfg(not(any(
    target_arch = "x86_64",
    all(target_arch = "aarch64", target_feature = "rand")
)))]
mod imp {
    pub fn is_present() -> bool {
        false
    }

    /// # Safety
    /// None.
    pub unsafe fn word() -> Option<u64> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_of_any_length_is_filled() {
        let Some(cpu) = CpuRandom::find() else {
            println!("this processor has no random number instruction");
            return;
        };
        for length in [0, 1, 7, 8, 9, 100] {
            // A byte that is not written stays 0 in all 32 tries; one that is, in 2^-256 of all runs.
            let mut union = vec![0; length];
            for _ in 0..32 {
                let mut bytes = vec![0; length];
                cpu.fill(&mut bytes).unwrap();
                union
                    .iter_mut()
                    .zip(bytes)
                    .for_each(|(all, byte)| *all |= byte);
            }
            assert!(union.iter().all(|&byte| byte != 0));
        }
    }
}
