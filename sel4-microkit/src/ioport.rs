//! x86 I/O ports. The upstream crate has none; the C library's `microkit_x86_ioport_*` is the model.

use crate::board;
use crate::symbols::pd_ioports;

/// A range of I/O ports that the system description gives this PD.
#[derive(Debug, Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct IoPort {
    index: usize,
}

impl IoPort {
    /// The range with this identifier, 0 to 61.
    ///
    /// # Panics
    /// When the identifier is larger; at compile time, in a constant.
    pub const fn new(index: usize) -> Self {
        assert!(index < 62);
        Self { index }
    }

    /// Reads a byte from `port`.
    ///
    /// # Panics
    /// When the port is not in the range, or there is no such range. The same holds for all methods.
    pub fn read_8(&self, port: u16) -> u8 {
        self.expect(port, self.cap().in8(port))
    }

    /// Reads 16 bits from `port`.
    pub fn read_16(&self, port: u16) -> u16 {
        self.expect(port, self.cap().in16(port))
    }

    /// Reads 32 bits from `port`.
    pub fn read_32(&self, port: u16) -> u32 {
        self.expect(port, self.cap().in32(port))
    }

    /// Writes a byte to `port`.
    pub fn write_8(&self, port: u16, value: u8) {
        self.expect(port, self.cap().out8(port, value));
    }

    /// Writes 16 bits to `port`.
    pub fn write_16(&self, port: u16, value: u16) {
        self.expect(port, self.cap().out16(port, value));
    }

    /// Writes 32 bits to `port`.
    pub fn write_32(&self, port: u16, value: u32) {
        self.expect(port, self.cap().out32(port, value));
    }

    fn cap(&self) -> sel4::cap::IoPort {
        assert!(
            pd_ioports() & (1 << self.index) != 0,
            "there is no I/O port range {}",
            self.index
        );
        sel4::cap::IoPort::from_bits(board::slot::IO_PORTS + self.index as u64)
    }

    /// The wiring names range and ports together, so a port outside is a programming error.
    fn expect<T>(&self, port: u16, result: sel4::Result<T>) -> T {
        match result {
            Ok(value) => value,
            Err(error) => panic!("I/O port {port:#x} of range {}: {error}", self.index),
        }
    }
}
