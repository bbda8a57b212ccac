//! The serial port that results are written to: whichever the description maps. It is polled, as nobody else uses it.

use core::fmt;

#[cfg(target_arch = "x86_64")]
use ioport::IoPort;
use sel4_microkit::var;

/// The serial port of the board.
pub enum Serial {
    /// PL011 (Arm DDI 0183, section 3.2), by its address.
    Pl011(usize),
    /// 16550 with a register a byte, by its address.
    Ns16550(usize),
    /// COM1, whose I/O ports are range 0.
    #[cfg(target_arch = "x86_64")]
    Com1,
    /// The description maps no serial port.
    #[cfg(not(target_arch = "x86_64"))]
    None,
}

impl Serial {
    /// The one that the description maps, if it maps one.
    pub fn find() -> Self {
        match (*var!(pl011: usize = 0), *var!(ns16550: usize = 0)) {
            #[cfg(target_arch = "x86_64")]
            (0, 0) => Self::Com1,
            #[cfg(not(target_arch = "x86_64"))]
            (0, 0) => Self::None,
            (0, address) => Self::Ns16550(address),
            (address, _) => Self::Pl011(address),
        }
    }

    fn has_room(&self) -> bool {
        // SAFETY: the description maps the registers at this address.
        unsafe {
            match self {
                // Flag register, bit 5: transmit FIFO full.
                Self::Pl011(at) => ((at + 0x18) as *const u32).read_volatile() & 1 << 5 == 0,
                // Line status register, bit 5: a byte may be written.
                Self::Ns16550(at) => ((at + 5) as *const u8).read_volatile() & 1 << 5 != 0,
                #[cfg(target_arch = "x86_64")]
                Self::Com1 => IoPort::new(0)
                    .read_8(0x3fd)
                    .is_ok_and(|status| status & 1 << 5 != 0),
                #[cfg(not(target_arch = "x86_64"))]
                Self::None => true,
            }
        }
    }

    fn put(&self, byte: u8) {
        // SAFETY: as above; the data register is the first one.
        unsafe {
            match self {
                Self::Pl011(at) => (*at as *mut u32).write_volatile(byte.into()),
                Self::Ns16550(at) => (*at as *mut u8).write_volatile(byte),
                #[cfg(target_arch = "x86_64")]
                // A refusal is visible: no output appears.
                Self::Com1 => drop(IoPort::new(0).write_8(0x3f8, byte)),
                #[cfg(not(target_arch = "x86_64"))]
                Self::None => {}
            }
        }
    }
}

impl fmt::Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            while !self.has_room() {}
            self.put(byte);
        }
        Ok(())
    }
}
