//! The serial port, of the kind that the board has.

use alloc::boxed::Box;

use registers::{Strided, Width};
use uart::{NoUart, Ns16550, Pl011, Speed, Transmitter};

/// The input clock of a PC's serial ports in Hz.
const PC_CLOCK: u32 = 1_843_200;

/// Sets the port up.
pub fn open() -> Result<Box<dyn Transmitter>, NoUart> {
    let device = device::wiring();
    Ok(match (device.kind.as_str(), device.bus.as_str()) {
        ("pl011", _) => Box::new(Pl011::new(device::registers(), speed(None))?),
        (_, "mmio") => Box::new(Ns16550::new(in_memory(), speed(None))?),
        _ => Box::new(Ns16550::new(device::ports(), speed(Some(PC_CLOCK)))?),
    })
}

/// The speed that the board file gives; where it gives none, the line keeps what the firmware has set.
fn speed(usual_clock: Option<u32>) -> Option<Speed> {
    Some(Speed {
        clock: device::property("clock").or(usual_clock)?,
        rate: device::property("bit_rate")?,
    })
}

/// A 16550 in memory: the board file says how far apart its registers are, and how wide an access must be.
fn in_memory() -> Strided<registers::Mapped> {
    let shift = device::property("register_shift").unwrap_or(0);
    let width = match device::property("access_width") {
        Some(4) => Width::Word,
        _ => Width::Byte,
    };
    Strided::new(device::registers(), shift, width)
}
