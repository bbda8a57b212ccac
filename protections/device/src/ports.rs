//! I/O ports of x86.

use ioport::{IoPort, Refused};
use registers::Ports;

use crate::wiring;

/// The device's I/O ports.
///
/// # Panics
/// When it has none.
pub fn ports() -> PortRange {
    let range = wiring().ports.first().expect("the device has no I/O ports");
    PortRange {
        range: IoPort::new(range.id.into()),
        base: range.base,
    }
}

/// A range of I/O ports.
#[derive(Debug)]
pub struct PortRange {
    range: IoPort,
    base: u16,
}

impl Ports for PortRange {
    fn read8(&mut self, offset: u16) -> u8 {
        granted(self.range.read_8(self.base + offset))
    }
    fn write8(&mut self, offset: u16, value: u8) {
        granted(self.range.write_8(self.base + offset, value));
    }
    fn read32(&mut self, offset: u16) -> u32 {
        granted(self.range.read_32(self.base + offset))
    }
    fn write32(&mut self, offset: u16, value: u32) {
        granted(self.range.write_32(self.base + offset, value));
    }
}

/// Returns the value of an access. The wiring names range and ports together, so a refusal is a bug
/// of this program.
fn granted<T>(result: Result<T, Refused>) -> T {
    result.unwrap_or_else(|refused| panic!("{refused}"))
}
