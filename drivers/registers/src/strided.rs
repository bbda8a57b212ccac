//! Byte-wide registers in memory, some bytes apart.

use crate::{Ports, Registers};

/// How many bits the bus moves at an access, though a register has 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// 8.
    Byte,
    /// 32: the register is the lowest byte of a word. Then the stride is 4 bytes at least.
    Word,
}

/// Registers in memory seen as ports: port `n` lies at offset `n << shift`.
#[derive(Debug)]
pub struct Strided<R> {
    registers: R,
    shift: u32,
    width: Width,
}

impl<R: Registers> Strided<R> {
    /// Ports `1 << shift` bytes apart; `shift` is cut to 16.
    pub fn new(registers: R, shift: u32, width: Width) -> Self {
        Self {
            registers,
            shift: shift.min(16),
            width,
        }
    }

    fn place(&self, port: u16) -> usize {
        usize::from(port) << self.shift
    }
}

impl<R: Registers> Ports for Strided<R> {
    fn read8(&mut self, port: u16) -> u8 {
        match self.width {
            Width::Byte => self.registers.read8(self.place(port)),
            Width::Word => self.registers.read32(self.place(port)) as u8,
        }
    }
    fn write8(&mut self, port: u16, value: u8) {
        match self.width {
            Width::Byte => self.registers.write8(self.place(port), value),
            Width::Word => self.registers.write32(self.place(port), value.into()),
        }
    }
    fn read32(&mut self, port: u16) -> u32 {
        self.registers.read32(self.place(port))
    }
    fn write32(&mut self, port: u16, value: u32) {
        self.registers.write32(self.place(port), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mapped;
    use core::ptr::NonNull;

    #[test]
    fn ports_lie_at_their_stride_and_none_lies_outside() {
        let mut memory = [0u64; 4];
        let base = NonNull::from(&mut memory).cast();
        // SAFETY: the words belong to `registers` alone until the assertions below.
        let registers = || unsafe { Mapped::new(base, 32) };
        let mut words = Strided::new(registers(), 2, Width::Word);
        words.write8(5, 0x60);
        words.write8(8, 1);
        words.write8(u16::MAX, 1);
        assert_eq!(words.read8(5), 0x60);
        assert_eq!(words.read32(5), 0x60);
        assert_eq!(words.read8(8), u8::MAX);
        let mut bytes = Strided::new(registers(), 0, Width::Byte);
        bytes.write8(3, 7);
        assert_eq!(bytes.read8(3), 7);
        let mut far = Strided::new(registers(), u32::MAX, Width::Byte);
        far.write8(u16::MAX, 1);
        assert_eq!(far.read8(1), u8::MAX);
        assert_eq!(memory, [0x0700_0000, 0, 0x60 << 32, 0]);
    }
}
