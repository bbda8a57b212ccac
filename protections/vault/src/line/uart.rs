//! A 16550 at I/O ports. It transfers nothing by itself: no memory but the vault's sees a key that comes.

use device::PortRange;
use uart::{NoUart, Ns16550, Speed};

/// The input clock of a PC's serial ports in Hz.
const PC_CLOCK: u32 = 1_843_200;

pub type Serial = Ns16550<PortRange>;

pub fn open() -> Result<Serial, NoUart> {
    let speed = Speed {
        clock: device::property("clock").unwrap_or(PC_CLOCK),
        rate: device::property("bit_rate").unwrap_or(115_200),
    };
    Ns16550::new(device::ports(), Some(speed))
}
