//! The serial port, for the one message that there may be.

use core::fmt;

use ioport::IoPort;
use sel4::pc99::root::initial;

/// COM1, a 16550, in whatever state the firmware left it; the kernel's output goes there too.
const DATA: u16 = 0x3f8;
const LINE_STATUS: u16 = 0x3fd;
/// The transmitter takes another byte.
const READY: u8 = 0x20;
/// A port that is never ready must not keep the initialiser from stopping.
const PATIENCE: u32 = 100_000;

pub(crate) struct Serial;

impl fmt::Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            let ports = IoPort::at(initial::IO_PORTS.bits());
            let ready = || matches!(ports.read_8(LINE_STATUS), Ok(status) if status & READY != 0);
            let _ = (0..PATIENCE).any(|_| ready());
            ports.write_8(DATA, byte).map_err(|_| fmt::Error)?;
        }
        Ok(())
    }
}
