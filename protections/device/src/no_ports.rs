//! Processors other than x86 have no I/O ports.

use registers::Ports;

/// The device's I/O ports.
///
/// # Panics
/// Always: no device of this processor has any.
pub fn ports() -> PortRange {
    none()
}

/// A range of I/O ports; there is none.
#[derive(Debug)]
pub struct PortRange(());

impl Ports for PortRange {
    fn read8(&mut self, _: u16) -> u8 {
        none()
    }
    fn write8(&mut self, _: u16, _: u8) {
        none()
    }
    fn read32(&mut self, _: u16) -> u32 {
        none()
    }
    fn write32(&mut self, _: u16, _: u32) {
        none()
    }
}

fn none<T>() -> T {
    panic!("this processor has no I/O ports")
}
