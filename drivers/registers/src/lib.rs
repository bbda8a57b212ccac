//! Device registers in memory and I/O ports, as drivers see them.
//!
//! Drivers reach their device only through [`Registers`] or [`Ports`], so that a unit test can put a
//! fake device (or a malicious one) behind them. [`Mapped`] is the real thing for registers in memory and
//! holds the only `unsafe` code that register access needs. [`Strided`] shows byte-wide registers in memory as ports,
//! for devices that exist in both forms; [`GenericTimer`] and [`Counter`] are the registers of timers inside the processor.
//!
//! Register accesses and accesses to ordinary memory keep their order where a device may look at that memory: what was
//! written before a register is written is visible to the device then, and what is read after a register was
//! read is not older than it.
//!
//! An access outside the device's registers behaves as on a bus where nobody answers: it reads
//! as all ones and writes nothing. So an offset that a device's own tables give wrongly is harmless.
#![no_std]
#![warn(missing_docs)]

mod barrier;
mod generic_timer;
mod primecell;
mod strided;
mod time_register;

pub use generic_timer::{GenericTimer, PhysicalTimer};
pub use primecell::primecell;
pub use strided::{Strided, Width};
pub use time_register::{Counter, TimeRegister};

use core::ptr::NonNull;

/// Registers in memory (MMIO). Offsets are in bytes; values are in the CPU's byte order.
pub trait Registers {
    /// Number of bytes that the registers span.
    fn size(&self) -> usize;
    /// Reads 8 bits.
    fn read8(&self, offset: usize) -> u8;
    /// Reads 16 bits at an even offset.
    fn read16(&self, offset: usize) -> u16;
    /// Reads 32 bits at an offset that is a multiple of 4.
    fn read32(&self, offset: usize) -> u32;
    /// Writes 8 bits.
    fn write8(&mut self, offset: usize, value: u8);
    /// Writes 16 bits at an even offset.
    fn write16(&mut self, offset: usize, value: u16);
    /// Writes 32 bits at an offset that is a multiple of 4.
    fn write32(&mut self, offset: usize, value: u32);
}

/// A range of x86 I/O ports. Offsets count from the first port of the range.
pub trait Ports {
    /// Reads 8 bits.
    fn read8(&mut self, offset: u16) -> u8;
    /// Writes 8 bits.
    fn write8(&mut self, offset: u16, value: u8);
    /// Reads 32 bits.
    fn read32(&mut self, offset: u16) -> u32;
    /// Writes 32 bits.
    fn write32(&mut self, offset: u16, value: u32);
}

/// Registers that are mapped into this address space.
#[derive(Debug)]
pub struct Mapped {
    base: NonNull<u8>,
    size: usize,
}

// SAFETY: `Mapped` is the only access to its registers (promised to `Mapped::new`), whichever thread
// holds it.
unsafe impl Send for Mapped {}

impl Mapped {
    /// The registers at `base`, `size` bytes long.
    ///
    /// # Safety
    /// The range must be device memory that stays mapped readable and writable for the life of the
    /// program, must be aligned to 8 bytes, and nothing else in this program may access it.
    pub unsafe fn new(base: NonNull<u8>, size: usize) -> Self {
        Self { base, size }
    }

    /// A pointer to the register at `offset`, if it lies inside and is aligned.
    fn register<T>(&self, offset: usize) -> Option<*mut T> {
        let end = offset.checked_add(size_of::<T>())?;
        (end <= self.size && offset.is_multiple_of(align_of::<T>()))
            // SAFETY: `offset` lies inside the mapping, as just checked.
            .then(|| unsafe { self.base.as_ptr().add(offset) }.cast())
    }

    fn read<T>(&self, offset: usize) -> Option<T> {
        // SAFETY: `register` gives aligned pointers into a mapping that `new`'s caller vouched for.
        let value = self
            .register(offset)
            .map(|pointer| unsafe { core::ptr::read_volatile(pointer) });
        barrier::after_read();
        value
    }

    fn write<T>(&mut self, offset: usize, value: T) {
        if let Some(pointer) = self.register(offset) {
            barrier::before_write();
            // SAFETY: as for `read`.
            unsafe { core::ptr::write_volatile(pointer, value) }
        }
    }
}

impl Registers for Mapped {
    fn size(&self) -> usize {
        self.size
    }
    fn read8(&self, offset: usize) -> u8 {
        self.read(offset).unwrap_or(u8::MAX)
    }
    fn read16(&self, offset: usize) -> u16 {
        self.read(offset).unwrap_or(u16::MAX)
    }
    fn read32(&self, offset: usize) -> u32 {
        self.read(offset).unwrap_or(u32::MAX)
    }
    fn write8(&mut self, offset: usize, value: u8) {
        self.write(offset, value);
    }
    fn write16(&mut self, offset: usize, value: u16) {
        self.write(offset, value);
    }
    fn write32(&mut self, offset: usize, value: u32) {
        self.write(offset, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accesses_outside_or_unaligned_reach_nothing() {
        let mut memory = [0u64; 3];
        memory[2] = 0x5a5a_5a5a_5a5a_5a5a;
        // SAFETY: the first two words belong to `registers` alone until the assertions below.
        let mut registers = unsafe { Mapped::new(NonNull::from(&mut memory).cast(), 16) };
        registers.write32(4, 0x1234_5678);
        registers.write32(16, 0);
        registers.write32(14, 0);
        registers.write16(15, 0);
        registers.write8(usize::MAX, 0);
        assert_eq!(registers.read32(4), 0x1234_5678);
        assert_eq!(registers.read16(6), 0x1234);
        assert_eq!(registers.read32(13), u32::MAX);
        assert_eq!(registers.read32(16), u32::MAX);
        assert_eq!(registers.read16(usize::MAX), u16::MAX);
        assert_eq!(registers.read8(16), u8::MAX);
        assert_eq!(memory, [0x1234_5678_0000_0000, 0, 0x5a5a_5a5a_5a5a_5a5a]);
    }
}
